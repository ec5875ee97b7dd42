"""Checks for commands that need the server's packages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dsx.core.errors import Invalid


@contextmanager
def needs_server() -> Iterator[None]:
    """Raise `Invalid` with advice if server packages are missing or the system is Windows."""
    if sys.platform == "win32":
        raise Invalid(
            "The hub itself runs on Linux. From here you can use one that runs elsewhere, or run "
            "it in the Windows Subsystem for Linux: wsl --install"
        )
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("dsx"):
            raise
        raise Invalid(
            f"This command needs the server's packages ({error.name} is missing): "
            "pip install 'dsx-hub[server]'"
        ) from None
