"""Keeps secrets out of logs, wherever a client has put them: in a path, a name, a wrong field."""

from __future__ import annotations

import logging
import re
from collections.abc import MutableMapping
from typing import Any

import structlog

HIDDEN = "***"
_JSON = structlog.processors.JSONRenderer()
_SECRET = re.compile(
    r"dsx[a-z]?_[A-Za-z0-9_-]{20,}"  # tokens, sessions, invitations, links: see `hub.tokens`
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.?[A-Za-z0-9_-]*"  # signed tokens (JWT)
)
_LINK = re.compile(r"^(/+s/+)[^/]+")


def redacted(text: str) -> str:
    """*text* without what looks like one of our secrets."""
    return _SECRET.sub(HIDDEN, text)


def shown_path(path: str, root: str = "") -> str:
    """The path of a request as logs may tell it: without a share link's secret, whatever it is."""
    inner = path.removeprefix(root)
    return redacted(path[: len(path) - len(inner)] + _LINK.sub(rf"\1{HIDDEN}", inner))


def rendered(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    """An event as a line of JSON, redacted: structlog's last processor."""
    return redacted(str(_JSON(logger, method, event)))


class Redacting(logging.Formatter):
    """Formats what libraries log, redacted."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of *record*."""
        return redacted(super().format(record))
