"""Sends a `Content` under the control of a task, which may pause or abort it at any time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import structlog
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from dsx.core.content import Content
from dsx.core.errors import DSXError
from dsx.http.send import ContentResponse
from dsx.hub.transfers.carried import Transfer

log = structlog.get_logger(__name__)


class ControlledResponse(ContentResponse):
    """A `ContentResponse` that waits while its task is paused and aborts when the task does.

    The client then receives fewer bytes than declared, so it cannot take them for the whole.
    """

    def __init__(
        self,
        request: Request,
        content: Content,
        transfer: Callable[[], AbstractAsyncContextManager[Transfer]],
    ) -> None:
        """*transfer*: context manager that puts its block under the task's control."""
        super().__init__(request, content)
        self._transfer = transfer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, as far as the task allows."""
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            async with self._transfer() as transfer:
                self.content = transfer.gated(self.content)
                await transfer.control.run(super().__call__(scope, receive, sending))
        except DSXError as error:
            if not begun:
                raise
            log.info("download ended", path=scope["path"], why=error.code)
