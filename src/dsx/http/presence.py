"""Tells long work whether the client that asked for it is still there."""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request

from dsx.hub.files.presence import Present


def present(request: Request) -> Present:
    """Raises Starlette's `ClientDisconnect` once the client of *request* has left."""

    async def check() -> None:
        if await request.is_disconnected():
            raise ClientDisconnect

    return check
