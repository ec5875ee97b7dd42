"""``dsx trash``: deleted files."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from dsx.cli.context import Context
from dsx.cli.output import human, note
from dsx.core.errors import Invalid, NotFound

if TYPE_CHECKING:
    from dsx.client.client import DatasetHubClient
    from dsx.client.progress import Progress

_EVERY = 2.0
"""Seconds between progress messages."""
app = typer.Typer(no_args_is_help=True, help="List, restore or purge deleted files.")


@app.command("list")
@app.command("ls", hidden=True)
def list_trash(
    ctx: typer.Context, *, limit: Annotated[int | None, typer.Option(min=1)] = None
) -> None:
    """List deleted files, latest deletion first.

    Examples:

        dsx trash list
    """
    context = Context.of(ctx)
    columns = [
        ("number", lambda item: item.number),
        ("version", lambda item: item.version),
        ("size", lambda item: human(item.size)),
        ("purged after", lambda item: item.expires.strftime("%Y-%m-%d")),
        ("name", lambda item: item.name),
    ]
    with context.client() as client:
        context.output.items(client.list_trash(limit), columns)


@app.command()
def restore(
    ctx: typer.Context,
    id: Annotated[str, typer.Argument(help="Id or number from `dsx trash list`.")],  # noqa: A002
    *,
    name: Annotated[str | None, typer.Option(help="Restore under this name.")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="Restore only this version.")] = None,
) -> None:
    """Restore a file as it was deleted, or one version of it.

    Examples:

        dsx trash restore 12

        dsx trash restore 12 --name model-old.pt

        dsx trash restore 12 --version 3
    """
    context = Context.of(ctx)
    with context.client() as client:
        info = client.restore(id, name, version=version)
    context.output.result(info, [f"{info.name} is restored (number {info.number})"])


@app.command()
def purge(
    ctx: typer.Context,
    refs: Annotated[list[str], typer.Argument(help="Numbers, ids or names.")],
) -> None:
    """Delete files in the trash permanently.

    Examples:

        dsx trash purge 12

        dsx trash purge model.pt
    """
    context = Context.of(ctx)
    with context.client() as client:
        for ref in refs:
            _purge(client, ref)
            context.output.result({"purged": ref}, [f"{ref} is permanently deleted"])


def _purge(client: DatasetHubClient, ref: str) -> None:
    """Purge the deleted file that *ref* means: a number, an id, or a unique name."""
    from dsx.client.files import may_be_id  # noqa: PLC0415 (slow to import)

    if may_be_id(ref):
        with suppress(NotFound):
            client.purge(ref)
            return
    found = [info for info in client.list_trash() if info.name == ref]
    if not found:
        raise NotFound(f"There is no {ref!r} in the trash.")
    if len(found) > 1:
        numbers = ", ".join(str(info.number) for info in found)
        raise Invalid(f"{ref!r} is in the trash more than once: use one of the numbers {numbers}.")
    client.purge(found[0])


@app.command()
def empty(
    ctx: typer.Context,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete everything in the trash permanently.

    Examples:

        dsx trash empty --yes
    """
    if not yes and not typer.confirm("Permanently delete everything in the trash?"):
        raise Invalid("Nothing was deleted.")
    context = Context.of(ctx)
    with context.client() as client:
        count = client.empty_trash(_told())
    context.output.result({"purged": count}, [f"{count} files are permanently deleted"])


def _told() -> Progress:
    """Return a callback that prints progress every `_EVERY` seconds."""
    last = time.monotonic()

    def tell(done: int, total: int | None, _name: str) -> None:
        nonlocal last
        if time.monotonic() - last > _EVERY:
            last = time.monotonic()
            note(f"{done} of {total} files are deleted")

    return tell
