"""The authorisation matrix, by hand: what each kind of request needs, and who is answered what.

A route that is not in `OPERATIONS` fails the tests: whoever adds one says here what it needs.
"""

from __future__ import annotations

from tests.accounts.expected_dialects import DIALECTS
from tests.accounts.operation import Op

_TABLE = """
                  nobody owner other reader expired limited writer link disabled placed keeper admin
open              200    200   200   200    200     200     200    200  200      200    200    200
not set up        404    404   404   404    404     404     404    404  404      404    404    404
# What is in a space. `limited`, and of an admin's `placed`, are good in another place than where
# the thing lies; `keeper` is an admin's token with the scope `admin` alone.
file read         401    200   404   200    401     404     403    404  401      404    403    200
file write        401    200   404   403    401     404     200    403  401      404    403    200
file delete       401    200   404   403    401     404     403    403  401      404    403    200
trash write       401    200   404   403    401     404     200    403  401      404    403    200
trash delete      401    200   404   403    401     404     403    403  401      404    403    200
# Transfers are whose they are: not even an admin's. To go on with one, one asks how far it is.
transfer read     401    200   404   200    401     404     403    403  401      404    403    404
transfer write    401    200   404   403    401     404     200    403  401      404    403    404
transfer both     401    200   404   403    401     404     403    403  401      404    403    404
transfer delete   401    200   404   403    401     404     403    403  401      404    403    404
# Of a task that is not there nobody is told which scope it would need.
task read         401    200   404   200    401     404     403    403  401      404    404    404
task delete       401    200   404   403    401     404     403    403  401      404    404    404
# But an admin may end them.
transfer end      401    200   404   403    401     404     200    403  401      404    200    200
pending end       401    200   404   200    401     404     200    403  401      404    200    200
# A task of no kind yet does nothing: it is for whoever may do something.
pending           401    200   404   200    401     404     200    403  401      404    404    404
# By a name in one's own space, where others have nothing of that name.
own delete        401    200   404   403    401     404     403    403  401      404    403    404
# One's own lists, which are never refused for being empty.
list files        401    200   200   200    401     200     403    200  401      200    403    200
list              401    200   200   200    401     200     403    403  401      200    403    200
list account      401    200   200   200    401     403     403    403  401      403    403    200
list datasets     401    200   200   200    401     200     200    200  401      200    200    200
# New things in one's own space.
new               401    200   200   403    401     403     200    403  401      403    403    200
new task          401    200   200   200    401     200     200    403  401      200    200    200
# Datasets in place: DSX_OPEN_DATASETS is off, the owner has one shared with them.
dataset           401    200   404   200    401     404     403    404  401      404    403    200
# The account itself.
me                401    200   200   200    401     200     200    200  401      200    200    200
account read      401    200   404   200    401     403     403    403  401      403    403    200
credentials       401    200   404   403    401     403     403    403  401      403    403    404
shares            401    200   404   403    401     403     200    403  401      403    403    404
new share         401    200   404   403    401     403     403    403  401      403    403    403
new token         401    200   200   403    401     403     403    403  401      403    403    200
account admin     401    403   404   403    401     403     403    403  401      403    403    200
admin             401    403   403   403    401     403     403    403  401      403    200    200
admin whole       401    403   403   403    401     403     403    403  401      403    403    200
sign up           403    403   403   403    401     403     403    403  401      403    403    200
not set up        404    404   404   404    404     404     404    404  404      404    404    404
# A share link at its own address: whoever has it; other credentials are no passwords of it.
opened            200    200   200   200    200     200     200    200  200      200    200    200
"""


def _rows() -> dict[str, dict[str, int]]:
    first, *lines = [line for line in _TABLE.strip("\n").splitlines() if line[0] != "#"]
    people = first.split()
    return {
        line[:18].strip(): dict(zip(people, map(int, line[18:].split()), strict=True))
        for line in lines
    }


EXPECTED = _rows()
APART = "apart"
"""The need of what has tests of its own, as it would end what the others ask with."""


_PLACE = {"kind": "file", "value": "{ref}"}
_NEW_USER = {"username": "mx-{fresh}", "password": "correct horse"}

