"""Commands that run on the server's machine need the server's packages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dsx.core.errors import Invalid


@contextmanager
def needs_server() -> Iterator[None]:
    """Turn a missing package into advice."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("dsx"):
            raise
        raise Invalid(
            f"This command needs the server's packages ({error.name} is missing): "
            "pip install 'dsx-hub[server]'"
        ) from None
