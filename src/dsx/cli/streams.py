"""Makes standard input, output and error reliable for commands."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import BinaryIO

from dsx.core.errors import Invalid

_closed: set[int] = set()


def prepare_streams() -> None:
    """Ensure that all three streams exist and accept any text.

    A closed stream (``dsx list >&-``) is redirected to the null device: otherwise the next opened
    file would get its descriptor, and output meant for the stream. Characters that the output's
    encoding lacks are written as escapes. On Windows the output is UTF-8, because code pages lack
    most characters.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        _see_to(number, name)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = "utf-8" if sys.platform == "win32" else None
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


def binary_output() -> BinaryIO:
    """Return standard output for bytes; raise `Invalid` if it was closed."""
    if 1 in _closed:
        raise Invalid("Standard output is closed: write to a file with -o instead.")
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
