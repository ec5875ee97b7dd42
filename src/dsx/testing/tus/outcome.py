"""Results of checks, and the functions and exceptions that produce them."""

from __future__ import annotations

from enum import StrEnum


class Level(StrEnum):
    """How strongly the protocol requires something (RFC 2119)."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"


class Verdict(StrEnum):
    """The result of a check on a server."""

    PASS = "pass"  # noqa: S105 (no password)
    FAIL = "FAIL"
    NA = "n/a"


class Broken(Exception):
    """The server does not pass the check; the message says what it did instead."""


class Inapplicable(Exception):
    """The check does not apply to this server; the message says why."""


def expect(truth: bool, complaint: str) -> None:
    """Fail the check with *complaint* unless *truth*."""
    if not truth:
        raise Broken(complaint)
