"""Reads JSON bodies: bounded in bytes, depth and members, and UTF-8 throughout (RFC 8259)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic_core import from_json
from starlette.requests import Request

from dsx.core.errors import TooLarge, Unprocessable
from dsx.http.holding import holding

MAX_BYTES = 1024 * 1024
"""Of a body, unless its route takes long lists."""
MAX_FIELD_BYTES = 64 * 1024
"""Of a body of text fields, and of any body that a stranger may send."""
MAX_MEMBERS = 4096
"""Of one object: each that a model does not know costs more to refuse than to read."""


@asynccontextmanager
async def buffered(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The whole body, which counts as held in memory for the length of the block.

    Raises `TooLarge` by the announcement or at the first byte over *limit*, `Unavailable` while
    requests of the same kind hold too much: see `dsx.http.holding`.
    """
    body = bytearray()
    check_announced(request, limit)
    with holding(request) as hold:
        async for chunk in request.stream():
            if len(body) + len(chunk) > limit:
                raise too_large(limit)
            hold.add(len(chunk))
            body += chunk
        yield bytes(body)


def check_announced(request: Request, limit: int) -> None:
    """Raise `TooLarge` if the request says that its body is longer than *limit* bytes."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise too_large(limit)


def too_large(limit: int) -> TooLarge:
    """The failure of a body over *limit* bytes."""
    return TooLarge(f"The body of such a request has at most {limit} bytes.", {"limit": limit})


def is_json(request: Request) -> bool:
    """Whether the body says that it is JSON: ``application/json``, or what is made of it."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    main, _, sub = kind.partition("/")
    return main == "application" and (sub == "json" or sub.endswith("+json"))


def read_json(data: bytes) -> Any:
    """The value of a JSON text; `Unprocessable` if it is none, or too deep or too wide.

    Half of a surrogate pair is no text, and NaN no number.
    """
    try:
        value = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise Unprocessable(f"The body is not JSON that is taken here: {error}.") from None
    if data.count(b":") > MAX_MEMBERS:
        _check_members(value)
    return value


def _check_members(value: Any) -> None:
    ahead = [value]
    while ahead:
        item = ahead.pop()
        if isinstance(item, dict):
            if len(item) > MAX_MEMBERS:
                raise Unprocessable(
                    f"An object has at most {MAX_MEMBERS} members.", {"limit": MAX_MEMBERS}
                )
            ahead += item.values()
        elif isinstance(item, list):
            ahead += item
