"""Bits that flip on the disk, behind the hub's back."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

from tests.support.hub import RunningHub
from tests.support.waiting import eventually


def blob_of(hub: RunningHub, record: dict[str, Any]) -> Path:
    """Where the bytes of a stored file lie."""
    digest = record["sha256"]
    return hub.data_dir / "blobs" / digest[:2] / digest


def flip(path: Path, seed: int = 0) -> None:
    """Flip one bit somewhere in the file; its times stay."""
    status = path.stat()
    where = random.Random(seed).randrange(status.st_size * 8)
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(where // 8)
        byte = file.read(1)[0]
        file.seek(where // 8)
        file.write(bytes([byte ^ 1 << where % 8]))
    path.chmod(0o400)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def scrubbed(hub: RunningHub, kind: str = "blobs", seconds: float = 60) -> dict[str, Any]:
    """Have everything checked now; the figures of that cycle."""
    asked = hub.post("/api/v1/scrub")
    assert asked.status_code == 202, asked.text
    before = last_of(hub, kind)

    def ended() -> dict[str, Any] | None:
        last = last_of(hub, kind)
        return last if last and last != before else None

    last = eventually(ended, seconds)
    assert last is not None
    return last


def last_of(hub: RunningHub, kind: str = "blobs") -> dict[str, Any] | None:
    """The figures of the cycle that ended last."""
    kinds = hub.get("/api/v1/scrub").json()["kinds"]
    (one,) = [one for one in kinds if one["name"] == kind]
    last: dict[str, Any] | None = one["last"]
    return last
