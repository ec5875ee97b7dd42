"""Ties uploads to servers: the one with the staging directory of the first byte has the bytes.

Servers that share a catalog need not share that directory. Received bytes are a set of intervals in
the catalog, which does not say which machine's disk has them. So the first byte ties an upload to
one staging directory, and a server without that directory receives, hashes and seals none of it: it
reports where the upload is.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from dsx.blobs.contract import Stages
from dsx.catalog import uploads
from dsx.core.errors import Conflict, Elsewhere
from dsx.core.transfers import Upload

RETRY_AFTER = 1


def require_here(upload: Upload, stages: Stages) -> None:
    """Raise `Elsewhere` if the bytes of *upload*, which is open, are in another directory."""
    if upload.state == "open":
        _require(upload.id, upload.staging_id, stages)


def settle_here(connection: Connection, upload: Upload, stages: Stages) -> Upload:
    """Tie *upload*, which is locked, to *stages* and return it; `Elsewhere` if tied to another.

    The caller is about to write its first bytes, or more.
    """
    require_here(upload, stages)
    if upload.state != "open" or upload.staging_id is not None:
        return upload
    return uploads.set_staging(connection, upload, stages.staging_id)


def require_together(final: Upload, parts: Iterable[Upload], stages: Stages) -> None:
    """Raise `Elsewhere` unless all parts of *final* are here.

    `Conflict` if they are on different servers: then no server can join them.
    """
    found = {part.staging_id for part in parts if part.length and part.staging_id}
    if final.staging_id is not None:
        found.add(final.staging_id)
    if len(found) > 1:
        raise Conflict(
            "The partial uploads are on different servers and cannot be joined. Several "
            "servers need a shared staging directory, or a load balancer with sticky "
            "sessions.",
            {"id": final.id, "staging_ids": sorted(found)},
        )
    for one in found:
        _require(final.id, one, stages)


def require_set(key: str, staging_id: str | None, stages: Stages) -> None:
    """Raise `Elsewhere` if the chunks of a file are in another directory."""
    _require(key, staging_id, stages)


def _require(id_: str, staging_id: str | None, stages: Stages) -> None:
    if staging_id not in {None, stages.staging_id}:
        raise Elsewhere(
            "Another server has the bytes of this upload, and they are kept. Send the "
            f"request to the server with the staging directory {staging_id}: through a "
            "load balancer, try again. Several servers need a shared staging directory "
            "or sticky sessions.",
            {"id": id_, "staging_id": staging_id, "retry_after": RETRY_AFTER},
        )
