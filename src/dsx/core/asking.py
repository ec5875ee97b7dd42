"""Whose request the work at hand is for, so that what all share can be shared fairly."""

from __future__ import annotations

from contextvars import ContextVar

_ASKING: ContextVar[str] = ContextVar("asking", default="")


def asked_by(owner: str) -> None:
    """From here on, this task and those that it starts work for *owner*."""
    _ASKING.set(owner)


def asking() -> str:
    """Whom the running task works for; empty: for nobody in particular."""
    return _ASKING.get()
