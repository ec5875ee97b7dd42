"""Rules for the custom metadata of a file: a JSON object of bounded size and depth."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from dsx.core.errors import Invalid

MAX_BYTES = 64 * 1024
MAX_DEPTH = 32
_MAX_INTEGER = 10**1000  # the interpreter refuses to print much longer ones


def check_metadata(value: dict[str, Any]) -> dict[str, Any]:
    """Return *value* if it is JSON of at most 64 KiB and 32 levels without NUL, else `Invalid`."""
    _check(value, MAX_DEPTH)
    size = len(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    if size > MAX_BYTES:
        raise Invalid(f"Metadata has at most {MAX_BYTES} bytes of JSON.", {"limit": MAX_BYTES})
    return value


def merge_patch(target: Any, patch: Any) -> Any:
    """Return *target* with *patch* applied (RFC 7396): null removes a key, objects are merged.

    Both are at most as deep as the JSON parser accepts; `check_metadata` bounds the result.
    """
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def _check(value: Any, depth: int) -> None:
    if depth == 0:
        raise Invalid(f"Metadata is at most {MAX_DEPTH} levels deep.", {"limit": MAX_DEPTH})
    if isinstance(value, dict):
        for key, item in value.items():
            _check_text(key)
            _check(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth - 1)
    elif isinstance(value, str):
        _check_text(value)
    elif isinstance(value, int) and abs(value) >= _MAX_INTEGER:
        raise Invalid("An integer in metadata has at most 1000 digits.")
    elif isinstance(value, float) and not math.isfinite(value):
        raise Invalid("Metadata must be JSON, without NaN or Infinity.")


def _check_text(text: str) -> None:
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise Invalid("Metadata must be UTF-8 text without NUL.")
