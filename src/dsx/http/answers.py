"""What holds for every answer: failures are problems with CORS fields, types are not guessed."""

from __future__ import annotations

import errno
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dsx.core.errors import Invalid, Unavailable
from dsx.http.problems import render, unforeseen

_NO_DESCRIPTORS = {errno.EMFILE, errno.ENFILE}


class Answers:
    """ASGI middleware within CORS, whose fields the framework's own failures would lack."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, if its target is text; a failure before the answer becomes one."""
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
            problem = Invalid("The path and the query of a URL are UTF-8, percent-encoded.")
            await render(problem)(scope, receive, sending)
            return
        try:
            await self.app(scope, receive, sending)
        except Exception as error:
            if begun:
                raise
            if isinstance(error, OSError) and error.errno in _NO_DESCRIPTORS:
                answer = render(Unavailable("The server has too many files open; ask again soon."))
            else:
                answer = unforeseen(scope["path"], error)
            await answer(scope, receive, sending)


def _is_text(scope: Scope) -> bool:
    """Whether the target is UTF-8: other bytes would all become the same character."""
    for part in (scope.get("raw_path") or b"", scope["query_string"]):
        if b"%" in part:
            try:
                unquote_to_bytes(part).decode()
            except UnicodeDecodeError:
                return False
    return True
