"""Server-sent events (HTML Standard §9.2)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import structlog
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from dsx.core.errors import DSXError
from dsx.hub.limits import check_number
from dsx.transport.extensions import WANTED

log = structlog.get_logger(__name__)

INTERVAL = 0.5
"""Seconds between polls."""
DOUBT = 2.0
"""Seconds between checks that the listener is still authorized."""
HEARTBEAT = 15.0
"""Seconds of silence after which a comment keeps the stream alive."""
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@dataclass(frozen=True, slots=True)
class Event:
    """One event. *data* is a single line."""

    name: str
    id: str
    data: str

    def __str__(self) -> str:
        return f"event: {self.name}\nid: {self.id}\ndata: {self.data}\n\n"


class Streams:
    """Limits the open streams of each principal in this process."""

    def __init__(self, most: int) -> None:
        """Allow *most* streams per principal."""
        self._most = most
        self._open: Counter[str] = Counter()
        self.turn = asyncio.Semaphore(1)  # for streams with a backlog

    @contextmanager
    def hold(self, owner: str) -> Iterator[None]:
        """Count one more stream of *owner* within the block; `TooMany` beyond the limit."""
        check_number(self._open[owner], self._most, "event streams")
        self._open[owner] += 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]


class News(Protocol):
    """A source of events, in batches."""

    @property
    def more(self) -> bool:
        """Whether more events may be available immediately."""

    async def __call__(self) -> Sequence[Event]:
        """The next batch of events."""


class _Paced:
    """*news*, polled in turn by the streams that have a backlog."""

    def __init__(self, news: News, turn: asyncio.Semaphore) -> None:
        self._news = news
        self._turn = turn

    @property
    def more(self) -> bool:
        return self._news.more

    async def next(self) -> Sequence[Event]:
        if not self._news.more:
            return await self._news()
        async with self._turn:
            return await self._news()


class EventStream(StreamingResponse):
    """Streams the events of *news* for at most *seconds*, as long as *allowed* holds.

    A client that closes its side counts as disconnected, having nothing more to send. The stream
    ends when the server shuts down.
    """

    def __init__(
        self,
        request: Request,
        news: News,
        seconds: float,
        *,
        allowed: Callable[[], Awaitable[bool]],
        streams: Streams,
        owner: str,
    ) -> None:
        """While sent, it counts as *owner's* in *streams*; `TooMany` beyond the limit."""
        body = _events(request, _Paced(news, streams.turn), seconds, allowed)
        super().__init__(body, headers=_HEADERS, media_type="text/event-stream")
        self._held = partial(streams.hold, owner)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._held():
            await super().__call__(scope, receive, send)


async def _events(
    request: Request,
    news: _Paced,
    seconds: float,
    allowed: Callable[[], Awaitable[bool]],
) -> AsyncIterator[str]:
    wanted = request.scope.get("extensions", {}).get(WANTED, lambda: True)
    begun = spoken = asked = time.monotonic()
    while wanted() and time.monotonic() - begun < seconds:
        try:
            if time.monotonic() - asked > DOUBT:
                if not await allowed():
                    return
                asked = time.monotonic()
            text = "".join(map(str, await news.next()))
        except DSXError as error:  # the header is sent: all we can do is end the stream
            log.info("events ended", why=error.code)
            return
        if not text and time.monotonic() - spoken > HEARTBEAT:
            text = ": still here\n\n"
        if text:
            spoken = time.monotonic()
            yield text
        await asyncio.sleep(0 if news.more else INTERVAL)
