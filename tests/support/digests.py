"""Digests that owe nothing to the code under test."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256(source: bytes | Path) -> str:
    """Of bytes, or of a file that fits in memory, in hexadecimal."""
    data = source.read_bytes() if isinstance(source, Path) else source
    return hashlib.sha256(data).hexdigest()
