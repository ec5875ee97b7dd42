"""``dsx datasets``, ``manifest``, ``fetch``: datasets on a hub."""

from __future__ import annotations

import re
from fnmatch import translate
from pathlib import Path
from typing import Annotated

import typer

from dsx.cli.context import Context
from dsx.cli.output import human
from dsx.client.paths import local
from dsx.core.errors import NotFound

CACHE = Path("cache")


def list_datasets(ctx: typer.Context) -> None:
    """List datasets, with size and the state of the server's index.

    Examples:

        dsx datasets
    """
    context = Context.of(ctx)
    columns = [
        ("name", lambda item: item.name),
        ("files", lambda item: item.files),
        ("size", lambda item: human(item.size)),
        ("state", lambda item: f"{item.state} {item.done}/{item.total}"),
    ]
    with context.client() as client:
        names = client.list_datasets()
        context.output.items((client.dataset_info(name) for name in names), columns)


def manifest(ctx: typer.Context, dataset: Annotated[str, typer.Argument()]) -> None:
    """List the files of a dataset.

    Examples:

        dsx manifest imagenet

        dsx --json manifest imagenet > manifest.jsonl
    """
    context = Context.of(ctx)
    columns = [
        ("size", lambda entry: entry["size"]),
        ("sha256", lambda entry: entry.get("sha256") or "-"),
        ("path", lambda entry: entry["path"]),
    ]
    with context.client() as client:
        context.output.items(client.get_manifest(dataset), columns)


def fetch(
    ctx: typer.Context,
    dataset: Annotated[str, typer.Argument()],
    patterns: Annotated[list[str] | None, typer.Argument(help="Paths or globs; none: all.")] = None,
    *,
    to: Annotated[Path, typer.Option(help="Cache directory.")] = CACHE,
) -> None:
    """Download a dataset, or what the cache lacks of it, verified.

    Files land in CACHE/DATASET/PATH. Run it again to go on after an interruption, or to update.

    Examples:

        dsx fetch imagenet

        dsx fetch imagenet 'train/*.jpg' labels.csv --to /data
    """
    context = Context.of(ctx)
    to = local(to)
    with context.output.progress() as progress, context.client(to, progress) as client:
        chosen: list[str] | None = None
        if patterns:
            chosen = _choose([entry["path"] for entry in client.get_manifest(dataset)], patterns)
        paths = client.download_dataset(dataset, chosen)
    size = sum(path.stat().st_size for path in paths)
    summary = {"dataset": dataset, "files": len(paths), "size": size, "path": str(to / dataset)}
    context.output.result(summary, [f"{len(paths)} files, {human(size)}, in {to / dataset}"])


def _choose(paths: list[str], patterns: list[str]) -> list[str]:
    chosen: dict[str, None] = {}
    known = set(paths)
    for pattern in patterns:
        matches = re.compile(translate(pattern)).match
        found = [pattern] if pattern in known else [path for path in paths if matches(path)]
        if not found:
            raise NotFound(f"No file of the dataset matches {pattern!r}.")
        chosen.update(dict.fromkeys(found))
    return list(chosen)
