"""The owner whose request is being handled, so that shared resources can be shared fairly."""

from __future__ import annotations

from contextvars import ContextVar

_ASKING: ContextVar[str] = ContextVar("asking", default="")


def asked_by(owner: str) -> None:
    """Set the owner for this task and those it starts."""
    _ASKING.set(owner)


def asking() -> str:
    """Return the owner the running task works for; empty: nobody in particular."""
    return _ASKING.get()
