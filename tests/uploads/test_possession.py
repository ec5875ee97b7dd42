"""A3: a SHA-256, which gets about, is no way to another's bytes, nor to what is known of them."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from tests.support.hub import RunningHub, running_hub

from dsx.blobs.memory import MemoryStore
from dsx.core.digest import Digest
from dsx.core.ranges import ByteRange
from dsx.hub.transfers import possession

FILES, UPLOADS = "/api/v1/files", "/api/v1/uploads"
SECRET = b"PIN=4711;" + bytes(range(256)) * 40
LEAST = 4096
"""Bytes of a file that gets a challenge."""
SHA256 = hashlib.sha256(SECRET).hexdigest()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with running_hub(tmp_path_factory.mktemp("possession")) as running:
        yield running


@pytest.fixture(scope="module")
def bob(hub: RunningHub) -> RunningHub:
    hub.user("alice").store("secret", SECRET)
    return hub.user("bob")


def begun(hub: RunningHub, length: int, **facts: Any) -> dict[str, Any]:
    new = {"name": "x", "length": length, "sha256": SHA256} | facts
    answer = hub.post(UPLOADS, json=new)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def answered(hub: RunningHub, upload: dict[str, Any], data: bytes) -> tuple[float, int, Any]:
    """What is said to a proof that quotes from *data*, and after how long."""
    quoted = b"".join(data[start:stop] for start, stop in upload["challenge"]["places"])
    proof = hashlib.sha256(bytes.fromhex(upload["challenge"]["nonce"]) + quoted).hexdigest()
    since = time.monotonic()
    answer = hub.post(f"{upload['url']}/proof", json={"proof": proof})
    return time.monotonic() - since, answer.status_code, answer.json()


@pytest.mark.parametrize("length", [1, 9, LEAST - 1])
def test_a3_few_bytes_get_no_challenge(bob: RunningHub, length: int) -> None:
    upload = begun(bob, length)
    assert upload["challenge"] is None
    refused = bob.post(f"{upload['url']}/proof", json={"proof": SHA256})
    assert refused.status_code == 403
    bob.delete(upload["url"])


class Watched(MemoryStore):
    """Counts how often bytes are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = 0

    async def open(
        self, digest: Digest, range_: ByteRange | None = None
    ) -> tuple[int, AsyncIterator[bytes]]:
        self.opened += 1
        return await super().open(digest, range_)


@pytest.mark.parametrize("length", [1, LEAST, len(SECRET) - 1, len(SECRET) + 1])
def test_a3_of_another_length_nothing_is_hashed(length: int) -> None:
    async def check() -> None:
        blobs = Watched()
        blobs.blobs[Digest(SHA256)] = SECRET
        nonce = possession.challenge()
        proof = hashlib.sha256(bytes.fromhex(nonce) + SECRET[:length]).hexdigest()
        assert not await possession.proven(blobs, Digest(SHA256), length, nonce, proof)
        assert blobs.opened == 0
        proof = hashlib.sha256(bytes.fromhex(nonce) + SECRET).hexdigest()
        assert await possession.proven(blobs, Digest(SHA256), len(SECRET), nonce, proof)

    asyncio.run(check())


def test_a3_a_right_beginning_is_as_wrong_as_any(bob: RunningHub) -> None:
    length, told = LEAST, []
    for data in (SECRET, bytes(len(SECRET))):
        upload = begun(bob, length)
        told.append(answered(bob, upload, data))
        bob.delete(upload["url"])
    (right, *said), (wrong, *too) = told
    assert said == too
    assert said[0] == 403
    assert min(right, wrong) >= possession.DENIAL_SECONDS


def paused(hub: RunningHub, bob: RunningHub, upload: dict[str, Any]) -> None:
    assert bob.post(f"/api/v1/tasks/{upload['id']}/pause").status_code == 200


def taken(hub: RunningHub, bob: RunningHub, upload: dict[str, Any]) -> None:
    bob.store(upload["name"], b"taken meanwhile")


def over_quota(hub: RunningHub, bob: RunningHub, upload: dict[str, Any]) -> None:
    hub.request("PATCH", "/api/v1/users/bob", json={"quota_bytes": 1})


@pytest.mark.parametrize("way", [paused, taken, over_quota])
def test_a3_what_else_is_in_the_way_is_not_told(
    hub: RunningHub, bob: RunningHub, way: Callable[..., None]
) -> None:
    """A right proof that makes no file is refused as a wrong one is."""
    told = []
    for data in (SECRET, bytes(len(SECRET))):
        upload = begun(bob, len(SECRET), name=f"{way.__name__} {data[0]}", only_if_absent=True)
        way(hub, bob, upload)
        told.append(answered(bob, upload, data))
        bob.delete(upload["url"])
        hub.request("PATCH", "/api/v1/users/bob", json={"quota_bytes": -1})
    (right, *said), (wrong, *too) = told
    assert said == too
    assert said[0] == 403
    assert min(right, wrong) >= possession.DENIAL_SECONDS


def test_a3_who_has_the_bytes_sends_none(bob: RunningHub) -> None:
    upload = begun(bob, len(SECRET), name="mine, too")
    assert answered(bob, upload, SECRET)[1] == 201
    found = bob.get(FILES, params={"name": "mine, too"}).json()["items"]
    assert [one["sha256"] for one in found] == [SHA256]
