"""Configuration of logging."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Literal, TextIO, cast

import structlog

from dsx.redaction import Redacting, rendered, rendered_for_people

LogFormat = Literal["auto", "text", "json"]


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


def configure_logging(level: str, format_: LogFormat = "auto") -> None:
    """Log to standard error, the hub's events as text or JSON lines, library messages as text.

    *format_*: ``auto`` is text on a terminal and JSON elsewhere.
    """
    as_text = format_ == "text" or (format_ == "auto" and sys.stderr.isatty())
    libraries = {"debug": logging.DEBUG, "error": logging.ERROR}.get(level, logging.WARNING)
    handler = logging.StreamHandler()
    handler.setFormatter(Redacting("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=libraries, handlers=[handler])
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso"),
            structlog.processors.format_exc_info,
            rendered_for_people if as_text else rendered,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Unfailing())),
        cache_logger_on_first_use=True,
    )
