"""Routers that most requests pass by, so that a hub of many protocols finds a route quickly."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.routing import Match
from starlette.types import Scope

from dsx.http.parameters import StrictRoute


class Branch(APIRouter):
    """A router that looks at its routes only if the path has in it what one of them begins with.

    FastAPI tries every route of every router in turn, which cost more than all that a small request
    is about. Its routes refuse parameters that they do not declare, unless
    *route_class* is another.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"route_class": StrictRoute} | options)
        self._beginnings: tuple[str, ...] = ()
        self._counted = -1

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether a route of this router is for the request."""
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
