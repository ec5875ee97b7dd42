"""The base route: refuses content codings and reads JSON within bounds."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from dsx.core.errors import Unsupported
from dsx.http.credentials import RequirePrincipal, get_caller, get_hub
from dsx.http.json_body import MAX_BYTES, MAX_FIELD_BYTES, buffered, is_json, read_json
from dsx.http.upload_headers import refuse_repeated

WITH_BODY = {"POST", "PUT", "PATCH"}
_CODINGS = {"Content-Encoding": {"", "identity"}, "Transfer-Encoding": {"", "chunked"}}
_BOUND = "body_bound"
_WHO = RequirePrincipal()
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def body_bound(size: int) -> Callable[[Endpoint], Endpoint]:
    """Decorate an endpoint to accept JSON bodies of up to *size* bytes."""

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _BOUND, size)
        return endpoint

    return mark


class Route(APIRoute):
    """A route that authenticates before it reads a body, and bounds the body's length.

    FastAPI by itself reads a body of any length before it authenticates.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, with the body read for it."""
        handle = super().get_route_handler()
        calls = list(_calls(self.dependant))
        known = any(isinstance(call, RequirePrincipal) for call in calls)
        limit = getattr(self.endpoint, _BOUND, MAX_BYTES) if known else MAX_FIELD_BYTES
        takes_json = self.body_field is not None

        async def handler(request: Request) -> Response:
            if request.method in WITH_BODY:
                refuse_codings(request)
            refuse_repeated(request.headers)
            if not takes_json:
                return _without_body(request, await handle(request))
            if known:
                await _WHO(request)
            elif get_caller in calls:
                await get_caller(request, await get_hub(request))
            async with buffered(request, limit) as body:
                return await handle(_Read(request, body))

        return handler


class _Read(Request):
    """A request whose body has been read."""

    def __init__(self, request: Request, body: bytes) -> None:
        super().__init__(request.scope, request.receive)
        self._bytes = body
        self._value = read_json(body) if body and is_json(request) else None

    async def body(self) -> bytes:
        return self._bytes

    async def json(self) -> Any:
        return self._value


def refuse_codings(request: Request) -> None:
    """Raise `Unsupported` if the body has a content coding: it would be stored encoded."""
    for field, plain in _CODINGS.items():
        given = ",".join(request.headers.getlist(field)).lower()
        if any(coding.strip() not in plain for coding in given.split(",")):
            raise Unsupported(
                f"The body has {field} {given[:100]!r}, which is not supported: send it unencoded, "
                "without that field.",
                {"accept_encoding": "identity"},
            )


def _calls(dependant: Dependant) -> list[Any]:
    """The endpoint and its dependencies, recursively."""
    found = [dependant.call]
    for one in dependant.dependencies:
        found += _calls(one)
    return found


def _without_body(request: Request, response: Response) -> Response:
    """*response*, but for HEAD only a stream's header, so that its body is not generated."""
    if request.method != "HEAD" or not isinstance(response, StreamingResponse):
        return response
    head = Response(status_code=response.status_code)
    head.raw_headers = response.raw_headers
    return head
