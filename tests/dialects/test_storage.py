"""The dialect `storage` beyond the seed's promises: contradictions, broken connections, limits."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from tests.support.hub import RunningHub, running_hub
from tests.support.storage import IMAGE, MD5
from tests.support.waiting import eventually
from tests.support.wire import stages

NEW = "/storage/tmp-upload/"
SIZE = len(IMAGE)


def put(
    hub: RunningHub, path: str, span: str | None, data: bytes, **fields: str
) -> requests.Response:
    headers = {"Content-Range": f"bytes {span}"} if span else {}
    form = {"filename": "x.png"} | fields
    return hub.request("PUT", path, headers=headers, files={"file": ("p", data)}, data=form)


def begun(hub: RunningHub, data: bytes, length: int | str = SIZE, **fields: str) -> str:
    """The path of a new upload that has *data*."""
    answer = put(hub, NEW, f"0-{len(data) - 1}/{length}", data, **fields)
    assert answer.status_code == 200, answer.text
    return urlsplit(answer.json()["url"]).path


def offset(hub: RunningHub, path: str) -> int:
    found: int = hub.get(path).json()["offset"]
    return found


def names(hub: RunningHub) -> list[str]:
    listed = hub.get("/storage/files/", params={"page_size": 1000}).json()["results"]
    return [entry["filename"] for entry in listed]


def staged(hub: RunningHub) -> list[Path]:
    return stages(hub.data_dir)


@pytest.mark.parametrize("size", [0, 1, 99, 101, 5000])
def test_other_bytes_than_the_range_says_are_refused(hub: RunningHub, size: int) -> None:
    path = begun(hub, IMAGE[:100])
    for span in ("100-199/32634", "100-199/*"):
        refused = put(hub, path, span, IMAGE[100 : 100 + size])
        assert refused.status_code == 400, refused.text
        assert refused.json()["details"]["offset"] == 100
        assert offset(hub, path) == 100
    assert put(hub, path, "100-199/32634", IMAGE[100:200]).json()["offset"] == 200
    assert put(hub, path, "200-32633/32634", IMAGE[200:]).status_code == 200
    assert hub.post(path, data={"md5": MD5}).json()["checksum_verified"] is True


def test_slow_contradictions_leave_nothing_either(hub: RunningHub) -> None:
    """What comes is recorded now and then, but not before it is known to be right."""
    path = begun(hub, IMAGE[:100])
    head = b'--B\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'

    def trickle():  # type: ignore[no-untyped-def]
        yield head + IMAGE[100:150]
        threading.Event().wait(1.2)
        yield IMAGE[150:180] + b"\r\n--B--\r\n"

    headers = {
        "Content-Range": "bytes 100-199/32634",
        "Content-Type": "multipart/form-data; boundary=B",
    }
    assert hub.request("PUT", path, headers=headers, data=trickle()).status_code == 400
    assert offset(hub, path) == 100


@pytest.mark.parametrize(
    "span",
    [
        "1-32633/32634",
        "10-19/32634",
        "0-32634/32634",
        "5-4/32634",
        "0-0/0",
        "0-9999999999999999999/*",
        "*/32634",
        "0-x/32634",
        "",
    ],
)
def test_no_upload_begins_with_a_wrong_range(hub: RunningHub, span: str) -> None:
    refused = put(hub, NEW, span or " ", IMAGE)
    assert refused.status_code == 400, refused.text
    assert refused.json()["details"]["offset"] == 0


def test_a_chunk_does_not_change_the_length(hub: RunningHub) -> None:
    path = begun(hub, IMAGE[:100])
    refused = put(hub, path, "100-199/32635", IMAGE[100:200])
    assert refused.status_code == 400
    assert refused.json()["details"] == {"offset": 100, "length": SIZE}
    assert put(hub, path, "100-32634/*", IMAGE[100:] + b"x").status_code == 400
    assert offset(hub, path) == 100


def test_the_length_may_be_told_last_or_never(hub: RunningHub) -> None:
    for last in (str(SIZE), "*"):
        path = begun(hub, IMAGE[:100], "*", filename=f"late-{last == '*'}")
        assert put(hub, path, f"100-32633/{last}", IMAGE[100:]).json()["offset"] == SIZE
        assert hub.post(path, data={"md5": MD5}).json()["checksum_verified"] is True


def test_without_a_range_it_is_the_whole(hub: RunningHub) -> None:
    state = put(hub, NEW, None, IMAGE).json()
    assert (state["offset"], state["status"]) == (SIZE, 1)
    assert hub.post(urlsplit(state["url"]).path, data={"md5": MD5}).json()["status"] == 2
    path = begun(hub, IMAGE[:100])
    assert put(hub, path, None, IMAGE).status_code == 409
    empty = put(hub, NEW, None, b"").json()
    assert hub.post(urlsplit(empty["url"]).path).json()["status"] == 2


def test_an_upload_that_is_short_is_not_completed(hub: RunningHub) -> None:
    path = begun(hub, IMAGE[:100])
    refused = hub.post(path, data={"md5": MD5})
    assert refused.status_code == 409
    assert refused.json()["details"]["offset"] == 100


def break_off(hub: RunningHub, method: str, path: str, more: str, size: int) -> None:
    """Send *size* bytes of the image from 100 on, of more that were announced."""
    url = urlsplit(hub.url)
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Bearer {hub.key}\r\n"
        f"{more}Content-Length: 33000\r\nContent-Type: multipart/form-data; boundary=B\r\n\r\n"
    )
    part = b'--B\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
    with socket.create_connection((url.hostname or "", url.port or 0)) as connection:
        connection.sendall(head.encode() + part + IMAGE[100 : 100 + size])
        assert eventually(lambda: staged(hub))
        threading.Event().wait(0.3)


def test_what_came_before_the_connection_broke_is_kept(hub: RunningHub) -> None:
    path = begun(hub, IMAGE[:100])
    break_off(hub, "PUT", path, "Content-Range: bytes 100-32633/32634\r\n", 9000)
    kept = eventually(lambda: offset(hub, path) - 100)
    assert 9000 - 10 <= kept <= 9000  # the parser holds back what may begin a boundary
    start = 100 + kept
    assert put(hub, path, f"{start}-32633/32634", IMAGE[start:]).status_code == 200
    assert hub.post(path, data={"md5": MD5}).json()["checksum_verified"] is True


def test_a_first_request_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with running_hub(tmp_path, DSX_MAX_FILE_SIZE="40000") as hub:
        form = {"file": ("a.png", IMAGE)}
        for fields, status in (
            ({"md5": "0" * 32}, 400),
            ({"md5": "none"}, 400),
            ({"parent": "0198c1f4-0000-7000-8000-000000000000"}, 404),
            ({"filename": "../up"}, 400),
        ):
            assert hub.post(NEW, files=form, data=fields).status_code == status
        assert hub.post(NEW, files={"file": (None, IMAGE)}).status_code == 400  # no name
        assert hub.post(NEW, data={"md5": MD5}).status_code == 400  # no form
        assert hub.post(NEW, files={"filename": (None, "a.png")}).status_code == 400  # no file
        assert hub.post(NEW, files={"file": ("a", b"x" * 40001)}).status_code == 413
        assert put(hub, NEW, "0-9/40001", b"x" * 10).status_code == 413
        assert (
            hub.post(NEW, files=form, headers={"Content-Range": "bytes 0-9/10"}).status_code == 400
        )
        assert names(hub) == []
        assert staged(hub) == []


def test_a_first_request_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        for method, more in (("PUT", "Content-Range: bytes 0-32633/32634\r\n"), ("POST", "")):
            break_off(hub, method, NEW, more, 9000)
            assert eventually(lambda: not staged(hub))
        assert names(hub) == []
        assert hub.get("/api/v1/tasks").json()["items"][0]["state"] == "aborted"


def test_fields_may_come_in_any_order(hub: RunningHub) -> None:
    def part(name: str, value: bytes, more: str = "") -> bytes:
        head = f'--B\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
        return head.encode() + value + b"\r\n"

    file = part("file", IMAGE, '; filename="wrong"')
    facts = part("filename", b"order.png") + part("md5", MD5.upper().encode())
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    for body in (file + facts, facts + file):
        done = hub.post(NEW, data=body + b"--B--\r\n", headers=headers)
        assert done.status_code == 201, done.text
        assert done.json()["filename"] == "order.png"
        assert done.json()["checksum_verified"] is True


def test_completing_takes_forms_and_json(hub: RunningHub) -> None:
    for kind in ({"data": {"md5": MD5}}, {"files": {"md5": (None, MD5)}}, {"json": {"md5": MD5}}):
        path = begun(hub, IMAGE)
        done = hub.post(path, **kind)
        assert done.json()["checksum_verified"] is True, done.text
    for wrong in (
        {"json": [1]},
        {"json": {"md5": 1}},
        {"data": b"{", "headers": {"Content-Type": "application/json"}},
        {"data": b"\xff", "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
        {"data": b"md5", "headers": {"Content-Type": "text/plain"}},
        {"files": {"file": ("x", IMAGE)}},
        {"data": {"md5": "0" * 31}},
    ):
        path = begun(hub, IMAGE)
        assert hub.post(path, **wrong).status_code == 400, wrong
        assert hub.get(path).json()["status"] == 1
    assert hub.post(path, data={"md5": "0" * 70_000}).status_code == 413


def test_an_id_is_known_before_and_after(hub: RunningHub) -> None:
    """The seed's upload and file are one thing, with one id."""
    path = begun(hub, IMAGE, filename="same-id.png")
    id_ = hub.get(path).json()["id"]
    assert hub.get(f"/storage/download/{id_}/").status_code == 404
    hub.post(path)
    assert hub.get(f"/storage/download/{id_}/").content == IMAGE
    assert hub.get(f"/api/v1/files/{id_}").json()["name"] == "same-id.png"


