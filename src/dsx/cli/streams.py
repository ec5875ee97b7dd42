"""Standard input, output and error as a command can rely on them."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import BinaryIO

from dsx.core.errors import Invalid

_closed: set[int] = set()


def prepare_streams() -> None:
    """Have all three streams be there, and take every text.

    One that was closed (``dsx list >&-``) leads nowhere: otherwise the next file that is opened
    would get its number, and what others write there. A character that the output's encoding lacks
    is written as an escape. Windows would have programs read our output in a code page, which lacks
    most of them: it gets UTF-8.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        _see_to(number, name)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = "utf-8" if sys.platform == "win32" else None
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


def binary_output() -> BinaryIO:
    """Standard output for bytes; `Invalid` if it was closed."""
    if 1 in _closed:
        raise Invalid("Standard output is closed: there is nowhere to write the bytes to.")
    return sys.stdout.buffer


def _see_to(number: int, name: str) -> None:
    if getattr(sys, name) is not None:
        return
    _closed.add(number)
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)
    mode = "r" if number == 0 else "w"
    setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115
