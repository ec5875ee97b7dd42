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
"""Limit of a body, unless its route takes long lists."""
MAX_FIELD_BYTES = 64 * 1024
"""Limit of a body of text fields, and of any unauthenticated body."""
MAX_MEMBERS = 4096
"""Limit of one object: refusing an unknown member costs more than reading it."""


@asynccontextmanager
async def buffered(request: Request, limit: int) -> AsyncIterator[bytes]:
    """Read the whole body, which counts as held in memory within the block.

    Raises `TooLarge` by the declared length or at the first byte over *limit*, `Unavailable` if
    requests hold too much memory: see `dsx.http.holding`.
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
    """Raise `TooLarge` if the declared length is over *limit* bytes."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise too_large(limit)


def too_large(limit: int) -> TooLarge:
    """The error for a body over *limit* bytes."""
    return TooLarge(f"The body is larger than {limit} bytes.", {"limit": limit})


def is_json(request: Request) -> bool:
    """Whether the content type is JSON: ``application/json`` or ``application/…+json``."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    main, _, sub = kind.partition("/")
    return main == "application" and (sub == "json" or sub.endswith("+json"))


def read_json(data: bytes) -> Any:
    """Decode JSON; raises `Unprocessable` if it is malformed, too deep or too wide.

    Lone surrogates and NaN are malformed.
    """
    try:
        value = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise Unprocessable(f"The body is not valid JSON: {error}.") from None
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
                    f"An object has more than {MAX_MEMBERS} members.", {"limit": MAX_MEMBERS}
                )
            ahead += item.values()
        elif isinstance(item, list):
            ahead += item
