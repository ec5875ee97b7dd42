"""Ctrl+C: one line and 130, from the first instruction on."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130
_told = False


def end_at_once() -> None:
    """Until `raise_again`, an interrupt ends the process: there is nothing to tidy up yet.

    One that is ignored, as in the background of a shell, stays so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def raise_again() -> None:
    """From here on an interrupt is a `KeyboardInterrupt` again."""
    global _told  # noqa: PLW0603 (there is one command at a time)
    _told = False
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def tell(more: str = "") -> None:
    """Say that the command was interrupted, once, and *more* that a person should know."""
    global _told  # noqa: PLW0603 (there is one command at a time)
    if _told:
        return
    _told = True
    try:
        sys.stderr.write(f"dsx: interrupted{more}\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):  # closed
        return


def _end(_number: int, _frame: FrameType | None) -> None:
    tell()
    os._exit(INTERRUPTED)
