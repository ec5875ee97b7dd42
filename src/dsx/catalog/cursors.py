"""Opaque cursors for keyset pagination."""

from __future__ import annotations

import base64
import binascii
import json
import re

from dsx.core.errors import Invalid

Key = str | int
_UNTEXT = re.compile(r"[\x00\ud800-\udfff]")  # in no name, and refused by databases


def encode(sort: str, key: Key, number: int) -> str:
    """Return the cursor of the row with sort *key* and *number*, for listings sorted by *sort*."""
    text = json.dumps([sort, key, number], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str, sort: str) -> tuple[Key, int]:
    """Return the arguments of `encode`; `Invalid` unless *cursor* is for a listing by *sort*."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        value = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        made_for, key, number = value
        wanted: type = str if sort.removeprefix("-") == "name" else int
        fits = made_for == sort and type(key) is wanted and type(number) is int
    except (binascii.Error, UnicodeError, ValueError, TypeError, RecursionError):
        fits = False
    if fits and wanted is str:
        fits = not _UNTEXT.search(key)
    if not fits or (wanted is int and abs(key) >= 1 << 63) or not 0 <= number < 1 << 63:
        raise Invalid("The cursor is not from this listing: use `next` of the previous page.")
    return key, number
