"""Checks that the blobs belong to this catalog.

The catalog has the hub's id and a generation that grows at every start and every hour; a label
beside the blobs repeats both. So a lost catalog, or one restored from a backup, is recognized
before any blobs are taken for orphans.
"""

from __future__ import annotations

import json
import uuid
from functools import partial
from typing import Literal

import structlog

from dsx.blobs.contract import BlobStore
from dsx.catalog import blobs as records
from dsx.catalog import hub as identities
from dsx.catalog.database import Catalog
from dsx.catalog.hub import HubId
from dsx.core.errors import Conflict, NotFound
from dsx.hub.clock import SECOND, now

log = structlog.get_logger(__name__)

RENEWED_EVERY = 3600 * SECOND
Agreement = Literal["same", "new", "older"]
"""``new``: nothing was stored under a label yet. ``older``: the catalog is older than the blobs."""


async def prepare(catalog: Catalog, blobs: BlobStore, *, create: bool) -> None:
    """Upgrade the schema and label the blobs, if they belong to this catalog.

    Raises `Conflict` for blobs of another or a lost catalog and for a catalog without its blobs,
    `Unusable` for a catalog that cannot be used. Unless *create*, `NotFound` for a missing one, and
    nothing is created or changed.
    """
    await catalog.verify(thorough=False)
    # Blobs first: a server starting concurrently makes the schema before it stores any.
    stored = await blobs.label() is not None or bool(await blobs.list(limit=1))
    current, newest = await catalog.revision()
    if current is None and not create:
        raise NotFound("There is no hub here: its catalog is empty. Is DSX_DATA_DIR right?")
    if current is None and stored:
        raise Conflict(
            "There are blobs here, but their catalog is missing. Restore the catalog from a "
            "backup (catalog.db, or the database of DSX_DATABASE_URL). To start without those "
            "files, choose another data directory, or move `blobs` out of this one."
        )
    if current != newest:
        if not create:
            raise Conflict(
                "The catalog is from an older version of DSX Hub: `dsx serve` upgrades it."
            )
        await catalog.migrate()
    if create and await agreement(catalog, blobs) == "new":
        await renew(catalog, blobs, "new")


async def agreement(catalog: Catalog, blobs: BlobStore) -> Agreement:
    """Compare catalog and label; raises `Conflict` if they are of different hubs."""
    known = await catalog.read(identities.get)
    label = _read(await blobs.label())
    if label is None:
        recorded, _ = await catalog.read(records.totals)
        if known is not None and recorded and not await blobs.list(limit=1):
            raise Conflict(
                "The blobs of this hub are not here. Is their directory mounted, and is "
                "DSX_STORAGE_URL right? If they are lost: dsx fsck --repair --force."
            )
        return "new"
    if known is None and not (await catalog.read(records.totals))[0]:
        raise Conflict(
            "The blobs here belong to another hub: check DSX_DATA_DIR and DSX_STORAGE_URL."
        )
    if known is not None and known.id != label.id:
        raise Conflict(
            "The blobs here belong to another hub: check DSX_DATA_DIR and DSX_STORAGE_URL."
        )
    return "older" if known is None or known.generation < label.generation else "same"


async def renew(catalog: Catalog, blobs: BlobStore, found: Agreement) -> None:
    """Increase the generation in both, unless the catalog is older, which must stay visible."""
    if found == "older":
        log.warning(
            "the catalog is older than the blobs and lacks files stored since: run `dsx "
            "fsck` to count them"
        )
        return
    identity = await catalog.write(partial(identities.renew, id_=str(uuid.uuid4()), now=now()))
    await label_blobs(blobs, identity)


async def renew_in_time(catalog: Catalog, blobs: BlobStore) -> None:
    """Call `renew` if the last time was long enough ago."""
    known = await catalog.read(identities.get)
    if known is None or abs(now() - known.renewed) > RENEWED_EVERY:
        await renew(catalog, blobs, await agreement(catalog, blobs))


async def accept(catalog: Catalog, blobs: BlobStore) -> None:
    """Label the blobs as belonging to this catalog as it is."""
    identity = await catalog.write(partial(identities.renew, id_=str(uuid.uuid4()), now=now()))
    await label_blobs(blobs, identity)


async def label_blobs(blobs: BlobStore, identity: HubId) -> None:
    """Store *identity* beside the blobs."""
    note = {"hub": identity.id, "generation": identity.generation}
    await blobs.set_label(json.dumps(note).encode())


def _read(label: bytes | None) -> HubId | None:
    if label is None:
        return None
    try:
        note = json.loads(label)
        return HubId(str(note["hub"]), int(note["generation"]), 0)
    except (ValueError, KeyError, TypeError):
        raise Conflict(
            "The label beside the blobs cannot be read; if the blobs belong to this "
            "hub, remove blobs/label."
        ) from None
