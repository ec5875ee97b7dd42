"""Uppy in Chromium, on a page of another origin, against a hub."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from tests.clients.scripts import run
from tests.clients.stored import MIB, content, stored
from tests.support.hub import RunningHub
from tests.support.node import chromium

SIZE = 3 * MIB


def test_upload_from_another_origin(hub: RunningHub, endpoint: str, tmp_path: Path) -> None:
    data = content(SIZE, 1)
    path = tmp_path / "uppy.png"
    path.write_bytes(data)
    result = run(
        "uppy.mjs", chromium=chromium(), path=str(path), endpoint=endpoint, key=hub.key,
        chunkSize=MIB, pauseAfter=MIB, meta={"project": "zebra — Ω"},
    )  # fmt: skip
    assert (result["errors"], result["complaints"]) == ([], [])
    assert result["origin"] != f"{urlsplit(hub.url).scheme}://{urlsplit(hub.url).netloc}"
    assert result["pauses"] == 1
    methods = [method for method, _ in result["requests"]]
    assert (methods[0], methods.count("HEAD"), methods[-1]) == ("POST", 1, "PATCH")
    record = stored(hub, "uppy.png", data)
    assert record["content_type"] == "image/png"
    assert record["metadata"]["project"] == "zebra — Ω"
