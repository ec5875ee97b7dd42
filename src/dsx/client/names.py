"""Checks names from servers and callers before they become part of a URL or a local path."""

from __future__ import annotations

import os
from collections.abc import Callable
from urllib.parse import quote

from dsx.client.errors import Invalid
from dsx.core import errors as core
from dsx.core.names import (
    check_dataset_name,
    check_relative_path,
    check_stored_name,
    is_utf8,
    shown,
)

_NOT_ON_WINDOWS = frozenset('<>:"|?*')


def dataset_name(name: str) -> str:
    """Return *name* if it is a valid dataset name; else raise `Invalid`."""
    return _checked(check_dataset_name, name)


def dataset_path(path: str) -> str:
    """Return *path* if it is valid within a dataset and stays below it; else raise `Invalid`."""
    return _checked(check_relative_path, path)


def upload_name(name: str) -> str:
    """Return *name* if it is UTF-8, else raise `Invalid`; the server checks everything else."""
    if not is_utf8(name):
        raise Invalid(f"The name '{shown(name)}' is not UTF-8; rename it.")
    return name


def is_file_name(name: str) -> bool:
    """Whether *name* is a valid name of a stored file."""
    try:
        check_stored_name(name)
    except core.Invalid:
        return False
    return True


def local_path(path: str) -> str:
    """Return *path* if it is valid within a dataset and on this system; else raise `Invalid`."""
    _check_fits(dataset_path(path))
    return path


def local_name(name: str) -> str:
    """Return the local file name of a stored file: its last segment; `Invalid` if unsafe."""
    last = _checked(check_stored_name, name).rpartition("/")[2]
    _check_fits(last)
    return last


def local_tree(name: str) -> str:
    """Return the local path of a stored file below a directory; `Invalid` if unsafe."""
    _check_fits(_checked(check_stored_name, name))
    return name


def segments(*parts: str) -> str:
    """Quote segments as a URL path: ``segments("file", "a b/c#d")`` is ``/file/a%20b/c%23d``."""
    return "".join(f"/{quote(part, safe='/')}" for part in parts)


def _check_fits(path: str) -> None:
    """Raise `Invalid` if *path* would refer to a file of another name on this system.

    Windows reads ``a:b`` as a stream of the file ``a``, and ``a.`` as ``a``.
    https://learn.microsoft.com/windows/win32/fileio/naming-a-file
    """
    if os.name != "nt":
        return
    _checked(check_stored_name, path)
    for name in path.split("/"):
        if set(name) & _NOT_ON_WINDOWS or name.endswith((".", " ")):
            raise Invalid(f"{name!r} cannot be the name of a file on this system.")


def _checked(check: Callable[[str], str], name: str) -> str:
    try:
        check(name)
    except core.Invalid as error:
        raise Invalid(f"{name!r}: {error.message}", error.details) from None
    return name
