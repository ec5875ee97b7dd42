"""Small: what holds for every answer, failures of the server's own included."""

from __future__ import annotations

import asyncio
import errno
import json
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy.exc import OperationalError
from tests.http.test_head import PAGES
from tests.support.hub import RunningHub
from tests.support.wire import wire

from dsx.app import create_app
from dsx.catalog import database
from dsx.config import Settings

ORIGIN = {"Origin": "https://page.example"}


def failing(directory: Path, error: Exception) -> tuple[int, dict[str, str], dict[str, Any]]:
    """What an application answers whose route fails in a way that nobody has foreseen."""
    app = create_app(Settings(data_dir=directory))

    async def fail() -> None:
        raise error

    app.add_api_route("/boom", fail)
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/boom",
        "raw_path": b"/boom",
        "query_string": b"",
        "headers": [(b"host", b"x"), (b"origin", b"https://page.example")],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("x", 80),
    }
    asyncio.run(app(scope, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, json.loads(sent[1]["body"])


def test_unforeseen_failures_have_cors_fields(tmp_path: Path) -> None:
    status, headers, problem = failing(tmp_path, ZeroDivisionError("secret"))
    assert status == 500
    assert headers["access-control-allow-origin"] == "*"
    assert problem["code"] == "internal"
    assert "secret" not in str(problem)


def test_no_descriptor_left_is_told_as_for_a_while(tmp_path: Path) -> None:
    status, headers, _ = failing(tmp_path, OSError(errno.EMFILE, "Too many open files"))
    assert status == 503
    assert headers.get("retry-after") == "1"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/files", 401),
        ("GET", "/nothing", 404),
        ("PUT", "/health", 405),
        ("POST", "/api/v1/session", 422),
        ("GET", "/%ff", 400),
    ],
)
def test_every_failure_has_cors_fields(
    hub: RunningHub, method: str, path: str, status: int
) -> None:
    answer = requests.request(method, hub.url + path, headers=ORIGIN, json={}, timeout=20)
    assert answer.status_code == status
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_no_type_is_guessed(hub: RunningHub) -> None:
    for path in [*PAGES, "/health", "/api/v1/files", "/metrics", "/datasets", "/api/v1/nothing"]:
        assert hub.get(path).headers.get("X-Content-Type-Options") == "nosniff", path


@pytest.mark.parametrize(
    "target",
    ["/file/d/%ff", "/api/v1/files?name=%ff", "/api/v1/datasets/%fe/manifest", "/s/x/%c3", "/%80"],
)
def test_bytes_that_are_no_text_are_refused(hub: RunningHub, target: str) -> None:
    """``%ff`` and ``%fe`` were one name."""
    with wire(hub) as connection:
        for method in ("GET", "POST", "DELETE"):
            assert connection.ask(method, target, "Content-Length: 0").status == 400


def test_names_in_header_fields_are_text(hub: RunningHub) -> None:
    fields = ["Upload-Complete: ?1", "Content-Length: 1", 'Content-Disposition: a; filename="\xff"']
    with wire(hub) as connection:
        head = "\r\n".join(["POST /uploads HTTP/1.1", "Host: x", *fields]).encode("latin-1")
        connection.send(head + f"\r\nAuthorization: {hub.key}\r\n\r\n".encode() + b"x")
        assert connection.answer().status == 400


def test_where_the_database_is_stays_inside() -> None:
    """503 and ``/ready`` told its host and port to strangers."""
    refused = Exception("connection to server at 127.0.0.1, port 9 failed: somebody")
    told = str(database.to_dsx_error(OperationalError("SELECT 1", {}, refused)))
    assert "is not responding" in told
    assert not {"127.0.0.1", "9", "somebody"} & set(told.replace(",", "").split())
