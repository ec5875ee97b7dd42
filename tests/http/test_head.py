"""HEAD on every GET route (RFC 9110 §9.3.2): the same status and fields, and no body."""

from __future__ import annotations

import re

from tests.support.hub import RunningHub
from tests.support.wire import wire

PAGES = ["/docs", "/redoc", "/openapi.json", "/docs/assets/favicon.png"]
NOT_AGAIN = {  # what two answers to the same question may differ in
    "date",
    "content-length",
    "set-cookie",
    "location",
}
MADE_ANEW = {  # as things go on
    "/metrics",
    "/api/v1/datasets",
    "/api/v1/datasets/{dataset}",
    "/api/v1/datasets/{dataset}/manifest",
    "/manifest/{dataset}",
}


def test_head_is_answered_wherever_get_is(hub: RunningHub) -> None:
    (hub.dataset_path / "asked").mkdir(exist_ok=True)
    (hub.dataset_path / "asked" / "a.txt").write_bytes(b"a")
    stored = hub.store("asked.txt", b"asked")
    fill = {"dataset": "asked", "name": "admin"}
    paths = {
        path: re.sub("{(.*?)}", lambda found: fill.get(found[1], stored["id"]), path)
        for path, operations in hub.get("/openapi.json").json()["paths"].items()
        if "get" in operations
    } | dict(zip(PAGES, PAGES, strict=True))
    assert len(paths) > 30
    with wire(hub) as connection:
        for template, path in paths.items():
            if path == "/api/v1/tasks/events":
                path += "?seconds=0.01"  # noqa: PLW2901 (GET has no end otherwise)
            got, asked = connection.ask("GET", path), connection.ask("HEAD", path)
            assert asked.status == got.status, (path, asked)
            assert asked.body == b"", path
            if template in MADE_ANEW:
                continue
            fields = asked.headers.items() - got.headers.items()
            assert {name for name, _ in fields} <= NOT_AGAIN, (path, fields)
            length = asked.headers.get("content-length")
            assert length in {None, got.headers.get("content-length")}, path


def test_head_says_how_long_a_page_is(hub: RunningHub) -> None:
    answer = hub.request("HEAD", "/health")
    assert answer.status_code == 200
    assert answer.headers["Content-Length"] == str(len(hub.get("/health").content))
    assert answer.content == b""
