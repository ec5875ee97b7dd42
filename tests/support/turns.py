"""What only one of the processes that run the tests may do at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def turn(name: str) -> Iterator[None]:
    """A block of code that one process of this machine at a time is in, by the block's *name*."""
    import fcntl  # noqa: PLC0415 (not on Windows, where some tests are read that need no turns)

    with (Path(tempfile.gettempdir()) / f"dsx-tests-{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
