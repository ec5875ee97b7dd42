"""Values of settings: parsed from text, and written as somebody would write them."""

from __future__ import annotations

from typing import Any

from pydantic.fields import FieldInfo

from dsx.core.sizes import parse_size

_UNITS = (("GiB", 1 << 30), ("MiB", 1 << 20))


def size(value: Any) -> Any:
    """Parse a number of bytes, as in ``16MiB``; empty: None."""
    if not isinstance(value, str) or not value.strip():
        return None if value in (None, "") or isinstance(value, str) else value
    return parse_size(value)


def parts(value: Any) -> Any:
    """Parse a list that is separated by commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def parts_or_none(value: Any) -> Any:
    """Parse a list that is separated by commas; ``none`` is the empty one."""
    return () if value == "none" else parts(value)


def as_written(field: FieldInfo, value: Any) -> str:
    """Return *value* of *field* as it stands in the environment: ``true``, ``16MiB``, ``a,b``."""
    parsers = {getattr(one, "func", None) for one in field.metadata}
    if value == () and parts_or_none in parsers:
        return "none"
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, int) and size in parsers:
        for name, unit in _UNITS:
            if value >= unit and value % unit == 0:
                return f"{value // unit}{name}"
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value)
