"""Lets long-running work detect that its client has disconnected."""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request

from dsx.hub.files.presence import Present


def present(request: Request) -> Present:
    """Return a check that raises `ClientDisconnect` once the client of *request* has left."""

    async def check() -> None:
        if await request.is_disconnected():
            raise ClientDisconnect

    return check
