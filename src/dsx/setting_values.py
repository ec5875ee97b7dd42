"""Values of settings, as somebody would write them."""

from __future__ import annotations

from typing import Any

_UNITS = (("GiB", 1 << 30), ("MiB", 1 << 20))


def as_written(value: Any) -> str:
    """Return *value* as it stands in the environment: ``true``, ``16MiB``, ``a,b``."""
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(as_written, value))
    if isinstance(value, int):
        for name, size in _UNITS:
            if value >= size and value % size == 0:
                return f"{value // size}{name}"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
