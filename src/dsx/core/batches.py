"""Splits sequences into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

IN_STATEMENT = 500
"""Maximum number of values in one SQL statement: fewer than any database allows."""


def in_batches(items: Sequence[T], size: int = IN_STATEMENT) -> Iterator[Sequence[T]]:
    """Yield *items* in order, up to *size* at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))
