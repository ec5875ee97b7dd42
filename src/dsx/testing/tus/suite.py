"""Runs the checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dsx.testing.tus.outcome import Broken, Inapplicable, Level, Verdict
from dsx.testing.tus.registry import CHECKS, Check
from dsx.testing.tus.target import NETWORK_ERRORS, Target

# Importing the modules collects their checks, in the order of the protocol.
# isort: off
from dsx.testing.tus import core, patch, creation, metadata, defer_length  # noqa: F401
from dsx.testing.tus import with_upload, expiration, checksum, termination  # noqa: F401
from dsx.testing.tus import concatenation, unfinished  # noqa: F401
# isort: on

DETAIL_LIMIT = 300


@dataclass(frozen=True)
class Result:
    """The result of one check on one server."""

    section: str
    level: Level
    check: str
    verdict: Verdict
    detail: str = ""

    @property
    def name(self) -> str:
        """The check's full name."""
        return f"{self.section}: {self.check}"


def run(
    url: str,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    *,
    patience: float = 0.0,
) -> list[Result]:
    """Run all checks on the server whose creation URL is *url*.

    Args:
        url: where the server creates uploads.
        headers: sent with every request, such as credentials.
        patience: how many seconds a check may wait for an upload to expire or for the server to
            give up on a client; with none, the checks of that are left out.

    Raises:
        OSError: nothing answers there.
    """
    fixed = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    target = Target(url, fixed, patience)
    return [_result(check, target) for check in CHECKS if patience or not check.waits]


def _result(check: Check, target: Target) -> Result:
    verdict, detail = _judge(check, target)
    target.clean()
    shown = detail if len(detail) <= DETAIL_LIMIT else detail[:DETAIL_LIMIT] + "…"
    return Result(check.section, check.level, check.title, verdict, shown)


def _judge(check: Check, target: Target) -> tuple[Verdict, str]:
    absent = sorted(check.needs - target.extensions)
    if absent:
        return Verdict.NA, f"not announced: {', '.join(absent)}"
    try:
        check.body(target)
    except Inapplicable as reason:
        return Verdict.NA, str(reason)
    except Broken as complaint:
        return Verdict.FAIL, str(complaint)
    except NETWORK_ERRORS as error:
        return Verdict.FAIL, f"no valid response: {type(error).__name__}: {error}"
    return Verdict.PASS, ""