OPERATIONS: dict[str, Op] = {
    "health": Op("open"),
    "ready": Op("open"),
    "prometheus": Op("open"),
    "get_scrub": Op("admin"),
    "start_scrub": Op("admin"),
    "list_findings": Op("admin"),
    "list_dataset_findings": Op("admin"),
    "create_file": Op("new", query="name={fresh}", data="x"),
    "list_files": Op("list files"),
    "look_up_files": Op("list files", json={"names": ["{fresh}"]}),
    "get_file": Op("file read", "file"),
    "patch_file": Op("file write", "file", json={"tags": ["t"]}),
    "delete_file": Op("file delete", "file"),
    "list_versions": Op("file read", "file"),
    "get_version": Op("file read", "file"),
    "delete_version": Op("file delete", "file"),
    "download_file": Op("file read", "file"),
    "download_file_head": Op("file read", "file"),
    "create_upload": Op("new", json={"name": "{fresh}", "length": 4}),
    "list_uploads": Op("list account"),
    "get_upload": Op("transfer read", "upload"),
    "abort_upload": Op("transfer end", "upload"),
    "put_part": Op("transfer write", "upload", data="abcd"),
    "finish_upload": Op("transfer write", "received"),
    "prove": Op("transfer write", "provable", json={"proof": "{also}"}),
    "create_task": Op("new task", json={"name": "{fresh}"}),
    "list_tasks": Op("list"),
    "watch_tasks": Op("list", query="seconds=0.01"),
    "get_task": Op("transfer read", "task"),
    "pause_task": Op("pending", "task"),
    "resume_task": Op("pending", "task"),
    "abort_task": Op("pending end", "task"),
    "download_task": Op("task read", "download"),
    "download_task_head": Op("task read", "download"),
    "delete_task": Op("task delete", "doomed"),
    "list_trash": Op("list"),
    "empty_trash": Op(APART),
    "restore_file": Op("trash write", "trashed"),
    "purge_file": Op("trash delete", "trashed"),
    "download_archive": Op("file read", "file", query="id={ref}"),
    "download_archive_head": Op("file read", "file", query="id={ref}"),
    "request_archive": Op("file read", "file", json={"ids": ["{ref}"]}),
    "list_datasets": Op("list datasets"),
    "get_dataset": Op("dataset", "dataset"),
    "get_manifest": Op("dataset", "dataset"),
    "download_dataset_file": Op("dataset", "dataset"),
    "download_dataset_file_head": Op("dataset", "dataset"),
    "pack_dataset": Op("dataset", "dataset", json={}),
    "create_share": Op("new share", "file", json={"place": _PLACE}),
    "list_shares": Op("list account"),
    "list_received": Op("list account"),
    "end_share": Op("shares", "share"),
    "create_user": Op("sign up", json=_NEW_USER),
    "list_users": Op("admin"),
    "get_user": Op("account read", "user"),
    "patch_user": Op("account admin", "user", json={}),
    "delete_user": Op("admin whole", "leaver"),
    "create_invite": Op("admin whole"),
    "get_account": Op("me"),
    "get_usage": Op("list account"),
    "list_audit": Op("list account"),
    "list_tokens": Op("list account"),
    "create_token": Op("new token", json={"name": "{fresh}"}),
    "revoke_token": Op("credentials", "token"),
    "begin_oidc": Op("not set up"),
    "finish_oidc": Op("not set up"),
    "open_session": Op("open", json={"username": "{user}", "password": "correct horse"}),
    "close_session": Op(APART),
    "open_link": Op("opened", "link"),
    "open_link_head": Op("opened", "link"),
    "open_link_file": Op("opened", "category link"),
    "open_link_file_head": Op("opened", "category link"),
    "dsx_datasets": Op("list datasets"),
    "dsx_manifest": Op("dataset", "dataset"),
    "dsx_file": Op("dataset", "dataset"),
    "dsx_file_head": Op("dataset", "dataset"),
}

for _operations in DIALECTS.values():
    OPERATIONS |= _operations

_TUS = {"Tus-Resumable": "1.0.0"}
_BYTES = _TUS | {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
_IETF = {"Upload-Draft-Interop-Version": "8"}
_WHOLE = {"Upload-Complete": "?1"}
_PART = _IETF | {
    "Content-Type": "application/partial-upload",
    "Upload-Offset": "0",
    "Upload-Complete": "?1",
}

UNLISTED: dict[str, Op] = {
    "home.home": Op("open"),
    "docs.swagger": Op("open"),
    "docs.redoc": Op("open"),
    "tus.describe": Op("open", "upload", headers=_TUS),
    "tus.create": Op("new", headers=_TUS | {"Upload-Length": "4"}),
    "tus.read": Op("transfer write", "upload", headers=_TUS),
    "tus.download": Op("transfer read", "finished", headers=_TUS),
    "tus.append": Op("transfer write", "upload", data="abcd", headers=_BYTES),
    "tus.terminate": Op("transfer end", "upload", headers=_TUS),
    "resumable_uploads.describe": Op("open", "upload", headers=_IETF),
    "resumable_uploads.create": Op("new", query="name={fresh}", data="x", headers=_WHOLE),
    "resumable_uploads.read": Op("transfer write", "upload", headers=_IETF),
    "resumable_uploads.append": Op("transfer write", "upload", data="abcd", headers=_PART),
    "resumable_uploads.cancel": Op("transfer end", "upload", headers=_IETF),
}
"""Routes that OpenAPI does not tell of, by module and function."""
