"""Every route that takes a body, as OpenAPI tells of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.hub import RunningHub

JSON = "application/json"


@dataclass(frozen=True)
class Asked:
    """A route, and the path and content type it is asked with."""

    method: str
    template: str
    path: str
    kind: str


def routes_with_bodies(hub: RunningHub) -> Iterator[Asked]:
    """Each in each content type that it takes."""
    for path, operations in hub.get("/openapi.json").json()["paths"].items():
        for method, operation in operations.items():
            for kind in operation.get("requestBody", {}).get("content", ()):
                shown = f"{kind}; boundary=b" if kind.startswith("multipart/") else kind
                yield Asked(method.upper(), path, re.sub("{.*?}", "1", path), shown)


def json_routes(hub: RunningHub) -> list[Asked]:
    """Those whose body is a JSON document and nothing else."""
    found = list(routes_with_bodies(hub))
    kinds: dict[tuple[str, str], set[str]] = {}
    for route in found:
        kinds.setdefault((route.method, route.template), set()).add(route.kind)
    return [route for route in found if kinds[route.method, route.template] == {JSON}]
