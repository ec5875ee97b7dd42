"""Rules for every response: failures are problems with CORS fields, nothing is sniffed."""

from __future__ import annotations

import errno
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dsx.core.errors import Invalid, Unavailable
from dsx.http.problems import render, unforeseen

_NO_DESCRIPTORS = {errno.EMFILE, errno.ENFILE}


class Answers:
    """ASGI middleware inside CORS, so that unexpected failures get the CORS fields, too."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request whose target is UTF-8; render failures raised before the response."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = message["headers"] = list(message.get("headers", ()))
                headers.append((b"x-content-type-options", b"nosniff"))
            await send(message)

        if not _is_text(scope):
            problem = Invalid("The URL's path and query must be percent-encoded UTF-8.")
            await render(problem)(scope, receive, sending)
            return
        try:
            await self.app(scope, receive, sending)
        except Exception as error:
            if begun:
                raise
            if isinstance(error, OSError) and error.errno in _NO_DESCRIPTORS:
                answer = render(Unavailable("The server has too many open files. Try again soon."))
            else:
                answer = unforeseen(scope["path"], error)
            await answer(scope, receive, sending)


def _is_text(scope: Scope) -> bool:
    """Whether the target is UTF-8: invalid bytes would all decode to the same character."""
    for part in (scope.get("raw_path") or b"", scope["query_string"]):
        if b"%" in part:
            try:
                unquote_to_bytes(part).decode()
            except UnicodeDecodeError:
                return False
    return True
