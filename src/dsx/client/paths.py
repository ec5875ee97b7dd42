"""Paths of this machine, as people write them."""

from __future__ import annotations

import os
from pathlib import Path

from dsx.core.paths import at_home


def local(path: str | os.PathLike[str]) -> Path:
    """*path* with a ``~`` or ``~user`` at its beginning expanded, as a shell would.

    Something that is really called so is meant itself.
    """
    if os.path.lexists(path):
        return Path(path)
    return at_home(path)
