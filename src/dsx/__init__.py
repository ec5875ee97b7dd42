"""DSX Hub: take any file of any size, keep it safe, hand it back.

``from dsx import DatasetHubClient`` is the SDK; every failure it raises is a `DSXError`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from dsx.client.client import DatasetHubClient
    from dsx.client.models import DatasetInfo, FileInfo
    from dsx.core.errors import DSXError

_HOMES = {
    "DatasetHubClient": "dsx.client.client",
    "DatasetInfo": "dsx.client.models",
    "FileInfo": "dsx.client.models",
    "DSXError": "dsx.core.errors",
}

__all__ = ["DSXError", "DatasetHubClient", "DatasetInfo", "FileInfo", "__version__"]


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is asked for: ``import dsx`` itself stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dsx' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
