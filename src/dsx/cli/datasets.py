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

    Entries left out of a dataset (unreadable files, links out of it …) are listed on standard
    error.

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
    patterns: Annotated[
        list[str] | None, typer.Argument(help="Paths or globs; default: all.")
    ] = None,
    *,
    to: Annotated[Path, typer.Option(help="Cache directory.")] = CACHE,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep files that were removed from the dataset.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Also check the contents of cached files.")
    ] = False,
) -> None:
    """Download a dataset, or the files missing from the cache, and verify them.

    Files are saved as CACHE/DATASET/PATH. Run the command again to resume after an interruption,
    even within a large file, or to update: downloaded files that have been removed from the dataset
    are deleted, unless --keep is given. Cached files are trusted while their size and time match
    the record; --verify reads them, and fetches damaged ones again.

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
    wrong = f"; {len(fetch.wrong)} damaged and fetched again" if fetch.wrong else ""
    context.output.result(summary, [line + removed + wrong])


@contextmanager
def warnings_told() -> Iterator[None]:
    """Print the SDK's warnings like other messages, on standard error."""
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
            raise NotFound(f"No file in the dataset matches {pattern!r}.")
        chosen.update(dict.fromkeys(found))
    return list(chosen)
