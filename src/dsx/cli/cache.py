"""``dsx cache``: the local cache of datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsx.cli.context import Context
from dsx.cli.datasets import CACHE, warnings_told
from dsx.cli.exits import INTEGRITY
from dsx.cli.output import human

app = typer.Typer(
    no_args_is_help=True, help="Measure, verify or clear the local cache of datasets."
)
Dataset = Annotated[str | None, typer.Argument(help="One dataset; default: all.")]
Directory = Annotated[Path, typer.Option(help="Cache directory.")]


@app.command()
def size(ctx: typer.Context, dataset: Dataset = None, *, directory: Directory = CACHE) -> None:
    """Print the size of the cache.

    Examples:

        dsx cache size imagenet
    """
    context = Context.of(ctx)
    taken = context.client(directory).get_cache_size(dataset)
    context.output.result({"bytes": taken}, [human(taken)])


@app.command()
def verify(ctx: typer.Context, dataset: Dataset = None, *, directory: Directory = CACHE) -> None:
    """Check the cached files, and fetch damaged ones again.

    Each file is compared with its SHA-256 in the dataset's manifest, or else with the SHA-256
    computed while it was downloaded.

    Examples:

        dsx cache verify imagenet
    """
    context = Context.of(ctx)
    with (
        warnings_told(),
        context.output.progress() as progress,
        context.client(directory, progress) as client,
    ):
        verified = client.verify_cache(dataset)
    line = f"{verified.files} files checked, {len(verified.wrong)} damaged"
    if verified.wrong:
        line += f", {len(verified.wrong) - len(verified.lost)} of them fetched again"
    summary = {"files": verified.files, "wrong": verified.wrong, "lost": verified.lost}
    context.output.result(summary, [*verified.wrong, line])
    if verified.lost:
        raise typer.Exit(INTEGRITY)


@app.command()
def clear(ctx: typer.Context, dataset: Dataset = None, *, directory: Directory = CACHE) -> None:
    """Delete downloaded files; other files in the directory are kept.

    Examples:

        dsx cache clear
    """
    context = Context.of(ctx)
    freed = context.client(directory).clear_cache(dataset)
    context.output.result({"freed": freed}, [f"freed {human(freed)}"])
