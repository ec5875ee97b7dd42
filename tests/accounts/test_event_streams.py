"""M3: a stream of events ends with what opened it, and has an end of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.support.hub import PASSWORD, RunningHub, running_hub

from dsx.http import server_sent_events

EVENTS, SESSION, TOKENS = "/api/v1/tasks/events", "/api/v1/session", "/api/v1/tokens"
OURS = {"Sec-Fetch-Site": "same-origin"}
WITHIN = 30
"""Seconds for a busy machine; the promise is 5."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with running_hub(tmp_path_factory.mktemp("events"), DSX_JWT_TTL="3") as running:
        yield running


class Watching:
    """A stream of events that is read in a thread of its own."""

    def __init__(self, hub: RunningHub, **more: Any) -> None:
        self._answer = requests.get(hub.url + EVENTS, stream=True, timeout=60, **more)
        assert self._answer.status_code == 200, self._answer.text
        self.ended = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for _ in self._answer.iter_content(1):
                pass
        finally:
            self._answer.close()
            self.ended.set()


def bearer(secret: str) -> dict[str, Any]:
    return {"headers": {"Authorization": f"Bearer {secret}"}}


def by_token(hub: RunningHub, name: str) -> tuple[dict[str, Any], Callable[[], Any]]:
    user = hub.user(name)
    made = user.post(TOKENS, json={"name": "watcher"}).json()
    return bearer(made["token"]), lambda: user.delete(f"{TOKENS}/{made['id']}")


def by_brief_token(hub: RunningHub, name: str) -> tuple[dict[str, Any], Callable[[], Any]]:
    made = hub.user(name).post(TOKENS, json={"seconds": 3}).json()
    return bearer(made["token"]), lambda: None


def by_session(hub: RunningHub, name: str) -> tuple[dict[str, Any], Callable[[], Any]]:
    hub.user(name)
    who = {"username": name, "password": PASSWORD}
    cookies = requests.post(hub.url + SESSION, json=who, timeout=20).cookies
    shown = {"cookies": dict(cookies)}
    return shown, lambda: requests.delete(hub.url + SESSION, headers=OURS, timeout=20, **shown)


def by_jwt(hub: RunningHub, name: str) -> tuple[dict[str, Any], Callable[[], Any]]:
    hub.user(name)
    who = {"username": name, "password": PASSWORD}
    made = requests.post(hub.url + "/api-token-auth/", json=who, timeout=20).json()
    return bearer(made["token"]), lambda: None


def disabled(hub: RunningHub, name: str) -> tuple[dict[str, Any], Callable[[], Any]]:
    path = f"/api/v1/users/{name}"
    shown = bearer(hub.user(name).key)
    return shown, lambda: hub.request("PATCH", path, json={"disabled": True})


def new_password(hub: RunningHub, name: str) -> tuple[dict[str, Any], Callable[[], Any]]:
    hub.user(name)
    path, body = f"/api/v1/users/{name}", {"password": "another horse"}
    return {"auth": (name, PASSWORD)}, lambda: hub.request("PATCH", path, json=body)


def new_role(hub: RunningHub, name: str) -> tuple[dict[str, Any], Callable[[], Any]]:
    path, shown = f"/api/v1/users/{name}", bearer(hub.user(name).key)
    return shown, lambda: hub.request("PATCH", path, json={"role": "reader"})


WAYS = [by_token, by_brief_token, by_session, by_jwt, disabled, new_password, new_role]


def test_m3_a_stream_ends_with_its_credential(hub: RunningHub) -> None:
    assert server_sent_events.DOUBT + 2 * server_sent_events.INTERVAL < 5
    with ExitStack() as stack:
        stack.callback(hub.stop)  # which ends those that should go on
        kept = Watching(hub, **bearer(hub.user("kept").key))
        keyed = Watching(hub, **bearer(hub.key))
        known = Watching(hub, auth=("kept", PASSWORD))
        begun = []
        for way in WAYS:
            shown, end = way(hub, way.__name__)
            begun.append((way.__name__, Watching(hub, **shown), end))
        for _, _, end in begun:
            end()
        for name, watching, _ in begun:
            assert watching.ended.wait(WITHIN), name
        for going in (kept, keyed, known):
            assert not going.ended.is_set()


def test_m3_a_stream_has_an_end_of_its_own(tmp_path: Path) -> None:
    with running_hub(tmp_path, DSX_EVENT_SECONDS="1") as hub:
        for params in ({}, {"seconds": "86400"}):
            assert Watching(hub, params=params, **bearer(hub.key)).ended.wait(WITHIN)
