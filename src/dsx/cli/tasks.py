"""``dsx tasks``: transfers that can be watched, paused, resumed and aborted from anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dsx.cli.context import Context
from dsx.cli.exits import code_for, told
from dsx.cli.output import human, note
from dsx.core.errors import Conflict, DSXError, Gone, NotFound, Unprocessable

if TYPE_CHECKING:
    from dsx.client.models import TaskInfo

app = typer.Typer(no_args_is_help=True, help="Watch and control transfers, wherever they run.")

Ids = Annotated[list[str], typer.Argument(help="Ids from `dsx tasks list`.")]


@app.command("list")
@app.command("ls", hidden=True)
def list_tasks(
    ctx: typer.Context,
    *,
    active: Annotated[
        bool, typer.Option("--active", help="Only transfers that have not ended.")
    ] = False,
    everyone: Annotated[
        bool, typer.Option("--everyone", help="Transfers of all owners (admins only).")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number to read.")] = None,
) -> None:
    """List transfers: uploads in parts, and the tasks of downloads and deletes.

    A waiting transfer was started, but no client is continuing it: run its command again, or abort
    it.

    Examples:

        dsx tasks list

        dsx tasks list --active --json

        dsx tasks list --everyone
    """
    context = Context.of(ctx)
    columns = [
        ("id", lambda task: task.id),
        ("kind", lambda task: task.kind or "-"),
        ("state", lambda task: task.state),
        ("done", _done),
        ("name", lambda task: task.name),
    ]
    if everyone:
        columns.insert(1, ("owner", lambda task: task.owner))
    with context.client() as client:
        found = client.tasks.list(limit, everyone=everyone)
        context.output.items((task for task in found if not (active and task.over)), columns)


@app.command()
def pause(ctx: typer.Context, ids: Ids) -> None:
    """Pause transfers, wherever they run.

    Examples:

        dsx tasks pause 019a9f3c-0000-7000-8000-00000000000a
    """
    _change(ctx, "pause", ids)


@app.command()
def resume(ctx: typer.Context, ids: Ids) -> None:
    """Resume paused transfers.

    A program that is waiting continues by itself; after a crash, run its command again.

    Examples:

        dsx tasks resume 019a9f3c-0000-7000-8000-00000000000a
    """
    _change(ctx, "resume", ids)


@app.command()
def abort(ctx: typer.Context, ids: Ids) -> None:
    """Abort transfers and discard their data. Admins may abort anyone's.

    Examples:

        dsx tasks abort 019a9f3c-0000-7000-8000-00000000000a
    """
    _change(ctx, "abort", ids)


@app.command()
def watch(
    ctx: typer.Context,
    id: Annotated[  # noqa: A002
        str | None, typer.Argument(help="Only this one, until it ends.")
    ] = None,
) -> None:
    """Show transfers and their changes as they happen, until Ctrl+C.

    Examples:

        dsx tasks watch

        dsx tasks watch 019a9f3c-0000-7000-8000-00000000000a --json
    """
    context = Context.of(ctx)
    with context.client() as client:
        for task in client.tasks.watch(id):
            context.output.result(task, [_line(task)])


def _change(ctx: typer.Context, what: str, ids: list[str]) -> None:
    """Apply *what* to all *ids*, continuing after failures."""
    context = Context.of(ctx)
    failed: list[DSXError] = []
    with context.client() as client:
        for id_ in ids:
            try:
                task = getattr(client.tasks, what)(id_)
            except (NotFound, Gone, Conflict, Unprocessable) as error:
                failed.append(error)
                note(told(error))
            else:
                context.output.result(task, [_line(task)])
    if failed:
        raise typer.Exit(code_for(failed[0]))


def _line(task: TaskInfo) -> str:
    return f"{task.id}  {task.kind or '-'}  {task.state}  {_done(task)}  {task.name}"


def _done(task: TaskInfo) -> str:
    if task.kind in {"delete", "empty"}:
        return f"{task.done}/{task.total or 0} files"
    if task.total is None:
        return human(task.done)
    percent = int(100 * task.done / task.total) if task.total else 100
    return f"{human(task.done)} of {human(task.total)} ({percent} %)"
