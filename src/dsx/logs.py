"""Configuration of logging."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TextIO, cast

import structlog

from dsx.redaction import Redacting, rendered


class _Unfailing:
    """Standard error that ignores errors: a full disk loses log lines, not requests."""

    def write(self, text: str) -> None:
        """Write *text*, ignoring errors."""
        with contextlib.suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        """Flush the stream, ignoring errors."""
        with contextlib.suppress(OSError):
            sys.stderr.flush()


def configure_logging(level: str) -> None:
    """Log to standard error: the hub's events as JSON lines, library messages as text."""
    libraries = logging.DEBUG if level == "debug" else logging.WARNING
    handler = logging.StreamHandler()
    handler.setFormatter(Redacting("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=libraries, handlers=[handler])
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso"),
            structlog.processors.format_exc_info,
            rendered,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Unfailing())),
        cache_logger_on_first_use=True,
    )
