"""What tests of upload clients ask of a hub: where to upload to, and what arrived."""

from __future__ import annotations

import hashlib
import random
from typing import Any

from tests.support.hub import RunningHub

MIB = 1 << 20


def content(size: int, seed: int) -> bytes:
    """*size* bytes that no other *seed* gives."""
    return random.Random(seed).randbytes(size)


def authorization(hub: RunningHub) -> dict[str, str]:
    """The header that every request needs."""
    return {"Authorization": f"Bearer {hub.key}"}


def records(hub: RunningHub, name: str) -> list[dict[str, Any]]:
    """The records of the files named *name*: one or none."""
    answer = hub.get("/api/v1/files", params={"name": name})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def stored(hub: RunningHub, name: str, data: bytes) -> dict[str, Any]:
    """The record of the one file named *name*, whose stored bytes are *data*."""
    (record,) = records(hub, name)
    digest = hashlib.sha256(data).hexdigest()
    assert (record["size"], record["sha256"]) == (len(data), digest)
    answer = hub.get(record["url"])
    assert answer.status_code == 200, answer.text
    assert hashlib.sha256(answer.content).hexdigest() == digest
    return record


def upload_id(url: str) -> str:
    """The id in the URL of an upload: the name of a file that was given none."""
    return url.rstrip("/").rsplit("/", 1)[1]
