"""CORS: pages of other origins may call the hub with a key of their own and read its headers.

No ambient credentials can be stolen: a page must send an ``Authorization`` header itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from dsx.hub.clock import DAY, SECOND

EXPOSED = (
    "Accept-Patch",
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Link",
    "Location",
    "Repr-Digest",
    "Retry-After",
    "Tus-Checksum-Algorithm",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Resumable",
    "Tus-Version",
    "Upload-Complete",
    "Upload-Concat",
    "Upload-Defer-Length",
    "Upload-Draft-Interop-Version",
    "Upload-Expires",
    "Upload-Length",
    "Upload-Limit",
    "Upload-Metadata",
    "Upload-Offset",
)


def install(app: FastAPI, origins: Sequence[str]) -> None:
    """Allow pages of *origins* (``*``: all) to call *app*."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=list(EXPOSED),
        max_age=DAY // SECOND,
    )
