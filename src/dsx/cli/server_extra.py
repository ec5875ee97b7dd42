"""Commands that run on the server's machine need the server's packages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dsx.core.errors import Invalid


@contextmanager
def needs_server() -> Iterator[None]:
    """Turn a missing package, or a system on which the server does not run, into advice."""
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
