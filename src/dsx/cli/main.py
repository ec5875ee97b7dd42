"""The ``dsx`` command line, assembled from one module per command."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from dsx.cli import (
    audit,
    cache,
    config,
    datasets,
    files,
    fsck,
    interrupts,
    login,
    scrub,
    secret_keys,
    serve,
    shares,
    status,
    tasks,
    tokens,
    trash,
    upload,
    users,
    version,
)
from dsx.cli.context import DEFAULT_SERVER, Context
from dsx.cli.exits import TABLE, code_for, failure, told
from dsx.cli.flags import HELP, as_command
from dsx.cli.interrupts import INTERRUPTED
from dsx.cli.output import json_text, note
from dsx.cli.streams import prepare_streams
from dsx.cli.terminal import echo
from dsx.client.paths import local
from dsx.core.errors import DSXError, Invalid

app = typer.Typer(
    name="dsx",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(serve.serve)
app.command()(upload.upload)
app.command()(files.download)
app.command("list")(files.list_files)
app.command("ls", hidden=True)(files.list_files)
app.command()(files.delete)
app.command("rm", hidden=True)(files.delete)
app.command()(files.versions)
app.add_typer(trash.app, name="trash")
app.add_typer(tasks.app, name="tasks")
app.command("datasets")(datasets.list_datasets)
app.command()(datasets.manifest)
app.command()(datasets.fetch)
app.add_typer(cache.app, name="cache")
app.command()(login.login)
app.command()(login.logout)
app.command()(login.whoami)
app.command()(status.status)
app.command()(shares.share)
app.add_typer(shares.app, name="shares")
app.add_typer(tokens.app, name="tokens")
app.add_typer(users.app, name="users")
app.command()(users.invite)
app.command()(audit.audit)
app.add_typer(secret_keys.app, name="secrets")
app.command()(fsck.fsck)
app.command()(scrub.scrub)
app.command()(config.config)
app.command()(version.version)


@app.callback(epilog=HELP + TABLE)
def root(
    ctx: typer.Context,
    *,
    server: Annotated[str | None, typer.Option(help="URL of the hub. [SERVER_URL]")] = None,
    api_key: Annotated[
        str | None,
        typer.Option(help="API key; visible in the process list. [DSX_API_KEY]"),
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="File that contains the API key.")
    ] = None,
    ca_file: Annotated[
        str | None, typer.Option(help="PEM file of trusted CAs. [DSX_CA_FILE]")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="Section of ~/.config/dsx/config.toml to use.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    _: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=version.shown),
    ] = False,
) -> None:
    """DSX Hub: store files, serve datasets, train from them.

    The options below may also follow the command, before any `--`.

    Examples:

        dsx serve

        dsx upload model.pt --category checkpoints

        dsx fetch imagenet --to ./data
    """
    ctx.obj = Context(
        server=server,
        api_key=api_key or _kept_in(api_key_file),
        ca_file=ca_file,
        profile=profile,
        as_json=json,
        default=ctx.obj,
    )


def _kept_in(path: Path | None) -> str | None:
    if path is None:
        return None
    if not (key := local(path).read_text("utf-8").strip()):
        raise Invalid(f"{path} is empty.")
    return key


_GENERAL = {
    "--server": True,
    "--api-key": True,
    "--api-key-file": True,
    "--ca-file": True,
    "--profile": True,
    "--json": False,
}


def _general_first(arguments: Sequence[str]) -> list[str]:
    """Move the options of `root` before the command, where typer expects them.

    The command may be a flag; see `dsx.cli.flags`.
    """
    general, rest = [], []
    left = iter(arguments)
    for argument in left:
        name, equals, _ = argument.partition("=")
        if argument == "--":
            rest += [argument, *left]
        elif name not in _GENERAL:
            rest.append(argument)
        else:
            general.append(argument)
            if _GENERAL[name] and not equals:
                general += [value for value in (next(left, None),) if value is not None]
    return general + as_command(rest)


def main(arguments: Sequence[str] | None = None, *, server: str = DEFAULT_SERVER) -> int:
    """Run a command and return its exit code.

    Failures are printed on standard error, without a traceback. *server* is the default server.
    """
    given = _general_first(sys.argv[1:] if arguments is None else arguments)
    prepare_streams()
    interrupts.raise_again()
    try:
        app(args=given, prog_name="dsx", obj=server)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            interrupts.tell()
            _leave_stuck_threads()
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        interrupts.tell()
        return INTERRUPTED
    except (DSXError, OSError, ValueError) as error:
        if os.environ.get("DSX_DEBUG"):
            raise
        if "--json" in given:
            echo(json_text(failure(error)), err=True, exactly=True)
        else:
            note(told(error))
        return code_for(error)
    return 0


def _leave_stuck_threads() -> None:
    """Exit immediately if other threads are left, instead of waiting for their timeouts."""
    if threading.active_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
