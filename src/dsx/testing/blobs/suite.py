"""What the suites of blob stores and stages share."""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from dsx.blobs.contract import BlobStore
from dsx.core.digest import Digest, digest_of
from dsx.core.errors import DSXError

T = TypeVar("T")
SOME = random.Random(0).randbytes(3_000_000)  # noqa: S311 (test data)
WRONG = Digest("0" * 64)


class Suite(ABC):
    """Runs tests against stores that a subclass makes."""

    @abstractmethod
    def make(self, directory: Path) -> Any:
        """Create an empty store, which may use *directory* for its files."""

    def run(self, directory: Path, work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        """Run *work* on a new store, then close the store twice: closing is idempotent."""

        async def whole() -> T:
            store = self.make(directory)
            try:
                return await work(store)
            finally:
                await store.aclose()
                await store.aclose()

        return asyncio.run(whole())


async def chunks(data: bytes, size: int = 700_000) -> AsyncIterator[bytes]:
    """Iterate over *data* in chunks."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def put(store: BlobStore, data: bytes) -> Digest:
    """Store *data* and return its digest."""
    await store.put(digest_of(data), len(data), chunks(data))
    return digest_of(data)


async def fails(kind: type[DSXError], work: Coroutine[Any, Any, object]) -> None:
    """Assert that *work* raises *kind*."""
    try:
        await work
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")
