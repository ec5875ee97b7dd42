"""Paths of this machine as users write them."""

from __future__ import annotations

import os
from pathlib import Path


def at_home(path: str | os.PathLike[str]) -> Path:
    """Return *path* with a leading ``~`` or ``~user`` expanded, if that user exists."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (Path's own fails for unknown users)
