"""Removes bytes that no record names any more."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from sqlalchemy import Connection

from dsx.blobs.contract import BlobStore
from dsx.catalog import blobs as records
from dsx.catalog.engine import Catalog
from dsx.core.digest import Digest


async def remove_unknown(catalog: Catalog, blobs: BlobStore, digests: Iterable[Digest]) -> None:
    """Delete those of *digests* that have no record, each under its claim: see `Trash`."""
    loop = asyncio.get_running_loop()
    for digest in digests:

        def work(connection: Connection, digest: Digest = digest) -> None:
            records.claim(connection, digest)
            if records.unknown(connection, [digest]):
                asyncio.run_coroutine_threadsafe(blobs.delete([digest]), loop).result()

        await catalog.write(work)
