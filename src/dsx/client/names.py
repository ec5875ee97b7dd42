"""Names from a server or a caller, checked before they become part of a URL or a local path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from urllib.parse import quote

from dsx.client.errors import Invalid
from dsx.core import errors as core
from dsx.core.names import check_dataset_name, check_file_name, check_relative_path


def dataset_name(name: str) -> str:
    """*name* if a dataset may be called that, else `Invalid`."""
    return _checked(check_dataset_name, name)


def dataset_path(path: str) -> str:
    """*path* if it stays below its dataset, here as on the server, else `Invalid`."""
    _checked(check_relative_path, path)
    if PurePath(path).parts != tuple(path.split("/")):  # a drive or a backslash, on Windows
        raise Invalid(f"{path!r} cannot be a relative path on this system.")
    return path


def local_name(name: str) -> str:
    """What a stored file called *name* is called here: its last segment. `Invalid` if unsafe."""
    return _checked(check_file_name, name).rpartition("/")[2]


def segments(*parts: str) -> str:
    """A path of quoted segments: ``segments("file", "a b/c#d")`` is ``/file/a%20b/c%23d``."""
    return "".join(f"/{quote(part, safe='/')}" for part in parts)


def _checked(check: Callable[[str], str], name: str) -> str:
    try:
        check(name)
    except core.Invalid as error:
        raise Invalid(f"{name!r}: {error.message}", error.details) from None
    return name
