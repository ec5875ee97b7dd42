"""A response that reports its end: whether it was begun, and whether all of it was sent."""

from __future__ import annotations

from typing import Protocol

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from dsx.core.shield import run_to_completion


class Counting(Protocol):
    """Receiver of the report."""

    async def end(self, *, begun: bool, whole: bool) -> None:
        """Called once, when the response has ended."""


class CountedResponse(Response):
    """Sends *response*, then reports the outcome to *counting*."""

    def __init__(self, response: Response, counting: Counting) -> None:
        self.status_code = response.status_code
        self.background = None
        self.raw_headers = response.raw_headers
        self._response = response
        self._counting = counting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        begun = whole = False

        async def watched(message: Message) -> None:
            nonlocal begun, whole
            await send(message)
            begun = begun or message["type"] == "http.response.start"
            if message["type"] == "http.response.body" and not message.get("more_body"):
                whole = True

        try:
            await self._response(scope, receive, watched)
        finally:
            await run_to_completion(self._counting.end(begun=begun, whole=whole))
