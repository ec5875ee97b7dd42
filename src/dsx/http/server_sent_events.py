"""Server-sent events (HTML Standard §9.2), for as long as somebody wants them."""

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
from dsx.transport.protocol import WANTED

log = structlog.get_logger(__name__)

INTERVAL = 0.5
"""Seconds between two questions for news."""
DOUBT = 2.0
"""Seconds after which it is asked again whether who listens still may."""
HEARTBEAT = 15.0
"""Seconds of silence after which a comment shows that the stream lives."""
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
    """How many streams each principal has open in this process."""

    def __init__(self, most: int) -> None:
        """At most so many each."""
        self._most = most
        self._open: Counter[str] = Counter()
        self.turn = asyncio.Semaphore(1)  # of those that have much to tell

    @contextmanager
    def hold(self, owner: str) -> Iterator[None]:
        """One stream of *owner* more within the block; `TooMany` if that may not be."""
        check_number(self._open[owner], self._most, "event streams")
        self._open[owner] += 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]


class News(Protocol):
    """What a stream tells, piece by piece."""

    @property
    def more(self) -> bool:
        """Whether there may be more at once."""

    async def __call__(self) -> Sequence[Event]:
        """The next events; only so many."""


class _Paced:
    """*news*, of which streams that have much to tell ask in turn."""

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
    """What *news* returns, again and again, for so many *seconds* and as long as *allowed*.

    A client has left when it closes its side, for it has nothing more to send; the server leaves
    when it is told to stop.
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
        """It is one of the *owner's* among *streams* while it is sent: `TooMany` if it is not."""
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
        except DSXError as error:  # the head is out: all that can be done is to end
            log.info("events ended", why=error.code)
            return
        if not text and time.monotonic() - spoken > HEARTBEAT:
            text = ": still here\n\n"
        if text:
            spoken = time.monotonic()
            yield text
        await asyncio.sleep(0 if news.more else INTERVAL)
