"""A small disk of its own, which a test can fill."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(place: Path, options: str) -> Iterator[Path]:
    """A tmpfs mounted on *place* with these *options*; needs root, who has to be able to mount."""
    if os.geteuid() != 0:
        pytest.skip("mounting a disk needs root")
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    subprocess.run(mount, check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(path: Path) -> int:
    """Write *path* until not a byte more fits; how many there are."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    written = 0
    try:
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    written += os.write(descriptor, bytes(size))
    finally:
        os.close(descriptor)
    return written


def fill_inodes(directory: Path) -> int:
    """Make empty files until there can be no more; how many."""
    directory.mkdir()
    number = 0
    while True:
        try:
            (directory / str(number)).touch()
        except OSError as error:
            assert error.errno == errno.ENOSPC
            return number
        number += 1
