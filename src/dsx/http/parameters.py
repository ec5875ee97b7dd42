"""Refuses unknown query parameters and unsupported conditions; parses ISO 8601 dates.

A misspelt or misread filter selects everything: in a delete it loses everything, elsewhere it
gives a wrong result that nobody notices.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterator
from datetime import datetime
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar

from fastapi import Request
from fastapi.dependencies.models import Dependant
from pydantic import BeforeValidator
from starlette.responses import Response

from dsx.core.errors import Unprocessable
from dsx.http.conditions import refuse_unheeded
from dsx.http.routes import Route

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
_MARK = "dsx_unknown_parameters"
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)?([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)?)?"
)
_SHOWN = 64
_SAFE = {"GET", "HEAD", "OPTIONS"}


def refuses_unknown(endpoint: Endpoint) -> Endpoint:
    """Mark a destructive endpoint of a `LenientRoute` as strict."""
    setattr(endpoint, _MARK, True)
    return endpoint


def ignores_unknown(endpoint: Endpoint) -> Endpoint:
    """Mark an endpoint that accepts unknown query parameters from third parties."""
    setattr(endpoint, _MARK, False)
    return endpoint


class StrictRoute(Route):
    """A route that responds with 422 to undeclared query parameters."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, which checks the parameters before it reads or does anything."""
        handle = super().get_route_handler()
        strict = getattr(self.endpoint, _MARK, self._strict())
        known = {field.alias for each in _all(self.dependant) for field in each.query_params}
        heeded = {field.alias for each in _all(self.dependant) for field in each.header_params}

        async def handler(request: Request) -> Response:
            if strict and request.scope["query_string"]:
                _refuse_others(request, known)
            if request.method not in _SAFE:
                refuse_unheeded(request.headers, heeded)
            return await handle(request)

        return handler

    def _strict(self) -> bool:
        return True


class LenientRoute(StrictRoute):
    """A route of a protocol defined elsewhere: strict only for DELETE."""

    def _strict(self) -> bool:
        return "DELETE" in (self.methods or ())


def _all(dependant: Dependant) -> Iterator[Dependant]:
    """An endpoint and its dependencies, recursively."""
    yield dependant
    for other in dependant.dependencies:
        yield from _all(other)


def _refuse_others(request: Request, known: set[str]) -> None:
    for name in request.query_params:
        if name in known:
            continue
        near = get_close_matches(name[:_SHOWN], known, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        shown = name[:_SHOWN].encode("utf-8", "replace").decode()
        raise Unprocessable(
            f"Unknown query parameter {shown!r}.{hint}",
            {"field": f"query.{shown}", "known": sorted(known)},
        )


def _iso(value: Any) -> Any:
    """Return *value* unless it is not an ISO 8601 date, as a bare number of seconds is."""
    if isinstance(value, str) and not _DATE.fullmatch(value):
        raise ValueError("must be an ISO 8601 date, as 2027-01-31 or 2027-01-31T12:00:00Z")
    return value


Date = Annotated[datetime, BeforeValidator(_iso)]
"""An instant as a query parameter; the default zone is UTC, the default time midnight."""
