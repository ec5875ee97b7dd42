"""``dsx datasets``, ``manifest``, ``fetch``: datasets on a hub."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import translate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsx.cli.context import Context
from dsx.cli.output import human, note
from dsx.client.paths import local
from dsx.core.errors import NotFound

if TYPE_CHECKING:
    from dsx.client.models import DatasetInfo

CACHE = Path("cache")


def list_datasets(ctx: typer.Context) -> None:
    """List datasets, with size and the state of the server's index.

    What a dataset leaves out (unreadable files, links out of it …) is told on standard error.

    Examples:

        dsx datasets
    """
    context = Context.of(ctx)
    columns = [
        ("name", lambda item: item.name),
        ("files", lambda item: item.files),
        ("size", lambda item: human(item.size)),
        ("state", lambda item: f"{item.state} {item.done}/{item.total}"),
        ("left out", _left_out),
    ]
    with context.client() as client:
        datasets = client.dataset_infos()
    context.output.items(datasets, columns)
    for dataset in datasets:
        if dataset.trouble:
            note(f"{dataset.name} is unavailable: {dataset.trouble}")
        for reason, left_out in dataset.left_out.items():
            some = ", ".join(left_out.paths) + (
                ", …" if left_out.count > len(left_out.paths) else ""
            )
            note(f"{dataset.name} leaves out {left_out.count} ({reason}): {some}")


def _left_out(dataset: DatasetInfo) -> str:
    count = sum(one.count for one in dataset.left_out.values())
    return f"{count} left out" if count else ""


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
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep files that the dataset has no more.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read what the cache has, too: are its bytes right?")
    ] = False,
) -> None:
    """Download a dataset, or what the cache lacks of it, verified.

    Files land in CACHE/DATASET/PATH. Run it again to go on after an interruption, in the middle of
    a large file too, or to update: what was fetched before and is in the dataset no more is
    deleted, unless you say --keep. What the cache has is trusted while its size and time are the
    recorded ones; --verify reads it, and fetches again what has wrong bytes.

    Examples:

        dsx fetch imagenet

        dsx fetch imagenet 'train/*.jpg' labels.csv --to /data
    """
    context = Context.of(ctx)
    to = local(to)
    chosen: list[str] | None = None
    with (
        warnings_told(),
        context.output.progress() as progress,
        context.client(to, progress) as client,
    ):
        if patterns:
            chosen = _choose([entry["path"] for entry in client.get_manifest(dataset)], patterns)
        fetch = client.fetch_dataset(dataset, chosen, keep_removed=keep, verify=verify)
    size = sum(path.stat().st_size for path in fetch.paths)
    summary = {
        "dataset": dataset,
        "files": len(fetch.paths),
        "size": size,
        "path": str(to / dataset),
        "gone": len(fetch.gone),
        "removed": len(fetch.removed),
        "wrong": len(fetch.wrong),
    }
    line = f"{len(fetch.paths)} files, {human(size)}, in {to / dataset}"
    removed = f"; {len(fetch.removed)} removed" if fetch.removed else ""
    wrong = f"; {len(fetch.wrong)} had wrong bytes and were fetched again" if fetch.wrong else ""
    context.output.result(summary, [line + removed + wrong])


@contextmanager
def warnings_told() -> Iterator[None]:
    """Tell of the SDK's warnings as of anything else."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            for warning in caught:
                note(str(warning.message))


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
