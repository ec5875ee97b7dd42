"""Handling of Ctrl+C: one line on standard error and exit code 130."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130
_told = False


def end_at_once() -> None:
    """Let an interrupt end the process immediately, until `raise_again` is called.

    There is nothing to clean up yet. If interrupts are ignored, as in a shell's background jobs,
    they stay ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def raise_again() -> None:
    """Let interrupts raise `KeyboardInterrupt` again."""
    global _told  # noqa: PLW0603 (there is one command at a time)
    _told = False
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def tell(more: str = "") -> None:
    """Print that the command was interrupted, followed by *more*; only once."""
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
