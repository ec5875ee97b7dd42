"""What a check can come to, and the vocabulary checks say it in."""

from __future__ import annotations

from enum import StrEnum


class Level(StrEnum):
    """How strongly the protocol asks for something (RFC 2119)."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"


class Verdict(StrEnum):
    """What a server made of a check."""

    PASS = "pass"  # noqa: S105 (no password)
    FAIL = "FAIL"
    NA = "n/a"


class Broken(Exception):
    """The server does not do what the check is about; the message says what it did instead."""


class Inapplicable(Exception):
    """The check cannot be made of this server; the message says why."""


def expect(truth: bool, complaint: str) -> None:
    """Fail the check with *complaint* unless *truth*."""
    if not truth:
        raise Broken(complaint)
