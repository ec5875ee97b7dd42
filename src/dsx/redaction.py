"""Removes secrets from logs, wherever clients put them: in paths, names or wrong fields."""

from __future__ import annotations

import logging
import re
from collections.abc import MutableMapping
from typing import Any

import structlog

HIDDEN = "***"
_JSON = structlog.processors.JSONRenderer()
_TEXT = structlog.dev.ConsoleRenderer(colors=False, pad_event_to=24)
_SECRET = re.compile(
    r"dsx[a-z]?_[A-Za-z0-9_-]{20,}"  # tokens, sessions, invitations, links
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.?[A-Za-z0-9_-]*"  # signed tokens (JWT)
)
_LINK = re.compile(r"^(/+s/+)[^/]+")


def redacted(text: str) -> str:
    """Replace everything in *text* that looks like one of the hub's secrets."""
    return _SECRET.sub(HIDDEN, text)


def shown_path(path: str, root: str = "") -> str:
    """Return a request path for logs, without the secret of a share link."""
    inner = path.removeprefix(root)
    return redacted(path[: len(path) - len(inner)] + _LINK.sub(rf"\1{HIDDEN}", inner))


def rendered(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    """Render an event as a redacted JSON line; structlog's last processor."""
    return redacted(str(_JSON(logger, method, event)))


def rendered_for_people(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    """Render an event as a redacted line of text; structlog's last processor."""
    return redacted(str(_TEXT(logger, method, event)))


class Redacting(logging.Formatter):
    """Formats log records of libraries, redacted."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the redacted line of *record*."""
        return redacted(super().format(record))
