"""What some hold in the server's memory refuses nobody else, and is given back."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import requests
from tests.support.hub import PASSWORD, RunningHub, running_hub
from tests.support.memory import rss
from tests.support.waiting import eventually

from dsx.core.errors import Unavailable
from dsx.http.holding import SHORT, Hold, Room

MIB = 1024 * 1024
STRANGERS = 1060
"""Of 64 KiB each: more than there was room for, for everybody together."""


@pytest.fixture
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub whose memory nobody else needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    with running_hub(tmp_path_factory.mktemp("held")) as running:
        yield running
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a7_a8_strangers_refuse_nobody_and_memory_comes_back(lonely: RunningHub) -> None:
    """A7: bodies that never end, of strangers. A8: within 32 MiB once they have left."""
    lonely.user("alice")
    before = rss(lonely)
    host, port = lonely.url.removeprefix("http://").split(":")
    head = (
        b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 65536\r\n\r\n"
    )
    with ExitStack() as stack:
        for _ in range(STRANGERS):
            stranger = stack.enter_context(socket.create_connection((host, int(port))))
            stranger.sendall(head + b"x" * 65_000)
        who = {"username": "alice", "password": PASSWORD}
        url = f"{lonely.url}/api/v1/session"
        assert requests.post(url, json=who, timeout=60).status_code in {200, 201}
        form = requests.post(f"{lonely.url}/api-token-auth/", data=who, timeout=60)
        assert form.status_code == 200, form.text
        assert lonely.post("/api/v1/tokens", json={"scopes": ["read"]}).status_code == 201
        long = {"name": "x", "length": 5, "metadata": {"k": "v" * 50_000}}
        assert lonely.post("/api/v1/uploads", json=long).status_code == 201
    eventually(lambda: rss(lonely) < before + 32 * MIB, 30)


def test_a7_each_address_has_a_share_and_short_bodies_are_never_refused() -> None:
    """A7: one address that holds all it may leaves room for others, and for who signs in."""
    room = Room(3 * MIB, 2 * MIB)
    greedy = Hold(room, "192.0.2.1")
    greedy.add(2 * MIB)
    with pytest.raises(Unavailable):
        Hold(room, "192.0.2.1").add(SHORT + 1)
    Hold(room, "192.0.2.1").add(SHORT)
    other = Hold(room, "192.0.2.2")
    other.add(MIB)
    Hold(room, "192.0.2.3").add(SHORT)
    with pytest.raises(Unavailable):
        Hold(room, "192.0.2.3").add(SHORT + 1)
    greedy.end()
    other.add(MIB)
