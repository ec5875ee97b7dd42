"""Lists as JSON, made beside the event loop: 1,000 files with metadata are megabytes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.responses import Response

from dsx.core.shield import run_in_thread

T = TypeVar("T")
_SHORT = 20
"""Items that are not worth the way to another thread."""


async def listing(
    items: Sequence[T],
    shown: Callable[[T], BaseModel],
    headers: Mapping[str, str] | None = None,
    **others: Any,
) -> Response:
    """``{"items": [...]}`` with each item as it is *shown*, and the *others* behind them."""
    if len(items) > _SHORT:
        body = await run_in_thread(_encoded, items, shown, others)
    else:
        body = _encoded(items, shown, others)
    return Response(body, 200, headers, "application/json")


def _encoded(
    items: Sequence[T], shown: Callable[[T], BaseModel], others: Mapping[str, Any]
) -> bytes:
    """Item by item, so that no step keeps other threads waiting for long."""
    parts = b",".join(shown(item).model_dump_json().encode() for item in items)
    rest = "".join(f",{json.dumps(name)}:{json.dumps(value)}" for name, value in others.items())
    return b'{"items":[' + parts + b"]" + rest.encode() + b"}"
