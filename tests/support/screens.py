"""A command on a real terminal of a given size, and what somebody sees there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass
from pathlib import Path

import pyte
from tests.support.hub import clean_environment


@dataclass(frozen=True)
class Seen:
    """What was on the screen.

    Attributes:
        code: the exit code of the command.
        shots: the lines of the screen after each piece that was written to it.
        end: all lines in the end, those that were scrolled out, too.
        redirected: what went into the file that standard output was, if it was one.
    """

    code: int
    shots: list[list[str]]
    end: list[str]
    redirected: str


def watch(
    directory: Path,
    arguments: list[str],
    columns: int,
    *,
    stdout: Path | None = None,
    **variables: str,
) -> Seen:
    """Run `dsx` with *arguments* in a terminal of so many *columns*, as it is used by hand.

    *stdout*: a file that standard output goes to instead.
    """
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = clean_environment(HOME=str(directory), TERM="xterm-256color", **variables)
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        environment.pop(name, None)
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(stdout.open("w")) if stdout else follower
        process = subprocess.Popen(
            [sys.executable, "-m", "dsx", *arguments],
            env=environment,
            cwd=directory,
            stdin=follower,
            stdout=output,
            stderr=follower,
            start_new_session=True,
        )
    os.close(follower)
    screen = pyte.HistoryScreen(columns, 24, history=5000, ratio=1)
    stream = pyte.ByteStream(screen)
    shots: list[list[str]] = []
    with contextlib.suppress(OSError):  # how a pseudo-terminal says that it was closed
        while piece := os.read(leader, 65536):
            stream.feed(piece)
            shots.append([line.rstrip() for line in screen.display])
    os.close(leader)
    code = process.wait(60)
    past = [_text(line, columns) for line in screen.history.top]
    shown = [line.rstrip() for line in screen.display]
    end = [line for line in [*past, *shown] if line]
    return Seen(code, shots, end, stdout.read_text() if stdout else "")


def _text(line: dict[int, pyte.screens.Char], columns: int) -> str:
    return "".join(line[column].data for column in range(columns)).rstrip()
