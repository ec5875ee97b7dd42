"""Removes bytes that no record names any more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

from sqlalchemy import Connection

from dsx.blobs.contract import BlobStore
from dsx.catalog import blobs as records
from dsx.catalog.engine import Catalog
from dsx.core.digest import Digest
from dsx.core.errors import DSXError


async def remove_unknown(catalog: Catalog, blobs: BlobStore, digests: Iterable[Digest]) -> None:
    """Delete those of *digests* that have no record, each under its claim: see `Trash`."""
    loop = asyncio.get_running_loop()
    for digest in digests:

        def work(connection: Connection, digest: Digest = digest) -> None:
            records.claim(connection, digest)
            if records.unknown(connection, [digest]):
                asyncio.run_coroutine_threadsafe(blobs.delete([digest]), loop).result()

        await catalog.write(work)


@contextlib.asynccontextmanager
async def sealing(catalog: Catalog, blobs: BlobStore, digest: Digest) -> AsyncIterator[None]:
    """Around preparing, sealing and recording a blob: if that fails, its bytes do not stay behind.

    They stay if another record has them or an open upload is about to, and if nothing can be asked.
    """
    try:
        yield
    except BaseException:
        with contextlib.suppress(DSXError):
            await remove_unknown(catalog, blobs, [digest])
        raise
