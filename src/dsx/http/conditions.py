"""Conditional requests (RFC 9110 §13)."""

from __future__ import annotations

import re
from collections.abc import Container
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Annotated

from fastapi import Depends, Header
from starlette.datastructures import Headers
from starlette.requests import Request

from dsx.core.errors import Invalid, PreconditionFailed
from dsx.core.model import ANY, Micros

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_SECOND = 1_000_000


def http_date(instant: Micros) -> str:
    """An IMF-fixdate (§5.6.7)."""
    return format_datetime(datetime.fromtimestamp(instant // _SECOND, UTC), usegmt=True)


def not_modified(headers: Headers, etag: str) -> bool:
    """Whether ``If-None-Match`` names *etag*, by weak comparison (§13.1.2)."""
    header = _list(headers, "if-none-match")
    if header is None:
        return False
    return header.strip() == "*" or any(tag == etag for _, tag in _TAG.findall(header))


def only_if_absent(headers: Headers) -> bool:
    """Whether to store only if the name is free: ``If-None-Match: *``."""
    return (_list(headers, "if-none-match") or "").strip() == "*"


def only_if_match(headers: Headers) -> frozenset[str] | None:
    """The tags of ``If-Match`` (§13.1.1), one of which must be current; None if it is absent."""
    header = _list(headers, "if-match")
    if header is None:
        return None
    if header.strip() == "*":
        return ANY
    return frozenset(tag for weak, tag in _TAG.findall(header) if not weak)


def refuse_unheeded(headers: Headers, heeded: Container[str]) -> None:
    """Raise for a condition that the route does not evaluate, instead of ignoring it.

    *heeded*: the fields that the route declares, in lower case. ``If-None-Match: *`` passes, as
    every route that stores something evaluates it (`only_if_absent`).
    """
    if "if-match" in headers and "if-match" not in heeded:
        raise PreconditionFailed("If-Match is not supported here: there is no ETag to match.")
    if "if-none-match" in headers and not only_if_absent(headers):
        raise Invalid("If-None-Match must be * in a request that changes something.")


def _declared(
    request: Request,
    if_none_match: Annotated[
        str | None, Header(description="`*`: only if the name is free.")
    ] = None,
) -> bool:
    _ = if_none_match  # only for the schema: the field may be repeated
    return only_if_absent(request.headers)


OnlyIfAbsent = Annotated[bool, Depends(_declared)]
"""`only_if_absent` as a route parameter."""


def evaluate(headers: Headers, etag: str, modified: Micros) -> bool:
    """Check preconditions in the order of §13.2.2; return True for 304 Not Modified.

    Raises `PreconditionFailed` (412) if ``If-Match`` or ``If-Unmodified-Since`` does not hold.
    """
    match = only_if_match(headers)
    if match is not None:
        if match != ANY and etag not in match:
            raise PreconditionFailed("If-Match failed: the current version is a different one.")
    elif _since(headers.get("if-unmodified-since"), modified) is False:
        raise PreconditionFailed("If-Unmodified-Since failed: it has been modified since.")
    if "if-none-match" in headers:
        return not_modified(headers, etag)
    return _since(headers.get("if-modified-since"), modified) is True


def range_applies(header: str | None, etag: str, modified: Micros) -> bool:
    """Whether ``If-Range`` allows a ``Range`` (§13.1.5), by strong comparison."""
    if header is None:
        return True
    if header.lstrip().startswith(('"', "W/")):
        return header.strip() == f'"{etag}"'
    return header.strip() == http_date(modified)


def _list(headers: Headers, name: str) -> str | None:
    """A list field with its lines joined (§5.3); None if it is absent."""
    return ", ".join(headers.getlist(name)) if name in headers else None


def _since(header: str | None, modified: Micros) -> bool | None:
    """Whether it is unmodified since the date in *header*; None if that is not a date."""
    if header is None:
        return None
    try:
        date = parsedate_to_datetime(header)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return modified // _SECOND <= date.timestamp()
