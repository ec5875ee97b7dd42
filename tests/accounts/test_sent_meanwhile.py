"""Bodies that are still coming when their sender's account or token ends are stored nowhere."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator

import pytest
import requests
from tests.support.hub import RunningHub

USERS, TOKENS = "/api/v1/users", "/api/v1/tokens"
_numbers = itertools.count()


def _deleted(hub: RunningHub, name: str, token: str) -> None:
    answer = hub.delete(f"{USERS}/{name}", params={"days": 1})
    assert (answer.status_code, answer.json()["files"]) == (200, 0), answer.text


def _disabled(hub: RunningHub, name: str, token: str) -> None:
    assert hub.request("PATCH", f"{USERS}/{name}", json={"disabled": True}).status_code == 200


def _demoted(hub: RunningHub, name: str, token: str) -> None:
    assert hub.request("PATCH", f"{USERS}/{name}", json={"role": "reader"}).status_code == 200


def _revoked(hub: RunningHub, name: str, token: str) -> None:
    me = {"Authorization": f"Bearer {token}"}
    (found,) = hub.get(TOKENS, headers=me).json()["items"]
    assert hub.delete(f"{TOKENS}/{found['id']}", headers=me).status_code == 204


WAYS = {
    "raw": ("POST", "/api/v1/files?name=ghost", None),
    "multipart": ("POST", "/api/v1/files", "file"),
    "fileserver": ("PUT", "/upload=ghost", None),
    "fileserver's form": ("POST", "/upload", "file"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ends", [_deleted, _disabled, _demoted, _revoked])
def test_what_a_sender_who_is_gone_sends_is_not_stored(
    hub: RunningHub, way: str, ends: Callable[[RunningHub, str, str], None]
) -> None:
    name = f"sender-{next(_numbers)}"
    sender = hub.user(name)
    method, path, field = WAYS[way]
    begun, go_on = threading.Event(), threading.Event()

    def body() -> Iterator[bytes]:
        head = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="ghost"\r\n\r\n'
        yield head.encode() if field else b"begin"
        yield b"middle" * 50_000
        begun.set()
        go_on.wait(30)
        yield b"\r\n--x--\r\n" if field else b"end"

    def end() -> None:
        begun.wait(30)
        ends(hub, name, sender.key)
        go_on.set()

    ending = threading.Thread(target=end)
    ending.start()
    form = {"Content-Type": "multipart/form-data; boundary=x"} if field else {}
    with requests.Session() as session:
        headers = {"Authorization": f"Bearer {sender.key}"} | form
        answer = session.request(method, hub.url + path, data=body(), headers=headers, timeout=60)
    ending.join()
    assert answer.status_code == (403 if ends is _demoted else 401), answer.text
    if ends is not _deleted:
        owner = hub.get(f"{USERS}/{name}").json()["id"]
        found = hub.get("/api/v1/files", params={"owner": owner})
        assert (found.status_code, found.json()["code"]) == (404, "not_found"), found.text
