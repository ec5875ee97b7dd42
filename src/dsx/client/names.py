"""Names from a server or a caller, checked before they become part of a URL or a local path."""

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
    """*name* if a dataset may be called that, else `Invalid`."""
    return _checked(check_dataset_name, name)


def dataset_path(path: str) -> str:
    """*path* if a file of a dataset may be called that, else `Invalid`: it stays below it."""
    return _checked(check_relative_path, path)


def upload_name(name: str) -> str:
    """*name* if it can be sent at all, else `Invalid`; the other rules are the server's."""
    if not is_utf8(name):
        raise Invalid(f"The name '{shown(name)}' is not UTF-8; rename it.")
    return name


def is_file_name(name: str) -> bool:
    """Whether a stored file may be called *name*."""
    try:
        check_stored_name(name)
    except core.Invalid:
        return False
    return True


def local_path(path: str) -> str:
    """*path* of a file of a dataset, which stays below a directory here, too, else `Invalid`."""
    _check_fits(dataset_path(path))
    return path


def local_name(name: str) -> str:
    """What a stored file called *name* is called here: its last segment. `Invalid` if unsafe."""
    last = _checked(check_stored_name, name).rpartition("/")[2]
    _check_fits(last)
    return last


def local_tree(name: str) -> str:
    """What a stored file called *name* is called below a directory here. `Invalid` if unsafe."""
    _check_fits(_checked(check_stored_name, name))
    return name


def segments(*parts: str) -> str:
    """A path of quoted segments: ``segments("file", "a b/c#d")`` is ``/file/a%20b/c%23d``."""
    return "".join(f"/{quote(part, safe='/')}" for part in parts)


def _check_fits(path: str) -> None:
    """`Invalid` if this system would take *path* for another file than the one of that name.

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
