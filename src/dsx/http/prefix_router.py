"""Routers that skip requests by prefix, so that a hub of many protocols routes quickly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from starlette.routing import Match
from starlette.types import Scope

from dsx.http.parameters import StrictRoute
from dsx.http.problems import documented
from dsx.http.routes import WITH_BODY, Route


class PrefixRouter(APIRouter):
    """A router that matches its routes only if the path contains the prefix of one of them.

    FastAPI tries every route of every router in turn, which cost more than all other work of a
    small request. Its routes are `StrictRoute` unless *route_class* is given.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"route_class": StrictRoute} | options)
        self._beginnings: tuple[str, ...] = ()
        self._counted = -1

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Add a route, and HEAD for GET (RFC 9110 §9.3.2).

        A separate route for HEAD must be added before the one for GET.
        """
        methods = set(options.get("methods") or ["GET"])
        if not WITH_BODY.isdisjoint(methods):
            options["responses"] = documented(413, 415) | (options.get("responses") or {})
        super().add_api_route(path, endpoint, **options)
        if methods == {"GET"} and not self._asked_about(self.prefix + path):
            asking = {"methods": ["HEAD"], "include_in_schema": False}
            super().add_api_route(path, endpoint, **options | asking)

    def _asked_about(self, path: str) -> bool:
        """Whether this path has a route for HEAD."""
        return any(
            isinstance(route, Route) and route.path == path and "HEAD" in (route.methods or ())
            for route in self.routes
        )

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the request against this router's routes."""
        if self._counted != len(self.routes):
            self._beginnings = tuple({self._beginning(route) for route in self.routes})
            self._counted = len(self.routes)
        path = scope["path"]
        if any(beginning in path for beginning in self._beginnings):
            return super().matches(scope)
        return Match.NONE, {}

    def _beginning(self, route: object) -> str:
        path: str = getattr(route, "path", self.prefix)
        return path.partition("{")[0]
