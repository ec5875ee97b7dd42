"""``dsx upload``: store files and directories on a hub."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsx.cli import interrupts
from dsx.cli.context import Context
from dsx.cli.exits import code_for, told
from dsx.cli.output import note
from dsx.cli.selection import Item, Selection, select
from dsx.core.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from dsx.cli.batch import Batch

_TOLD = 20  # skipped entries to list


def upload(
    ctx: typer.Context,
    paths: Annotated[
        list[str],
        typer.Argument(help="Files, quoted patterns or, with -r, directories; - is standard input"),
    ],
    *,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Store directories with all their files.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Store under this name.")] = None,
    category: Annotated[str | None, typer.Option(help="Category, e.g. train.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Tag; repeatable.")] = None,
    meta: Annotated[list[str] | None, typer.Option(help="KEY=VALUE; VALUE may be JSON.")] = None,
    if_absent: Annotated[
        bool, typer.Option("--if-absent", help="Fail if the name is taken.")
    ] = False,
    always: Annotated[
        bool, typer.Option("--always", help="Store a new version even of unchanged files.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume/--no-resume", help="Resume where this command was interrupted."),
    ] = True,
    instant: Annotated[
        bool,
        typer.Option("--instant", help="Do not send bytes the server already has (reads twice)."),
    ] = False,
) -> None:
    """Store files; a changed file becomes a new version under its name.

    Files that are already stored under their name, with the given category, tags and metadata, are
    not sent again. They are compared by SHA-256; digests of unchanged files are cached, so that
    they need not be read each time.

    With -r, a file below a directory is named by its path from the directory's parent:
    `dsx upload -r data/photos` stores photos/a.jpg. Links to files are followed. Links to
    directories, empty directories, pipes, sockets and devices are left out and reported.

    After an interruption or crash, the same command in the same directory resumes: only the missing
    parts of large files are sent. `dsx tasks` pauses and resumes large uploads from anywhere.

    Examples:

        dsx upload model.pt --category checkpoints --meta loss=0.12

        dsx upload -r photos --tag holiday

        dsx upload 'runs/**/*.csv'

        tar c photos | dsx upload - --name photos.tar
    """
    selection = select(paths, recursive=recursive)
    items = _named(selection.items, name, recursive=recursive)
    _tell_left_out(selection)
    facts: dict[str, Any] = {
        "category": category,
        "tags": tag or [],
        "metadata": dict(_fact(item) for item in meta or []),
        "if_absent": if_absent,
        "resume": resume,
        "instant": instant,
    }
    failed = selection.failed + _run(Context.of(ctx), items, facts, paths, always=always)
    if failed:
        raise typer.Exit(code_for(failed[0]))


def _tell_left_out(selection: Selection) -> None:
    """Print what is left out of directories, up to `_TOLD` entries."""
    for error in selection.failed:
        note(told(error))
    for what in selection.left_out[:_TOLD]:
        note(f"left out: {what}")
    if len(selection.left_out) > _TOLD:
        note(f"left out: {len(selection.left_out) - _TOLD} more")


def _run(
    context: Context, items: list[Item], facts: dict[str, Any], paths: list[str], *, always: bool
) -> list[BaseException]:
    from dsx.cli.batch import Batch  # noqa: PLC0415 (slow to import)
    from dsx.cli.journal import Journal  # noqa: PLC0415

    journal = None
    if facts["resume"] and len(items) > 1 and (always or facts["if_absent"]):
        journal = Journal({"server": context.server.value, **facts}, paths)
    with context.client() as client:
        batch = Batch(client, items, facts, journal=journal, always=always)
        complete = False
        try:
            batch.run(context.output)
            complete = not batch.failed
            broken_off = any(isinstance(error, Unavailable) for error in batch.failed)
            if broken_off and (how := _how_to_go_on(batch, facts)):
                note(how)
        except KeyboardInterrupt:
            how = _how_to_go_on(batch, facts)
            interrupts.tell(f"; {how}" if how else "")
            raise
        finally:
            if journal is not None:
                journal.close(complete=complete)
    return batch.failed


def _how_to_go_on(batch: Batch, facts: dict[str, Any]) -> str:
    """How to resume after an interruption; empty if there is nothing to resume."""
    if not facts["resume"] or not batch.percent:
        return ""
    return f"run the same command again to resume from {batch.percent} %"


def _named(items: list[Item], name: str | None, *, recursive: bool) -> list[Item]:
    """Return *items*, the only one renamed to *name* if that is given."""
    if name and (len(items) > 1 or recursive):
        raise Invalid("--name applies to a single file.")
    if not name and any(item.path is None for item in items):
        raise Invalid("Standard input requires --name.")
    return [replace(item, name=name) for item in items] if name else items


def _fact(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise Invalid(f"--meta takes KEY=VALUE, not {text!r}.")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
