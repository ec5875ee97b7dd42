"""``dsx scrub``: is what the hub stores still what was stored?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dsx.cli.context import Context
from dsx.cli.output import human
from dsx.core.errors import Damaged

if TYPE_CHECKING:
    from dsx.client.scrub import CycleInfo, FindingInfo, KindInfo, ScrubInfo

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
        if findings:
            context.output.items(client.scrub.findings(), _COLUMNS)
            return
        status = client.scrub.start() if now else client.scrub.status()
        lines = _lines(status, now=now)
        if status.damaged:
            for number, one in enumerate(client.scrub.findings()):
                if number == _SHOWN:
                    lines.append("… dsx scrub --findings lists all")
                    break
                lines.append(f"{one.sha256}: {one.problem}; {_concerned(one)}")
        if status.damaged_in_place:
            lines += [
                f"dataset {one.dataset}: {one.path} has other content than before"
                for one in client.scrub.dataset_findings()[:_SHOWN]
            ]
        context.output.result(status, lines)
    if status.damaged:
        raise Damaged(f"{status.damaged} blobs are damaged; upload the right bytes to heal them.")
    if status.damaged_in_place:
        raise Damaged(
            f"{status.damaged_in_place} files of datasets are damaged; put the right ones back."
        )


def _lines(status: ScrubInfo, *, now: bool) -> list[str]:
    every = f"every {status.days:g} days" if status.days else "on request only"
    lines = [f"everything is checked {every}, at most {human(status.rate or 0)}/s"]
    for kind in status.kinds:
        lines += _of_kind(kind, now=now)
    return lines


def _of_kind(kind: KindInfo, *, now: bool) -> list[str]:
    lines = []
    if kind.running and kind.cycle and not (now and kind.requested):
        part = kind.cycle.checked_bytes / kind.total_bytes if kind.total_bytes else 1
        lines.append(
            f"{kind.name}: checking, {kind.cycle.checked} of {kind.total} ({part:.0%}), "
            f"{kind.cycle.found} damaged"
        )
    elif kind.requested:
        lines.append(f"{kind.name}: a check begins in a moment; `dsx scrub` shows how far it is")
    lines.append(f"{kind.name}: {_last(kind.last)}")
    return lines


def _last(last: CycleInfo | None) -> str:
    if last is None or last.ended is None:
        return "not checked to the end yet"
    when = last.ended.strftime("%Y-%m-%d %H:%M:%S UTC")
    amount = f"{last.checked}, {human(last.checked_bytes)}"
    return f"last checked until {when} ({amount}): {last.found} damaged"


def _concerned(finding: FindingInfo) -> str:
    names = [f"{one.name} version {one.version}" for one in finding.files]
    return ", ".join(names) or "no file has them any more"


_COLUMNS = [
    ("sha256", lambda one: one.sha256),
    ("found", lambda one: one.found.strftime("%Y-%m-%d %H:%M")),
    ("problem", lambda one: one.problem),
    ("files", _concerned),
]
