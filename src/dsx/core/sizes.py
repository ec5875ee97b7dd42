"""Parses human-readable sizes: ``16MiB``, ``2TB``, ``1000``."""

from __future__ import annotations

import re

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_UNITS |= {f"{unit}i": 1024**power for power, unit in enumerate("kmgt", start=1)}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Return the bytes that *text* stands for; `ValueError` if it is not a size."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or match[2].lower() not in _UNITS:
        raise ValueError(
            "a size must be a number of bytes with an optional unit, as in 16MiB or 2TB"
        )
    return int(float(match[1]) * _UNITS[match[2].lower()])
