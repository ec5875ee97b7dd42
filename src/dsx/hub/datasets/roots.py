"""The directory of all datasets: its subdirectories, and whether it is still the same one."""

from __future__ import annotations

import os
from pathlib import Path

from dsx.core.errors import NotFound, NotMounted
from dsx.core.names import check_dataset_name, is_utf8
from dsx.hub.datasets.beneath import Tree
from dsx.hub.datasets.excluded import Private
from dsx.hub.datasets.scan import directory_identity


class Root:
    """The directories below one, which may be missing temporarily. All methods are blocking."""

    def __init__(self, directory: Path | None, private: Private | None = None) -> None:
        """*directory* None: there are no datasets. *private* files are part of none."""
        self.directory = directory
        self._private = private or Private()

    def names(self) -> list[str]:
        """Return the names of all datasets, sorted; `NotMounted` if they cannot be read."""
        if self.directory is None:
            return []
        try:
            with os.scandir(self.directory) as entries:
                names = [entry.name for entry in entries]
        except OSError as error:
            raise NotMounted(self._unreadable(error)) from None
        return sorted(name for name in names if self._is_dataset(self.directory, name))

    def tree(self, dataset: str) -> Tree:
        """Return the files of *dataset*. `NotFound` if there is none, `NotMounted` as `names`."""
        check_dataset_name(dataset)
        if self.directory is not None:
            if self._is_dataset(self.directory, dataset):
                return Tree(self.directory / dataset, self._private)
            self.identity()
        raise unknown(dataset)

    def identity(self) -> str:
        """Return what distinguishes the directory from another mounted there later."""
        if self.directory is None:
            return ""
        try:
            return directory_identity(self.directory)
        except OSError as error:
            raise NotMounted(self._unreadable(error)) from None

    def is_displaced(self, known: str) -> bool:
        """Return whether it differs from the *known* directory, and has no datasets.

        Then a mount is probably missing, and no dataset may be taken for deleted.
        """
        try:
            return self.directory is None or (self.identity() != known and not self.names())
        except NotMounted:
            return True

    def _is_dataset(self, root: Path, name: str) -> bool:
        if name.startswith(".") or not is_utf8(name):
            return False
        resolved = Path(os.path.realpath(root / name))
        if not resolved.is_relative_to(os.path.realpath(root)):
            return False
        try:
            return resolved.is_dir() and not self._private.has_directory(resolved.stat())
        except OSError:
            return False

    def _unreadable(self, error: OSError) -> str:
        return f"DSX_DATASET_PATH: {self.directory} cannot be read: {error.strerror}."


def unknown(dataset: str) -> NotFound:
    """Return the failure of a request for a dataset that does not exist or may not be read."""
    return NotFound(
        f"There is no dataset {dataset!r}: DSX_DATASET_PATH has no directory of that name.",
        {"dataset": dataset},
    )
