"""``dsx download``, ``list``, ``delete``: files on a hub."""

from __future__ import annotations

import sys
from contextlib import suppress
from glob import has_magic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsx.cli.context import Context
from dsx.cli.output import human, note
from dsx.cli.refs import ByName, ByNumber, Meaning
from dsx.cli.streams import binary_output
from dsx.client.paths import about
from dsx.core.errors import Invalid, NotFound

if TYPE_CHECKING:
    from dsx.client.client import DatasetHubClient
    from dsx.client.models import FileInfo
    from dsx.client.progress import Progress

STREAM = "-"
_TOLD = 20  # files listed before they are deleted
OfVersion = Annotated[
    int | None, typer.Option("--version", min=1, help="Only this version; see `dsx versions`.")
]


def download(
    ctx: typer.Context,
    refs: Annotated[list[str], typer.Argument(help="Names, numbers or ids.")],
    *,
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="File or directory; - is standard output.")
    ] = None,
    archive: Annotated[bool, typer.Option("--zip", help="Download all as one ZIP.")] = False,
    version: OfVersion = None,
    name: ByName = False,
    number: ByNumber = False,
) -> None:
    """Download files and verify them.

    A single file is saved under the last part of its name; several keep their full names: with
    `-o dir/`, dir/a/config.json and dir/b/config.json. Conflicting paths are refused before
    anything is downloaded. After an interruption, the same command resumes the download.

    Examples:

        dsx download model.pt

        dsx download a/config.json b/config.json -o configs/

        dsx download model.pt --version 3

        dsx download 12 13 14 --zip -o models.zip

        dsx download photos.tar -o - | tar x
    """
    context = Context.of(ctx)
    meaning = Meaning(name, number)
    with context.client() as client:
        infos = _chosen(client, meaning.files(client, refs), version)
        with context.output.progress() as progress:
            if output == STREAM:
                _to_standard_output(client, infos, progress, archive=archive)
            elif archive:
                place = client.archive(infos, output or "files.zip", progress=progress)
                context.output.result({"path": str(place)}, [str(place)])
            elif len(infos) == 1:
                place = client.download(infos[0], output, progress=progress)
                context.output.result({"path": str(place)}, [str(place)])
            else:
                for place in client.download_files(infos, output or ".", progress=progress):
                    context.output.result({"path": str(place)}, [str(place)])


def _to_standard_output(
    client: DatasetHubClient,
    infos: list[FileInfo],
    progress: Progress | None,
    *,
    archive: bool,
) -> None:
    output = binary_output()
    with about("standard output"):
        if archive:
            client.archive_to(infos, output, progress=progress)
        else:
            for info in infos:
                client.download_to(info, output, progress=progress)
        output.flush()


def list_files(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Glob, e.g. 'img_*.png'.")] = None,
    *,
    regex: Annotated[str | None, typer.Option(help="RE2 expression to find in names.")] = None,
    category: Annotated[str | None, typer.Option(help="Only this category.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Files with this tag; repeatable.")] = None,
    created_from: Annotated[str | None, typer.Option(help="ISO time, inclusive.")] = None,
    created_to: Annotated[str | None, typer.Option(help="ISO time, exclusive.")] = None,
    sort: Annotated[
        str, typer.Option(help="created, name or size; -size: descending.")
    ] = "-created",
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of results.")] = None,
    long: Annotated[bool, typer.Option("--long", "-l", help="Also show id, size, time …")] = False,
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
    refs: Annotated[
        list[str], typer.Argument(help="Names, quoted globs like 'img_*.png', numbers or ids.")
    ],
    *,
    version: OfVersion = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    name: ByName = False,
    number: ByNumber = False,
) -> None:
    """Move files with all their versions, or single versions, to the trash.

    The number or id of an older version means only that version; see `dsx versions`. A glob means
    all files that `dsx list` shows for it.

    Examples:

        dsx delete old.pt

        dsx delete 'runs/*/tmp.*' --yes

        dsx delete model.pt --version 3

        dsx delete --name 12
    """
    context = Context.of(ctx)
    meaning = Meaning(name, number)
    with context.client() as client:
        found = {info.id: info for ref in refs for info in _deleted(client, ref, meaning)}
        infos = list(found.values())
        _ask_about(refs, infos, yes=yes)
        for info in _chosen(client, infos, version):
            client.delete(info, version)
            alone = version is not None or not info.latest
            what = f"version {info.version} of {info.name}" if alone else info.name
            told = f"{what} is in the trash; to restore it: dsx trash restore {info.number}"
            context.output.result(info, [told])
        if client.storage_full():
            note("the hub's disk is full: `dsx trash empty` frees space")


def _deleted(client: DatasetHubClient, ref: str, meaning: Meaning) -> list[FileInfo]:
    """The files that *ref* means: one, or the matches of a glob that is no file's name."""
    if meaning.name or meaning.number or not has_magic(ref):
        return [meaning.file(client, ref)]
    with suppress(NotFound):
        return [client.find(ref)]
    found = list(client.list_files(ref, sort="name"))
    if not found:
        raise NotFound(f"No file matches {ref!r}.")
    return found


def _ask_about(refs: list[str], found: list[FileInfo], *, yes: bool) -> None:
    """Ask for confirmation if globs match more files than *refs*."""
    if yes or len(found) <= len(refs):
        return
    for info in found[:_TOLD]:
        note(info.name)
    if len(found) > _TOLD:
        note(f"… and {len(found) - _TOLD} more")
    if not sys.stdin.isatty():
        raise Invalid(f"These are {len(found)} files; to delete them all, use --yes.")
    if not typer.confirm(f"Move these {len(found)} files to the trash?", err=True):
        raise Invalid("Nothing was deleted.")


def versions(
    ctx: typer.Context,
    ref: Annotated[str, typer.Argument(help="Name, number or id of a file.")],
    *,
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of results.")] = None,
    name: ByName = False,
    number: ByNumber = False,
) -> None:
    """List the versions of a file, newest first.

    Examples:

        dsx versions model.pt
    """
    context = Context.of(ctx)
    columns: list[tuple[str, Any]] = [
        ("version", lambda item: item.version),
        ("number", lambda item: item.number),
        ("size", lambda item: human(item.size)),
        ("created", lambda item: item.created.strftime("%Y-%m-%d %H:%M")),
        ("sha256", lambda item: item.sha256[:12]),
    ]
    with context.client() as client:
        info = Meaning(name, number).file(client, ref)
        context.output.items(client.versions(info, limit), columns)


def _chosen(client: DatasetHubClient, infos: list[FileInfo], version: int | None) -> list[FileInfo]:
    """Return *infos*, or *version* of the only one."""
    if version is None:
        return infos
    if len(infos) > 1:
        raise Invalid("--version applies to a single file.")
    return [client.version(infos[0], version)]
