"""``dsx cache``: the local cache of datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsx.cli.context import Context
from dsx.cli.datasets import CACHE
from dsx.cli.output import human

app = typer.Typer(no_args_is_help=True, help="Measure or clear the local cache of datasets.")
Dataset = Annotated[str | None, typer.Argument(help="One dataset; none: all.")]
Directory = Annotated[Path, typer.Option(help="Cache directory.")]


@app.command()
def size(ctx: typer.Context, dataset: Dataset = None, *, directory: Directory = CACHE) -> None:
    """Print how many bytes the cache takes.

    Examples:

        dsx cache size imagenet
    """
    context = Context.of(ctx)
    taken = context.client(directory).get_cache_size(dataset)
    context.output.result({"bytes": taken}, [human(taken)])


@app.command()
def clear(ctx: typer.Context, dataset: Dataset = None, *, directory: Directory = CACHE) -> None:
    """Delete what was downloaded; files of other origin stay.

    Examples:

        dsx cache clear
    """
    context = Context.of(ctx)
    freed = context.client(directory).clear_cache(dataset)
    context.output.result({"freed": freed}, [f"freed {human(freed)}"])
