"""Lists as JSON, encoded in a thread: 1,000 files with metadata can be megabytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.responses import Response

from dsx.core.shield import run_in_thread

T = TypeVar("T")
_SHORT = 20
"""Up to this many items are encoded on the event loop: a thread would cost more."""


async def listing(
    items: Sequence[T],
    shown: Callable[[T], BaseModel],
    headers: Mapping[str, str] | None = None,
    **others: Any,
) -> Response:
    """Respond with ``{"items": [...]}``, each item converted by *shown*, then *others*."""
    if len(items) > _SHORT:
        body = await run_in_thread(_encoded, items, shown, others)
    else:
        body = _encoded(items, shown, others)
    return Response(body, 200, headers, "application/json")


def _encoded(
    items: Sequence[T], shown: Callable[[T], BaseModel], others: Mapping[str, Any]
) -> bytes:
    """Encode item by item, so that no step blocks other threads for long."""
    parts = b",".join(shown(item).model_dump_json().encode() for item in items)
    rest = "".join(f",{json.dumps(name)}:{json.dumps(value)}" for name, value in others.items())
    return b'{"items":[' + parts + b"]" + rest.encode() + b"}"
