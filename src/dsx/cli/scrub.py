"""``dsx scrub``: the hub's check of its stored bytes."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from dsx.cli.context import Context
from dsx.cli.output import human
from dsx.core.errors import Damaged

if TYPE_CHECKING:
    from dsx.client.client import DatasetHubClient
    from dsx.client.scrub import CycleInfo, DatasetFinding, FindingInfo, KindInfo, ScrubInfo

_SHOWN = 20


def scrub(
    ctx: typer.Context,
    *,
    now: Annotated[bool, typer.Option("--now", help="Check everything now.")] = False,
    findings: Annotated[
        bool, typer.Option("--findings", help="List all damaged files, and nothing else.")
    ] = False,
) -> None:
    """Show progress and findings of the hub's check of its stored bytes; for admins.

    Every DSX_SCRUB_DAYS the hub reads all stored bytes and verifies their SHA-256. Damaged files
    are no longer served; uploading the original again, under any name, repairs them. Exits with 6
    if anything is damaged.

    Examples:

        dsx scrub

        dsx scrub --now
    """
    context = Context.of(ctx)
    with context.client() as client:
        status = client.scrub.start() if now else client.scrub.status()
        if findings:
            found = [*client.scrub.findings(), *client.scrub.dataset_findings()]
            context.output.items(found, _COLUMNS)
        else:
            context.output.result(status, [*_lines(status, now=now), *_some(client, status)])
    if status.damaged:
        raise Damaged(
            f"{status.damaged} blobs are damaged; upload the original files to repair them."
        )
    if status.damaged_in_place:
        raise Damaged(
            f"{status.damaged_in_place} dataset files are damaged; replace them with the originals."
        )


def _some(client: DatasetHubClient, status: ScrubInfo) -> list[str]:
    """The first findings, one line each."""
    found: list[FindingInfo | DatasetFinding] = []
    if status.damaged:
        found += islice(client.scrub.findings(), _SHOWN)
    if status.damaged_in_place:
        found += client.scrub.dataset_findings()[:_SHOWN]
    lines = [f"{_concerned(one)}: {_problem(one)}" for one in found]
    if status.damaged + status.damaged_in_place > len(found):
        lines.append("… dsx scrub --findings lists all")
    return lines


def _lines(status: ScrubInfo, *, now: bool) -> list[str]:
    every = f"every {status.days:g} days" if status.days else "on request only"
    cap = f", at most {human(status.rate)}/s" if status.rate else ""
    lines = [f"everything is checked {every}{cap}"]
    left = {"blobs": status.damaged, "datasets": status.damaged_in_place}
    for kind in status.kinds:
        lines += _of_kind(kind, left.get(kind.name), now=now)
    return lines


def _of_kind(kind: KindInfo, left: int | None, *, now: bool) -> list[str]:
    lines = []
    if kind.running and kind.cycle and not (now and kind.requested):
        part = kind.cycle.checked_bytes / kind.total_bytes if kind.total_bytes else 1
        lines.append(
            f"{kind.name}: checking, {kind.cycle.checked} of {kind.total} ({part:.0%}), "
            f"{kind.cycle.found} damaged"
        )
    elif kind.requested:
        lines.append(f"{kind.name}: a check starts in a moment; `dsx scrub` shows its progress")
    lines.append(f"{kind.name}: {_last(kind.last)}{_healed(kind.last, left)}")
    return lines


def _healed(last: CycleInfo | None, left: int | None) -> str:
    """Describe how many findings have been repaired; *left*: the number still damaged."""
    if last is None or not last.found or left is None or left >= last.found:
        return ""
    return f", {last.found - left} of them repaired since"


def _last(last: CycleInfo | None) -> str:
    if last is None or last.ended is None:
        return "no check has been completed yet"
    when = last.ended.strftime("%Y-%m-%d %H:%M:%S UTC")
    amount = f"{last.checked}, {human(last.checked_bytes)}"
    return f"last check ended {when} ({amount}): {last.found} damaged"


def _concerned(finding: FindingInfo | DatasetFinding) -> str:
    if hasattr(finding, "files"):
        names = [f"{one.name} version {one.version}" for one in finding.files]
        return ", ".join(names) or "no longer used by any file"
    return f"{finding.path} of dataset {finding.dataset}"


def _problem(finding: FindingInfo | DatasetFinding) -> str:
    return finding.problem if hasattr(finding, "problem") else "content has changed"


_COLUMNS = [
    ("found", lambda one: one.found.strftime("%Y-%m-%d %H:%M")),
    ("problem", _problem),
    ("file", _concerned),
    ("sha256", lambda one: getattr(one, "sha256", "")),
]
