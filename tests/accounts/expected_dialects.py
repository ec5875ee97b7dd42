"""The authorisation matrix of the seed systems' dialects: one table for each."""

from __future__ import annotations

from tests.accounts.operation import Op

_BOUNDARY = "--------matrix"


def _form(content: str = "x", **fields: str) -> Op:
    """A form with a file of a new name and those *fields*, for somebody's own space."""
    texts = [f'name="{name}"\r\n\r\n{value}' for name, value in fields.items()]
    parts = [*texts, f'name="file"; filename="{{fresh}}"\r\n\r\n{content}']
    body = "".join(f"--{_BOUNDARY}\r\nContent-Disposition: form-data; {part}\r\n" for part in parts)
    headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
    return Op("new", data=f"{body}--{_BOUNDARY}--\r\n", headers=headers)


def _chunk() -> Op:
    """The first chunk of an upload that has begun."""
    form = _form("abc")
    headers = form.headers | {"Content-Range": "bytes 0-2/4"}
    return Op("transfer both", "upload", data=form.data, headers=headers)


TINYDIST: dict[str, Op] = {
    "tinydist_upload": _form(),
    "tinydist_upload_chunk": _form(filename="{fresh}", chunkIndex="0", totalChunks="1"),
    "tinydist_list": Op("list files"),
    "tinydist_files": Op("file read", "file", query="id={ref}"),
    "tinydist_files_head": Op("file read", "file", query="id={ref}"),
    "tinydist_delete": Op("file delete", "file", query="id={ref}"),
}

_TASK = Op("transfer both", "task")
DATASTORE: dict[str, Op] = {
    "datastore_create_account": Op(
        "sign up", json={"username": "mx-{fresh}", "password": "correct horse"}
    ),
    "datastore_create_task": Op("new task"),
    "datastore_read_task": Op("transfer read", "task"),
    "datastore_pause_task_post": _TASK,
    "datastore_pause_task_put": _TASK,
    "datastore_resume_task_post": _TASK,
    "datastore_resume_task_put": _TASK,
    "datastore_abort_task_post": _TASK,
    "datastore_abort_task_put": _TASK,
    "datastore_upload_file": Op("transfer both", "task", query="filename={fresh}", data="x"),
    "datastore_download_file": Op("transfer read", "task"),
    "datastore_download_file_head": Op("transfer read", "task"),
    "datastore_delete_file": Op("transfer delete", "task", query="filename={fresh}"),
}

FILESERVER: dict[str, Op] = {
    "fileserver_list": Op("list files"),
    "fileserver_upload": Op("new", data="x"),
    "fileserver_upload_put": Op("new", data="x"),
    "fileserver_delete": Op("own delete", "file name"),
    "fileserver_delete_post": Op("own delete", "file name"),
}

STORAGE: dict[str, Op] = {
    "storage_token": Op("open", json={"username": "{user}", "password": "correct horse"}),
    "storage_begin": _form(),
    "storage_store": _form(),
    "storage_append": _chunk(),
    "storage_read": Op("transfer read", "upload"),
    "storage_complete": Op("transfer both", "received"),
    "storage_files": Op("list files"),
    "storage_download": Op("file read", "file"),
    "storage_download_head": Op("file read", "file"),
}

DIALECTS: dict[str, dict[str, Op]] = {
    "tinydist": TINYDIST,
    "datastore": DATASTORE,
    "fileserver": FILESERVER,
    "storage": STORAGE,
}
