"""Datasets in place with an index, in this process."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dsx.catalog.database import Catalog
from dsx.core.model import ManifestEntry
from dsx.core.principals import Principal
from dsx.hub.datasets import Datasets

ALICE = Principal("alice")
PATIENCE = 30.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("one", "two"):
        (root / name / "sub").mkdir(parents=True)
        (root / name / "a.txt").write_bytes(b"alpha")
        (root / name / "sub" / "b.txt").write_bytes(b"beta")
    return root


@asynccontextmanager
async def opened(root: Path, url: str = "", place: str = "") -> AsyncIterator[Datasets]:
    catalog = Catalog(url or f"sqlite:///{root.parent / 'catalog.db'}")
    await catalog.migrate()
    datasets = Datasets(catalog, root, place=place)
    try:
        yield datasets
    finally:
        await datasets.aclose()
        await catalog.aclose()


@pytest.fixture
def run(root: Path) -> Callable[[Callable[[Datasets], Coroutine[Any, Any, Any]]], Any]:
    async def whole(work: Callable[[Datasets], Coroutine[Any, Any, Any]]) -> Any:
        async with opened(root) as datasets:
            return await work(datasets)

    return lambda work: asyncio.run(whole(work))


async def indexed(datasets: Datasets) -> None:
    await datasets.scan_all()
    await datasets.hash_pending()


async def entries(datasets: Datasets, name: str = "one") -> dict[str, ManifestEntry]:
    """What the index has, without a scan."""
    return {entry.path: entry async for page in datasets.manifest(name) for entry in page}


async def becomes(datasets: Datasets, expected: dict[str, bytes]) -> dict[str, ManifestEntry]:
    """Return once the index has those files, by itself."""
    found: dict[str, ManifestEntry] = {}
    async with asyncio.timeout(PATIENCE):
        while True:
            found = await entries(datasets)
            heads = {path: entry.hash for path, entry in found.items()}
            if heads == {path: hashlib.md5(data).hexdigest() for path, data in expected.items()}:
                return found
            await asyncio.sleep(0.05)
