"""What it costs to know who is asking: requests on one connection, and what they consist of."""

from __future__ import annotations

import asyncio
import http.client
import tempfile
from collections.abc import Callable
from pathlib import Path

import requests
from tests.support.hub import PASSWORD, RunningHub, running_hub

from bench.measure import alternate, row
from dsx.catalog import tokens
from dsx.catalog.engine import Catalog
from dsx.hub.clock import now
from dsx.hub.tokens import hash_of

REQUESTS = 500


def main() -> None:
    """Print the table."""
    with (
        tempfile.TemporaryDirectory(prefix="dsx-bench-") as directory,
        running_hub(Path(directory), DSX_LOG_LEVEL="warning") as hub,
    ):
        alice = hub.user("alice")
        cookie = _session(hub)
        paths: dict[str, tuple[str, dict[str, str]]] = {
            "nobody": ("/health", {}),
            "token": ("/api/v1/account", {"Authorization": f"Bearer {alice.key}"}),
            "session": ("/api/v1/account", {"Cookie": f"dsx_session={cookie}"}),
            "password": ("/api/v1/account", {"Authorization": _basic()}),
            "API key": ("/api/v1/account", {"Authorization": f"Bearer {hub.key}"}),
        }
        contenders = {name: _asks(hub, *what) for name, what in paths.items()}
        contenders["look-up"] = _looks_up(hub, alice.key)
        times = alternate(contenders)
        each = {name: seconds / REQUESTS * 1e6 for name, seconds in times.items()}
    print(f"\nWho is asking: microseconds a request, {REQUESTS} in a row, one connection")
    anchor = each["nobody"] + each["look-up"]
    for name in ("token", "session", "password", "API key"):
        told = f"{each['nobody']:.0f} + {each['look-up']:.0f} us"
        row(f"GET /account by {name}", f"{each[name]:.0f} us", told, each[name] / anchor, "<= 1.15")


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


def _looks_up(hub: RunningHub, token: str) -> Callable[[], None]:
    """One indexed look-up in the hub's catalog, as the hub itself makes them."""

    async def look() -> None:
        catalog = Catalog(f"sqlite:///{hub.data_dir / 'catalog.db'}")
        for _ in range(REQUESTS):
            await catalog.read(lambda c: tokens.holder(c, hash_of(token), now()))
        await catalog.aclose()

    return lambda: asyncio.run(look())


def _session(hub: RunningHub) -> str:
    who = {"username": "alice", "password": PASSWORD}
    answer = requests.post(f"{hub.url}/api/v1/session", json=who, timeout=60)
    return answer.cookies["dsx_session"]


def _basic() -> str:
    return requests.auth._basic_auth_str("alice", PASSWORD)  # noqa: SLF001
