"""``dsx upload``, ``download``, ``list``, ``delete``: files on a hub."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsx.cli.context import Context
from dsx.cli.output import human
from dsx.core.errors import Invalid

if TYPE_CHECKING:
    from dsx.client.hub import DatasetHubClient

STREAM = "-"


def upload(
    ctx: typer.Context,
    paths: Annotated[list[str], typer.Argument(help="Files; - is standard input.")],
    *,
    name: Annotated[str | None, typer.Option(help="Store under this name.")] = None,
    category: Annotated[str | None, typer.Option(help="Category, e.g. train.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Tag; may be repeated.")] = None,
    meta: Annotated[list[str] | None, typer.Option(help="KEY=VALUE; VALUE may be JSON.")] = None,
    if_absent: Annotated[
        bool, typer.Option("--if-absent", help="Fail if the name is taken.")
    ] = False,
) -> None:
    """Store files. A name that is taken gets a new version.

    Examples:

        dsx upload model.pt --category checkpoints --meta loss=0.12

        tar c photos | dsx upload - --name photos.tar
    """
    if name and len(paths) > 1:
        raise Invalid("--name is for a single file.")
    context = Context.of(ctx)
    facts: dict[str, Any] = {
        "category": category,
        "tags": tag or [],
        "metadata": dict(_fact(item) for item in meta or []),
        "if_absent": if_absent,
    }
    with context.output.progress() as progress, context.client(progress=progress) as client:
        for path in paths:
            if path == STREAM:
                if not name:
                    raise Invalid("Standard input needs a --name.")
                info = client.upload(sys.stdin.buffer, name, **facts)
            else:
                info = client.upload(path, name, **facts)
            told = f"{info.id}  {info.name}  version {info.version}  {human(info.size)}"
            context.output.result(info, [told])


def download(
    ctx: typer.Context,
    refs: Annotated[list[str], typer.Argument(help="Ids, numbers or names.")],
    *,
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="File or directory; - is standard output.")
    ] = None,
    archive: Annotated[bool, typer.Option("--zip", help="All of them as one ZIP.")] = False,
) -> None:
    """Download files, verified.

    Examples:

        dsx download model.pt

        dsx download 12 13 14 --zip -o models.zip

        dsx download photos.tar -o - | tar x
    """
    context = Context.of(ctx)
    with context.output.progress() as progress, context.client(progress=progress) as client:
        if output == STREAM:
            _to_standard_output(client, refs, archive=archive)
        elif archive:
            place = client.archive(refs, output or "files.zip")
            context.output.result({"path": str(place)}, [str(place)])
        else:
            if output and len(refs) > 1 and not Path(output).is_dir():
                raise Invalid("-o must be a directory for several files (or use --zip).")
            for ref in refs:
                place = client.download(ref, output)
                context.output.result({"path": str(place)}, [str(place)])


def _to_standard_output(client: DatasetHubClient, refs: list[str], *, archive: bool) -> None:
    output = sys.stdout.buffer
    if archive:
        client.archive_to(refs, output)
    else:
        for ref in refs:
            client.download_to(ref, output)
    output.flush()


def list_files(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Glob, e.g. 'img_*.png'.")] = None,
    *,
    regex: Annotated[str | None, typer.Option(help="RE2 expression found in the name.")] = None,
    category: Annotated[str | None, typer.Option(help="Only this category.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only with this tag; repeatable.")] = None,
    created_from: Annotated[str | None, typer.Option(help="ISO time, inclusive.")] = None,
    created_to: Annotated[str | None, typer.Option(help="ISO time, exclusive.")] = None,
    sort: Annotated[str, typer.Option(help="created, name or size; -x: descending.")] = "-created",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    long: Annotated[bool, typer.Option("--long", "-l", help="With id, size, time …")] = False,
) -> None:
    """List files, newest first.

    Examples:

        dsx list

        dsx list 'img_*.png' --category train --long
    """
    context = Context.of(ctx)
    with context.client() as client:
        found = client.list_files(
            name,
            regex=regex,
            category=category,
            tags=tag or [],
            created_from=created_from,
            created_to=created_to,
            sort=sort,
            limit=limit,
        )
        columns: list[tuple[str, Any]] = [("name", lambda item: item.name)]
        if long:
            columns = [
                ("number", lambda item: item.number),
                ("size", lambda item: human(item.size)),
                ("created", lambda item: item.created.strftime("%Y-%m-%d %H:%M")),
                ("category", lambda item: item.category),
                ("id", lambda item: item.id),
                *columns,
            ]
        context.output.items(found, columns)


def delete(
    ctx: typer.Context,
    refs: Annotated[list[str], typer.Argument(help="Ids, numbers or names.")],
) -> None:
    """Move files, with all their versions, to the trash.

    Examples:

        dsx delete old.pt
    """
    context = Context.of(ctx)
    with context.client() as client:
        for ref in refs:
            info = client.get_info(ref)
            client.delete(info)
            told = f"{info.name} is in the trash; get it back with: dsx trash restore {info.number}"
            context.output.result(info, [told])


def _fact(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise Invalid(f"--meta takes KEY=VALUE, not {text!r}.")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