def test_completing_at_once_makes_one_file(hub: RunningHub) -> None:
    path = begun(hub, IMAGE, filename="at-once.png")
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: hub.post(path, data={"md5": MD5}), range(8)))
    assert {answer.status_code for answer in done} == {200}
    assert len({answer.text for answer in done}) == 1
    id_ = done[0].json()["id"]
    assert len(hub.get(f"/api/v1/files/{id_}/versions").json()["items"]) == 1


def test_a_parent_gives_its_name_and_category(hub: RunningHub) -> None:
    parent = hub.store("parent.png", IMAGE, category="s3-parents")
    path = begun(hub, IMAGE[:100], parent=str(parent["number"]))
    assert hub.get(path).json()["parent"] == parent["id"]
    assert put(hub, path, "100-32633/32634", IMAGE[100:], filename="y").status_code == 200
    assert hub.post(path, data={"filename": "z"}).json()["filename"] == "parent.png"
    newest = hub.get("/api/v1/files", params={"category": "s3-parents"}).json()["items"][0]
    assert (newest["version"], newest["name"]) == (2, "parent.png")
    refused = put(hub, begun(hub, IMAGE), None, b"", parent="nothing")
    assert refused.status_code in {400, 404, 409}


def test_a_parent_may_be_told_when_completing(hub: RunningHub) -> None:
    parent = hub.store("told-late.png", b"old")
    path = begun(hub, IMAGE, filename="another.png")
    assert hub.post(path, data={"parent": "nothing"}).status_code == 404
    done = hub.post(path, data={"parent": parent["id"], "md5": MD5}).json()
    assert (done["filename"], done["parent"]) == ("told-late.png", parent["id"])
    assert hub.get(f"/storage/download/{parent['id']}/").content == b"old"


