"""``dsx version``."""

from __future__ import annotations

import platform

import typer

from dsx import __version__
from dsx.cli.context import Context
from dsx.cli.terminal import echo


def shown(wanted: bool) -> None:
    """Print the version and end, if that is *wanted*."""
    if wanted:
        echo(f"dsx {__version__}")
        raise typer.Exit


def version(ctx: typer.Context) -> None:
    """Print the version.

    Examples:

        dsx version
    """
    facts = {"dsx": __version__, "python": platform.python_version()}
    Context.of(ctx).output.result(facts, [f"dsx {__version__} (Python {facts['python']})"])
