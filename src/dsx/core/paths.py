"""Paths of this machine, as people write them."""

from __future__ import annotations

import os
from pathlib import Path


def at_home(path: str | os.PathLike[str]) -> Path:
    """*path* with ``~`` or ``~user`` at its beginning expanded, if there is such a user."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (Path's own fails for unknown users)