def test_urls_are_what_the_client_calls_the_server(hub: RunningHub) -> None:
    path = begun(hub, IMAGE)
    for headers in ({"Host": "files.example:81"}, {"X-Forwarded-Host": "files.example:81"}):
        state = hub.get(path, headers=headers).json()
        assert state["url"] == f"http://files.example:81{path}"
        page = hub.get("/storage/files/", params={"page_size": 1}, headers=headers).json()
        assert page["next"] is None or page["next"].startswith("http://files.example:81/storage/")


def test_a_file_that_is_gone(hub: RunningHub) -> None:
    path = begun(hub, IMAGE, filename="gone.png")
    id_ = hub.post(path).json()["id"]
    hub.delete(f"/api/v1/files/{id_}")
    assert "gone.png" not in names(hub)
    assert hub.get(f"/storage/download/{id_}/").status_code == 404
    assert hub.get(path).json()["status"] == 2


def test_no_one_gets_in_without_a_key(hub: RunningHub) -> None:
    path = begun(hub, IMAGE)
    nobody = {"Authorization": ""}
    for method, where in (
        ("PUT", NEW),
        ("POST", NEW),
        ("GET", path),
        ("PUT", path),
        ("POST", path),
        ("GET", "/storage/files/"),
        ("GET", "/storage/download/1/"),
        ("HEAD", "/storage/download/1/"),
    ):
        assert hub.request(method, where, headers=nobody).status_code == 401, (method, where)


def test_a_listing_asks_little_however_many_versions(hub: RunningHub) -> None:
    for number in range(105):
        hub.store("many-versions.png", str(number).encode())
    listed = hub.get("/storage/files/", params={"page_size": 1000}).json()["results"]
    entry = next(entry for entry in listed if entry["filename"] == "many-versions.png")
    assert len(entry["versions"]) == 100
    newest, oldest = entry["versions"][0], entry["versions"][-1]
    assert hub.get(urlsplit(newest["download_url"]).path).content == b"103"
    assert hub.get(urlsplit(oldest["download_url"]).path).content == b"4"
