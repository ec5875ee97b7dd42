"""``dsx serve``: run the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsx.cli.server_extra import needs_server


def serve(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on. [DSX_HOST]")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0: a free one. [DSX_PORT]")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Directory for blobs and catalog. [DSX_DATA_DIR]")
    ] = None,
    dataset_path: Annotated[
        Path | None, typer.Option(help="Directory of datasets to serve. [DSX_DATASET_PATH]")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Server processes. [DSX_WORKERS]")] = None,
    make_key: Annotated[
        bool,
        typer.Option("--make-key", help="Generate an admin key if none is set, for any --host."),
    ] = False,
    require: Annotated[
        list[str] | None, typer.Option(hidden=True, help="Variables that must be set.")
    ] = None,
) -> None:
    """Run the hub until SIGINT or SIGTERM.

    Prints one line, `ready: http://HOST:PORT`, on standard output once it accepts requests.
    Flags take precedence over the environment, then `.env`, then `dsx.toml`.

    Examples:

        dsx serve

        DSX_DATASET_PATH=/data dsx serve --port 9000 --workers 4
    """
    with needs_server():
        from dsx.run import load_settings, run  # noqa: PLC0415 (the SDK has no server packages)
    given = {
        "host": host,
        "port": port,
        "data_dir": data_dir,
        "dataset_path": dataset_path,
        "workers": workers,
    }
    run(load_settings(given, require or ()), make_key=make_key)
