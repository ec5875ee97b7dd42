"""``dsx scrub``: is what the hub stores still what was stored?"""

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
        bool, typer.Option("--findings", help="List all that is damaged, and nothing else.")
    ] = False,
) -> None:
    """Show how far the hub's check of its stored bytes is, and what it found; for admins.

    The hub reads all it stores once in DSX_SCRUB_DAYS and compares it with its SHA-256. Damaged
    bytes are not served any more; uploading the right ones again, under any name, heals them.
    Exits with 6 if something is damaged.

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
        raise Damaged(f"{status.damaged} blobs are damaged; upload the right bytes to heal them.")
    if status.damaged_in_place:
        raise Damaged(
            f"{status.damaged_in_place} files of datasets are damaged; put the right ones back."
        )


def _some(client: DatasetHubClient, status: ScrubInfo) -> list[str]:
    """Some of what is damaged, a line each."""
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
        lines.append(f"{kind.name}: a check begins in a moment; `dsx scrub` shows how far it is")
    lines.append(f"{kind.name}: {_last(kind.last)}{_healed(kind.last, left)}")
    return lines


def _healed(last: CycleInfo | None, left: int | None) -> str:
    """What has become of the damage that was found; *left*: what is damaged now."""
    if last is None or not last.found or left is None or left >= last.found:
        return ""
    return f", of which {left or 'none'} {'is' if left == 1 else 'are'} now: the others are healed"


def _last(last: CycleInfo | None) -> str:
    if last is None or last.ended is None:
        return "not checked to the end yet"
    when = last.ended.strftime("%Y-%m-%d %H:%M:%S UTC")
    amount = f"{last.checked}, {human(last.checked_bytes)}"
    return f"last checked until {when} ({amount}): {last.found} damaged"


def _concerned(finding: FindingInfo | DatasetFinding) -> str:
    if hasattr(finding, "files"):
        names = [f"{one.name} version {one.version}" for one in finding.files]
        return ", ".join(names) or "no file has these bytes any more"
    return f"{finding.path} of dataset {finding.dataset}"


def _problem(finding: FindingInfo | DatasetFinding) -> str:
    return finding.problem if hasattr(finding, "problem") else "has other content than before"


_COLUMNS = [
    ("found", lambda one: one.found.strftime("%Y-%m-%d %H:%M")),
    ("problem", _problem),
    ("file", _concerned),
    ("sha256", lambda one: getattr(one, "sha256", "")),
]
