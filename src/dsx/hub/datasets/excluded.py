"""The hub's own files, which are never part of a dataset: its data, catalog and keys.

They are compared by identity (device and inode), not by path, so that links, bind mounts and a
dataset around them make no difference.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from dsx.core.errors import Invalid

Inode = tuple[int, int]
_BESIDES = ("", "-wal", "-shm", "-journal")
"""Suffixes of a SQLite database's files."""
_FRESH = 10.0
"""Seconds for which identities of directories, which hardly ever change, are cached."""
_FRESH_FILES = 0.5
"""Seconds for which identities of files are cached: some come and go, but none in datasets."""


def database_files(path: Path) -> tuple[Path, ...]:
    """Return the SQLite database at *path*, and the files beside it."""
    return tuple(path.with_name(path.name + ending) for ending in _BESIDES)


def identity(status: os.stat_result) -> Inode:
    """Return the device and inode of a file or directory."""
    return status.st_dev, status.st_ino


class Private:
    """Directories (with everything below them) and files that are part of no dataset."""

    def __init__(self, directories: Iterable[Path] = (), files: Iterable[Path] = ()) -> None:
        """None of them need exist."""
        self.directories = tuple(directories)
        self.files = tuple(files)
        self._known: set[Inode] = set()
        self._known_files: frozenset[Inode] = frozenset()
        self._looked = self._looked_at_files = -_FRESH

    def has_directory(self, status: os.stat_result) -> bool:
        """Return whether the directory of that *status* is one of them, or directly below one."""
        if self.directories and time.monotonic() >= self._looked + _FRESH:
            self._looked = time.monotonic()
            self._known |= set(self._identities())  # also those moved away meanwhile
        return identity(status) in self._known

    def has_file(self, status: os.stat_result) -> bool:
        """Return whether the file of that *status* is one of them."""
        return identity(status) in self.identities_of_files()

    def identities_of_files(self) -> frozenset[Inode]:
        """Return the recent identities of its files."""
        if self.files and time.monotonic() >= self._looked_at_files + _FRESH_FILES:
            self._looked_at_files = time.monotonic()
            self._known_files = frozenset(_identities(self.files))
        return self._known_files

    def _identities(self) -> Iterable[Inode]:
        # Also those directly below: a shard of the blobs can be bind-mounted elsewhere.
        for directory in self.directories:
            yield from _identities((directory,))
            with contextlib.suppress(OSError), os.scandir(directory) as entries:
                yield from _identities(
                    Path(entry) for entry in entries if entry.is_dir(follow_symlinks=True)
                )


def check_apart(datasets: Path, directories: Mapping[str, Path], files: Mapping[str, Path]) -> None:
    """Raise `Invalid` if the directory of all *datasets* contains the hub's own files, or is in it.

    *directories* and *files*: the hub's own, by the setting that names them.
    """
    for setting, directory in directories.items():
        if contains(directory, datasets) is not None:
            raise Invalid(
                f"DSX_DATASET_PATH: {datasets} is in {directory} ({setting}), where the hub "
                "keeps private data. Keep datasets elsewhere."
            )
        name = contains(datasets, directory)
        if name and not name.startswith("."):
            raise Invalid(
                f"{setting}: {directory} is in DSX_DATASET_PATH ({datasets}) and would be "
                f"part of the dataset {name!r}. Set one of them to another directory."
            )
    for setting, file in files.items():
        name = contains(datasets, file.parent)
        if name and not name.startswith("."):
            raise Invalid(
                f"{setting}: {file} is in DSX_DATASET_PATH ({datasets}) and would be part of "
                f"the dataset {name!r}. Set one of them to another directory."
            )


def contains(above: Path, below: Path) -> str | None:
    """Return the name in *above* under which *below* lies, however deep; "" if they are equal.

    None if it lies elsewhere. Links are followed, and directories compared by identity.
    """
    try:
        wanted = identity(above.stat())
    except OSError:
        return None
    real, name = Path(os.path.realpath(below)), ""
    for directory in (real, *real.parents):
        with contextlib.suppress(OSError):
            if identity(directory.stat()) == wanted:
                return name
        name = directory.name
    return None


def _identities(paths: Iterable[Path]) -> Iterable[Inode]:
    for path in paths:
        with contextlib.suppress(OSError):
            yield identity(path.stat())
