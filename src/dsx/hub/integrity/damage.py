"""Damaged bytes: found, quarantined, reported, repaired.

A damaged blob is marked in the catalog, so that readers get an error, and its bytes go into the
store's quarantine, so that nothing reads them. Both happen under the lock of its digest and only if
it was not sealed again since it was read: bytes just uploaded are not affected. Storing the right
bytes again, by whatever protocol, clears the mark; a replica may also have them.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog
from sqlalchemy import Connection

from dsx.blobs.contract import BlobStore
from dsx.catalog import blobs as records
from dsx.catalog.database import Catalog
from dsx.core.digest import Digest
from dsx.core.errors import Damaged, DigestMismatch, DSXError, NotFound, StorageFailed, Unavailable
from dsx.core.model import Micros
from dsx.core.shield import run_to_completion
from dsx.hub.clock import now
from dsx.hub.integrity.blob_gc import withheld

log = structlog.get_logger(__name__)

MISSING = "missing"
_PAGE = 1000
RateLimiter = Callable[[int], Awaitable[None]]
"""Called with the number of bytes just read; it may wait."""


async def at_full_speed(size: int) -> None:
    """Never wait."""
    _ = size


class Inspector:
    """Checks blobs one by one."""

    def __init__(
        self, catalog: Catalog, blobs: BlobStore, replicas: Sequence[BlobStore] = ()
    ) -> None:
        """*replicas* are asked, in that order, for the right bytes of damaged blobs."""
        self._catalog = catalog
        self._blobs = blobs
        self._replicas = replicas

    async def inspect(
        self, digest: Digest, size: int, sealed: Micros, pace: RateLimiter = at_full_speed
    ) -> str | None:
        """Read a blob and mark it if its bytes are wrong; returns the problem, or None.

        *sealed*: the time in its record. Raises `Unavailable` if the store does not respond.
        """
        problem = await problem_of(self._blobs, digest, size, pace)
        if problem is not None:  # memory and controllers also fail: confirm it
            problem = await problem_of(self._blobs, digest, size, pace)
        if problem == MISSING and await self._blobs.label() is None:
            raise Unavailable("The blobs are not available: is their directory mounted?")
        if problem is None or not await run_to_completion(self._set_aside(digest, sealed, problem)):
            return None
        log.error("stored bytes are damaged", digest=digest, size=size, problem=problem)
        await self.heal(digest, size)
        return problem

    async def recover(self) -> None:
        """Unmark blobs that were missing and are back; they are read like any other."""
        after = ""
        while page := await self._catalog.read(partial(records.damaged, after=after, limit=_PAGE)):
            after = page[-1].digest
            absent = [one for one in page if one.problem == MISSING]
            sizes = await self._blobs.stat([one.digest for one in absent])
            for one in absent:
                if sizes.get(one.digest) == one.size or await self.heal(one.digest, one.size):
                    await self._catalog.write(partial(_healed, one.digest))

    async def heal(self, digest: Digest, size: int) -> bool:
        """Fetch the right bytes from a replica; returns whether one had them."""
        for replica in self._replicas:
            with contextlib.suppress(NotFound, DigestMismatch):
                _, chunks = await replica.open(digest)
                await self._blobs.put(digest, size, chunks)
                await self._catalog.write(partial(_healed, digest))
                log.info("damaged bytes were replaced from a replica", digest=digest)
                return True
        return False

    async def _set_aside(self, digest: Digest, sealed: Micros, problem: str) -> bool:
        def mark(connection: Connection) -> bool:
            return records.mark(connection, digest, sealed, problem, now())

        async with withheld(self._catalog, digest, mark, now()) as marked:
            if marked:
                # if the store cannot move it, the mark still keeps it from being served
                with contextlib.suppress(OSError, DSXError):
                    await self._blobs.quarantine([digest])
        return marked


async def problem_of(
    blobs: BlobStore, digest: Digest, size: int, pace: RateLimiter = at_full_speed
) -> str | None:
    """Return what is wrong with the stored bytes of *digest*; None: nothing."""
    hasher = hashlib.sha256()
    try:
        found, chunks = await blobs.open(digest)
        async for chunk in chunks:
            await asyncio.to_thread(hasher.update, chunk)
            await pace(len(chunk))
        if found != size:
            return f"has {found} bytes instead of {size}"
    except NotFound:
        return MISSING
    except (OSError, StorageFailed, Damaged) as error:
        return f"cannot be read: {error}"
    return None if hasher.hexdigest() == digest else "has other content"


def _healed(digest: Digest, connection: Connection) -> None:
    records.lock_blob(connection, digest)
    records.clear(connection, digest, now())
