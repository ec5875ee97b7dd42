"""``dsx status``."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from dsx import __version__
from dsx.cli.context import Context
from dsx.cli.output import human, note
from dsx.core.errors import Denied, Unauthenticated

if TYPE_CHECKING:
    from dsx.client.models import UsageInfo


def status(ctx: typer.Context) -> None:
    """Show the server, its version and free space, and who you are.

    Examples:

        dsx status

        dsx --json status
    """
    context = Context.of(ctx)
    with context.client() as client:
        server = client.server_info()
        me = usage = None
        with suppress(Unauthenticated, Denied):  # or a credential for a few files only
            me = client.accounts.whoami()
            usage = client.accounts.usage()
    if server.version and server.version != __version__:
        note(f"The server has version {server.version}, this command {__version__}.")
    url = context.server.value
    nobody = "unknown credential" if context.api_key.value else "not signed in: see `dsx login`"
    free = "unknown" if server.free is None else human(server.free)
    lines = [
        f"server    {url}  (from: {context.server.origin})",
        f"version   {server.version or 'unknown'}",
        f"free      {free}" + (", too little for uploads" if server.storage == "full" else ""),
        f"you       {me.username if me else nobody}",
    ]
    if usage is not None:
        lines.append(f"your use  {usage_text(usage)}")
    result = {
        "server": url,
        **server.model_dump(mode="json"),
        "client_version": __version__,
        "username": me.username if me else None,
        "usage": usage.model_dump(mode="json") if usage else None,
    }
    context.output.result(result, lines)


def usage_text(usage: UsageInfo) -> str:
    """Return what an account stores, and its quotas if it has any."""
    size = human(usage.bytes + usage.staged)
    if usage.quota_bytes is not None:
        size += f" of {human(usage.quota_bytes)}"
    most = "" if usage.quota_files is None else f" of {usage.quota_files}"
    return f"{size}, {usage.files}{most} file versions, trash included"
