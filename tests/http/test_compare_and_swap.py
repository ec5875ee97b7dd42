"""``If-Match``: changes that are only meant for what their sender has seen (RFC 9110 §13.1.1)."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from tests.support.hub import RunningHub

FILES = "/api/v1/files"


@pytest.fixture
def name(hub: RunningHub) -> str:
    return f"cas-{uuid.uuid4().hex}"


def _tag(record: dict[str, Any]) -> str:
    return f'"{record["sha256"]}"'


def test_a_version_follows_only_the_one_that_was_seen(hub: RunningHub, name: str) -> None:
    first = hub.store(name, b"1")
    swap = {"params": {"name": name}, "data": b"2"}
    wrong = ['"x"', '"*"', '""', "", f"W/{_tag(first)}", first["sha256"]]
    for match in wrong:
        answer = hub.post(FILES, headers={"If-Match": match}, **swap)
        assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed"), match
    seen = {"If-Match": f'"other", {_tag(first)}'}
    assert hub.post(FILES, headers=seen, **swap).status_code == 201
    assert hub.post(FILES, headers=seen, **swap).status_code == 412
    assert hub.post(FILES, headers={"If-Match": "*"}, **swap).status_code == 201
    absent = hub.post(FILES, params={"name": f"{name}-2"}, data=b"", headers={"If-Match": "*"})
    assert absent.status_code == 412
    assert hub.get(FILES, params={"name": f"{name}-2"}).json()["items"] == []


@pytest.mark.parametrize(("method", "json"), [("PATCH", {"tags": ["q"]}), ("DELETE", None)])
def test_only_what_was_seen_is_changed_or_deleted(
    hub: RunningHub, name: str, method: str, json: Any
) -> None:
    record = hub.store(name, b"1")
    path = f"{FILES}/{record['id']}"
    assert hub.request(method, path, json=json, headers={"If-Match": '"x"'}).status_code == 412
    assert hub.get(path).json()["tags"] == []
    done = hub.request(method, path, json=json, headers={"If-Match": _tag(record)})
    assert done.status_code in {200, 204}, done.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/delete={name}"),
        ("PUT", "/upload={name}"),
        ("POST", "/upload={name}"),
        ("DELETE", "/delete_file/{name}"),
        ("POST", "/api/v1/uploads"),
        ("POST", "/uploads"),
        ("DELETE", "/api/v1/trash/1"),
    ],
)
def test_what_is_not_heeded_is_refused(hub: RunningHub, name: str, method: str, path: str) -> None:
    """It would be taken for a comparison that was made."""
    record = hub.store(name, b"1")
    tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "1"}
    path = path.format(name=name)
    for headers, status in (({"If-Match": '"x"'}, 412), ({"If-None-Match": '"x"'}, 400)):
        answer = hub.request(method, path, headers=tus | headers, data=b"")
        assert answer.status_code == status, answer.text
    assert hub.get(f"{FILES}/{record['id']}").json()["latest"] is True
