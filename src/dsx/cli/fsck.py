"""``dsx fsck``: does the catalog agree with the blobs?"""

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
            help="Read every blob and compare its SHA-256; damaged ones are not served any more."
        ),
    ] = False,
    repair: Annotated[
        bool,
        typer.Option(help="Set blobs without a record aside, for DSX_QUARANTINE_DAYS."),
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="--repair even if the catalog seems to be the wrong one."),
    ] = False,
    data_dir: Annotated[
        Path | None, typer.Option(help="The server's data directory. [DSX_DATA_DIR]")
    ] = None,
) -> None:
    """Prove that every record has its bytes, and all bytes have a record.

    Runs on the server's machine, also while the server runs. Exits with 6 if a record's bytes are
    missing or wrong; a blob without a record is harmless (a crash leaves one) and only counted.

    Examples:

        dsx fsck

        dsx fsck --deep --data-dir /srv/dsx
    """
    report = asyncio.run(_check(data_dir, deep=deep, repair=repair, force=force))
    output = Context.of(ctx).output
    output.result(report, _told(report))
    if report["problem_count"]:
        raise DigestMismatch(
            f"{report['problem_count']} blobs are missing or wrong; upload the right bytes to heal "
            "them."
        )


async def _check(data_dir: Path | None, *, deep: bool, repair: bool, force: bool) -> dict[str, Any]:
    with needs_server():
        from dsx.hub.integrity.fsck import fsck as check  # noqa: PLC0415
        from dsx.logs import configure_logging  # noqa: PLC0415
        from dsx.run import load_settings  # noqa: PLC0415 (the SDK has no server packages)
        from dsx.store import open_store  # noqa: PLC0415
    settings = load_settings({"data_dir": data_dir})
    configure_logging(settings.log_level)
    async with open_store(settings, create=False) as (catalog, blobs):
        report = await check(catalog, blobs, deep=deep, repair=repair, force=force)
    return report.as_dict()


def _told(report: dict[str, Any]) -> list[str]:
    lines = [
        f"{report['versions']} file versions, {report['blobs']} blobs, {report['bytes']} bytes",
        f"{report['orphans']} blobs without a record, {report['stages']} stages of no upload",
    ]
    if report["miscounted"]:
        lines.append(f"{report['miscounted']} owners are miscounted; --repair counts again")
    if report["quarantine"]:
        lines.append(f"{report['quarantine']} blobs in quarantine; --repair takes back wanted ones")
    if report["repaired"]:
        lines.append(f"{report['repaired']} of them were set aside now")
    if report["reclaimed"]:
        lines.append(f"{report['reclaimed']} blobs were brought back from the quarantine")
    if report["agreement"] == "older":
        lines.append("The catalog is older than the blobs: what was stored since is not in it.")
    lines += [
        f"{', '.join(item['names']) or 'no file'}: {item['problem']} ({item['digest']})"
        for item in report["problems"]
    ]
    how = "and every byte is right" if report["deep"] else "and has the right size"
    if not report["problem_count"]:
        lines.append(f"Every record has its bytes {how}.")
    return lines
