"""Listing 50 of 1,000,000 files: milliseconds as the client sees them, HTTP included."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import Connection, insert
from tests.support.hub import RunningHub, running_hub

from dsx.catalog import labels
from dsx.catalog.database import Catalog
from dsx.catalog.schema.content import blobs, file_labels, files

ROWS = 1_000_000
BATCH = 50_000
REQUESTS = 21


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="dsx-bench-") as directory:
        root = Path(directory)
        (root / "data").mkdir()
        asyncio.run(_fill(root / "data"))
        with running_hub(root, DSX_LOG_LEVEL="warning") as hub:
            print(f"\nListing 50 of {ROWS:,} files: milliseconds, median of {REQUESTS}; aim < 10")
            for params in (
                {"sort": "-created"},
                {"sort": "name"},
                {"sort": "-size"},
                {"category": "c7"},
                {"category": "c7", "sort": "name"},
                {"tag": "rare"},
                {"tag": "rare", "sort": "-size"},
                {"name": "dir/0123*"},
            ):
                print(f"{params!s:<44} {_measure(hub, params):>14.1f} ms", flush=True)


def _measure(hub: RunningHub, params: dict[str, str]) -> float:
    times = []
    with requests.Session() as session:
        session.headers["Authorization"] = hub.key
        for _ in range(REQUESTS):
            begun = time.perf_counter()
            answer = session.get(f"{hub.url}/api/v1/files", params={"limit": "50", **params})
            times.append(time.perf_counter() - begun)
            if len(answer.json()["items"]) != 50:
                raise RuntimeError(f"{params}: not 50 items")
    return statistics.median(times) * 1000


async def _fill(data: Path) -> None:
    catalog = Catalog(f"sqlite:///{data / 'catalog.db'}")
    await catalog.migrate()
    await catalog.write(
        lambda c: c.execute(insert(blobs).values(digest="0" * 64, size=1, crc32=0, created=0))
    )
    for index in file_labels.indexes:
        await catalog.write(index.drop)
    for start in range(0, ROWS, BATCH):
        await catalog.write(lambda c, start=start: _insert(c, start))  # type: ignore[misc]
    for index in file_labels.indexes:
        await catalog.write(index.create)
    await catalog.aclose()


def _insert(connection: Connection, start: int) -> None:
    rows: list[dict[str, Any]] = [
        {
            "number": number + 1,
            "id": f"{number:036}",
            "file": f"{number:036}",
            "version": 1,
            "latest": True,
            "owner": "admin",
            "name": f"dir/{number:07}.bin",
            "category": f"c{number % 10}",
            "content_type": "application/octet-stream",
            "size": number * 7919 % 1_000_003,
            "sha256": "0" * 64,
            "created": 1_700_000_000_000_000 + number,
            "metadata": {},
            "tags": ["rare"] if number % 1000 == 0 else [],
        }
        for number in range(start, start + BATCH)
    ]
    connection.execute(insert(files), rows)
    connection.execute(insert(file_labels), [label for row in rows for label in _labels(row)])


def _labels(row: dict[str, Any]) -> list[dict[str, Any]]:
    copied = {key: row[key] for key in ("file", "owner", "number", "created", "name", "size")}
    tags = map(labels.of_tag, row["tags"])
    names = (labels.EVERY, labels.of_category(row["category"]), *tags)
    return [{"label": name, **copied} for name in names]
