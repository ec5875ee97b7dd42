"""What it costs to know who is asking: requests on one connection, and what they consist of."""

from __future__ import annotations

import http.client
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import requests
from fastapi import FastAPI
from sqlalchemy import select
from tests.support.hub import PASSWORD, RunningHub
from tests.support.started import free_port, started

from bench.measure import alternate, row
from dsx.app import create_app
from dsx.catalog.schema.accounts import tokens
from dsx.http.credentials import HubDep

REQUESTS = 500
LOOK_UP = "/health-and-look-up"


def application() -> FastAPI:
    """The hub, with the anchor as its first route: `/health`, and one indexed look-up."""
    app = create_app()

    async def look_up(hub: HubDep) -> dict[str, str]:
        one = select(tokens.c.owner).where(tokens.c.hash == "0" * 64)
        await hub.catalog.read(lambda connection: connection.execute(one).first())
        return {"status": "ok"}

    app.add_api_route(LOOK_UP, look_up)
    app.router.routes.insert(0, app.router.routes.pop())
    return app


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="dsx-bench-") as directory, _served(directory) as hub:
        alice = hub.user("alice")
        paths: dict[str, tuple[str, dict[str, str]]] = {
            "health": ("/health", {}),
            "anchor": (LOOK_UP, {}),
            "token": ("/api/v1/account", {"Authorization": f"Bearer {alice.key}"}),
            "session": ("/api/v1/account", {"Cookie": f"dsx_session={_session(hub)}"}),
            "password": ("/api/v1/account", {"Authorization": _basic()}),
            "API key": ("/api/v1/account", {"Authorization": f"Bearer {hub.key}"}),
        }
        times = alternate({name: _asks(hub, *what) for name, what in paths.items()}, runs=9)
    each = {name: seconds / REQUESTS * 1e6 for name, seconds in times.items()}
    print(f"\nWho is asking: microseconds a request, {REQUESTS} in a row on one connection,")
    print(f"beside /health with one indexed look-up; /health alone {each['health']:.0f} us")
    for name in ("token", "session", "password", "API key"):
        ratio = each[name] / each["anchor"]
        told = f"{each[name]:.0f} us", f"{each['anchor']:.0f} us"
        row(f"GET /api/v1/account by {name}", *told, ratio, "<= 1.15")


def _served(directory: str) -> AbstractContextManager[RunningHub]:
    port = free_port()
    command = ["-m", "uvicorn", "bench.accounts:application", "--factory", "--port", str(port)]
    options = [
        "--http",
        "dsx.transport.protocol:DSXProtocol",
        "--no-access-log",
        "--log-level",
        "error",
    ]
    paths = os.pathsep.join(sys.path)
    variables = {"DSX_LOG_LEVEL": "warning", "PYTHONPATH": paths}
    return started([sys.executable, *command, *options], Path(directory), port, **variables)


def _asks(hub: RunningHub, path: str, headers: dict[str, str]) -> Callable[[], None]:
    address = hub.url.removeprefix("http://")

    def ask() -> None:
        connection = http.client.HTTPConnection(address)
        for _ in range(REQUESTS):
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{path}: {answer.status}")
        connection.close()

    return ask


def _session(hub: RunningHub) -> str:
    who = {"username": "alice", "password": PASSWORD}
    answer = requests.post(f"{hub.url}/api/v1/session", json=who, timeout=60)
    return answer.cookies["dsx_session"]


def _basic() -> str:
    return requests.auth._basic_auth_str("alice", PASSWORD)  # noqa: SLF001
