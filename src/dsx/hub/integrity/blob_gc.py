"""Removes bytes without a record.

That may take long: a network call, gigabytes to free. So it never happens within a transaction of
the catalog, which others wait for. The transaction that drops a blob's last record writes a
tombstone; afterwards `remove_unknown` carries it out, immediately or, after a crash, by
`Collector`:

1. a transaction that has locked the digest finds that there is still no record, notes that the
   removal has begun and, where the store can, hides the blob;
2. the bytes are deleted, while nobody waits;
3. the tombstone is deleted.

An upload of equal content that comes before 1 drops the tombstone, so its bytes stay. One that
comes later waits for 3 (a moment) before it stores its blob again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from sqlalchemy import Connection

from dsx.blobs.contract import BlobStore, Hides
from dsx.catalog import blobs as records
from dsx.catalog import tombstones
from dsx.catalog.database import Catalog
from dsx.core.digest import Digest
from dsx.core.errors import DSXError, Unavailable
from dsx.core.model import Micros
from dsx.core.shield import run_to_completion
from dsx.hub.clock import SECOND, now

T = TypeVar("T")
LEASE = 120 * SECOND
"""After this time an unfinished removal counts as dead, and another process takes over."""
_BATCH = 100
_PATIENCE = 20.0
_STEP = 0.02


class BeingRemoved(Unavailable):
    """An identical blob is being removed; its digest is free again a moment later."""


async def remove_unknown(catalog: Catalog, blobs: BlobStore, digests: Iterable[Digest]) -> None:
    """Remove those of *digests* that have no record and cannot get one."""
    wanted = sorted(set(digests))
    for start in range(0, len(wanted), _BATCH):
        await run_to_completion(_remove(catalog, blobs, wanted[start : start + _BATCH]))


async def remove_due(catalog: Catalog, blobs: BlobStore) -> int:
    """Finish removals after a crash, and delayed ones; returns how many blobs."""
    removed = 0
    while found := await catalog.read(
        lambda connection: tombstones.due(connection, now(), now() - LEASE, _BATCH)
    ):
        await run_to_completion(_remove(catalog, blobs, found))
        removed += len(found)
    return removed


async def _remove(catalog: Catalog, blobs: BlobStore, digests: Sequence[Digest]) -> None:
    def begin(connection: Connection) -> tuple[list[Digest], Sequence[str]]:
        instant = now()
        for digest in digests:
            records.lock_blob(connection, digest)
        unknown = records.unknown(connection, digests)
        tombstones.drop(connection, [digest for digest in digests if digest not in unknown])
        for digest in unknown:
            tombstones.begin(connection, digest, instant)
        return unknown, blobs.hide(unknown) if isinstance(blobs, Hides) else ()

    unknown, hidden = await catalog.write(begin)
    if not unknown:
        return
    if isinstance(blobs, Hides):
        await blobs.sweep(hidden)
    else:
        await blobs.delete(unknown)
    await catalog.write(lambda connection: tombstones.drop(connection, unknown), durable=False)


@contextlib.asynccontextmanager
async def withheld(
    catalog: Catalog, digest: Digest, unwanted: Callable[[Connection], bool], due: Micros
) -> AsyncIterator[bool]:
    """Keep a blob from being recorded meanwhile if *unwanted*, called under its lock, is true.

    Yields that result. After a crash a blob that has no record is removed from *due* on.
    """

    def begin(connection: Connection) -> bool:
        records.lock_blob(connection, digest)
        if not unwanted(connection):
            return False
        tombstones.add(connection, [digest], due)
        tombstones.begin(connection, digest, now())
        return True

    if not await catalog.write(begin):
        yield False
        return
    try:
        yield True
    finally:
        await catalog.write(lambda connection: tombstones.drop(connection, [digest]))


def spare(connection: Connection, digest: Digest) -> None:
    """Keep the blob, which is locked and about to be recorded, from being removed.

    `BeingRemoved` if that has begun already: see `recorded`.
    """
    begun = tombstones.begun(connection, digest)
    if begun is not None and abs(now() - begun) < LEASE:
        raise BeingRemoved("Identical bytes are being removed; try again.")
    tombstones.drop(connection, [digest])


async def recorded(
    catalog: Catalog,
    blobs: BlobStore,
    digest: Digest,
    prepare: Callable[[], Awaitable[None]],
    record: Callable[[Connection], T],
) -> T:
    """Run *prepare*, then the transaction *record*, which seals and records the blob.

    Returns the result of *record*. Both are repeated while an identical blob is being removed. If
    they fail, the bytes are removed, unless another record has them or an open upload is about to.
    """
    deadline = time.monotonic() + _PATIENCE
    async with _sealing(catalog, blobs, digest):
        while True:
            await prepare()
            try:
                return await catalog.write(record, spare=False)
            except BeingRemoved:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(_STEP)


@contextlib.asynccontextmanager
async def _sealing(catalog: Catalog, blobs: BlobStore, digest: Digest) -> AsyncIterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(DSXError):
            await remove_unknown(catalog, blobs, [digest])
        raise
