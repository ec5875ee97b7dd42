"""``dsx fsck``: check the catalog and the blobs against each other."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from dsx.cli.context import Context
from dsx.cli.server_extra import needs_server
from dsx.core.errors import DigestMismatch


def fsck(
    ctx: typer.Context,
    *,
    deep: Annotated[
        bool,
        typer.Option(
            help="Read every blob and verify its SHA-256; damaged blobs are no longer served."
        ),
    ] = False,
    repair: Annotated[
        bool,
        typer.Option(help="Quarantine blobs without a record, for DSX_QUARANTINE_DAYS."),
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="--repair even if the catalog appears to be the wrong one."),
    ] = False,
    data_dir: Annotated[
        Path | None, typer.Option(help="The server's data directory. [DSX_DATA_DIR]")
    ] = None,
) -> None:
    """Check that every record has its blob, and every blob a record.

    Runs on the server's machine, also while the server runs. Exits with 6 if a record's blob is
    missing or damaged; blobs without a record are harmless (crashes leave them) and only counted.

    Examples:

        dsx fsck

        dsx fsck --deep --data-dir /srv/dsx
    """
    report = asyncio.run(_check(data_dir, deep=deep, repair=repair, force=force))
    output = Context.of(ctx).output
    output.result(report, _told(report))
    if report["problem_count"]:
        raise DigestMismatch(
            f"{report['problem_count']} blobs are missing or damaged; upload the original files to "
            "repair them."
        )


async def _check(data_dir: Path | None, *, deep: bool, repair: bool, force: bool) -> dict[str, Any]:
    with needs_server():
        from dsx.hub.integrity.fsck import fsck as check  # noqa: PLC0415
        from dsx.logs import configure_logging  # noqa: PLC0415
        from dsx.run import load_settings  # noqa: PLC0415 (the SDK has no server packages)
        from dsx.store import open_store  # noqa: PLC0415
    settings = load_settings({"data_dir": data_dir})
    configure_logging(settings.log_level, settings.log_format)
    async with open_store(settings, create=False) as (catalog, blobs):
        report = await check(catalog, blobs, deep=deep, repair=repair, force=force)
    return report.as_dict()


def _told(report: dict[str, Any]) -> list[str]:
    lines = [
        f"{report['versions']} file versions, {report['blobs']} blobs, {report['bytes']} bytes",
        f"{report['orphans']} blobs without a record, {report['stages']} stages without an upload",
    ]
    if report["miscounted"]:
        lines.append(f"{report['miscounted']} owners have wrong usage counts; --repair recounts")
    if report["quarantine"]:
        lines.append(f"{report['quarantine']} blobs in quarantine; --repair restores needed ones")
    if report["repaired"]:
        lines.append(f"{report['repaired']} blobs were quarantined now")
    if report["reclaimed"]:
        lines.append(f"{report['reclaimed']} blobs were restored from quarantine")
    if report["agreement"] == "older":
        lines.append(
            "The catalog is older than the blobs: files stored since then are missing from it."
        )
    lines += [
        f"{', '.join(item['names']) or 'no file'}: {item['problem']} ({item['digest']})"
        for item in report["problems"]
    ]
    what = "content" if report["deep"] else "size"
    if not report["problem_count"]:
        lines.append(f"Every record has its blob, with the right {what}.")
    return lines
