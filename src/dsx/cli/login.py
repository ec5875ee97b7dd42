"""``dsx login``, ``logout``, ``whoami``: a token stored for later commands."""

from __future__ import annotations

import getpass
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from dsx.cli import profiles
from dsx.cli.context import DEFAULT_SERVER, KEY_VARIABLES, SERVER_VARIABLES, Context
from dsx.cli.limits import Days, seconds
from dsx.cli.output import note
from dsx.cli.prompts import ask_password
from dsx.cli.status import usage_text
from dsx.client.paths import local
from dsx.core.errors import Denied, DSXError, NotFound, Unauthenticated

if TYPE_CHECKING:
    from dsx.client.client import DatasetHubClient
    from dsx.client.models import TokenInfo

_PATIENCE = (5.0, 20.0)
_LONGEST = 100  # characters of a token's name


def login(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="Account name; default: prompt for it.")
    ] = None,
    *,
    days: Days = None,
) -> None:
    """Sign in: later commands use this server and account.

    Creates a token named after this machine and stores it in the profiles file, readable only by
    you: as `default`, or under the name given with --profile. The password is prompted for, or
    read from standard input if that is not a terminal, and is not stored.

    Examples:

        dsx login --server https://hub.example.org alice

        dsx login --server https://hub.example.org --profile lab alice

        dsx login alice < password.txt
    """
    context = Context.of(ctx)
    server = _server(context)
    name = name or typer.prompt("User name", default=getpass.getuser(), err=True)
    from dsx.client.client import DatasetHubClient  # noqa: PLC0415 (slow to import)

    who = (name, ask_password(f"Password for {name} on {server}"))
    before = profiles.read_all().get(context.profile)
    ca_file = context.ca_file.value
    with DatasetHubClient(server, who, None, ca_file=ca_file, notify=note) as client:
        made, username = _token(client, seconds(days))
        values = {"server": server, "user": username, "token": made.id, "api_key": str(made.token)}
        if ca_file is not None:
            values["ca_file"] = str(local(ca_file).absolute())
        try:
            path = profiles.write(context.profile, values)
        except (DSXError, OSError):
            client.accounts.revoke_token(made)
            raise
    with suppress(DSXError):  # no longer needed; if it cannot be revoked, it is still listed
        _end(before)
    said = {
        "server": server,
        "username": username,
        "profile": context.profile,
        "token": made.id,
    }
    context.output.result(said, [f"signed in to {server} as {username} (stored in {path})"])
    _warn_of_others(context)


def logout(
    ctx: typer.Context,
    *,
    forget: Annotated[
        bool, typer.Option("--forget", help="Forget the token without revoking it.")
    ] = False,
) -> None:
    """Sign out: revoke the token that `dsx login` created, and forget it.

    Examples:

        dsx logout

        dsx logout --profile lab
    """
    context = Context.of(ctx)
    known = profiles.read_all().get(context.profile)
    if known is None or "token" not in known:
        raise NotFound(f"You are not signed in as profile {context.profile!r}: see `dsx login`.")
    if not forget:
        try:
            _end(known)
        except DSXError as error:
            raise type(error)(
                f"{error.message} The token stays valid. `dsx logout --forget` forgets it anyway."
            ) from error
    profiles.write(context.profile, None)
    said = {"server": known.get("server"), "profile": context.profile}
    context.output.result(said, [f"signed out of {known.get('server')}"])


def whoami(ctx: typer.Context) -> None:
    """Show your account, its permissions and its usage.

    Examples:

        dsx whoami
    """
    context = Context.of(ctx)
    with context.client() as client:
        me = client.accounts.whoami()
        usage = None
        with suppress(Denied, NotFound):  # a restricted token, or an older hub
            usage = client.accounts.usage()
    server = context.server.value
    lines = [f"{me.username} on {server}", f"may {', '.join(me.scopes)}"]
    if me.places is not None:
        lines.append(f"limited to {', '.join(map(str, me.places)) or 'nothing'}")
    if usage is not None:
        lines.append(f"uses {usage_text(usage)}")
    used = usage and usage.model_dump(mode="json")
    context.output.result({**me.model_dump(mode="json"), "server": server, "usage": used}, lines)


def _token(client: DatasetHubClient, good_for: float | None) -> tuple[TokenInfo, str]:
    """Create a token with all scopes of the account; return it and the account's name."""
    me = client.accounts.whoami()
    name = f"dsx on {socket.gethostname()}"[:_LONGEST]
    return client.accounts.create_token(name, me.scopes, seconds=good_for), me.username


def _server(context: Context) -> str:
    """Return the server to sign in to; raise `NotFound` if a new profile has none."""
    try:
        server = context.server.value
    except NotFound:
        raise NotFound(
            f"There is no profile {context.profile!r} yet: name its server with --server URL."
        ) from None
    return (server or DEFAULT_SERVER).rstrip("/")


def _end(known: dict[str, str] | None) -> None:
    """Revoke a profile's token, authenticated by itself; ignore one that has already ended."""
    if known is None or not {"server", "token", "api_key"} <= known.keys():
        return
    from dsx.client.client import DatasetHubClient  # noqa: PLC0415 (slow to import)

    with (
        DatasetHubClient(
            known["server"],
            known["api_key"],
            None,
            timeout=_PATIENCE,
            retries=1,
            ca_file=known.get("ca_file"),
        ) as client,
        suppress(NotFound, Unauthenticated),
    ):
        client.accounts.revoke_token(known["token"])


def _warn_of_others(context: Context) -> None:
    """Print a note if later commands will not use the new token by default."""
    if context.profile != profiles.DEFAULT:
        note(f"to use it: dsx --profile {context.profile} …")
        return
    told = [name for name in (*SERVER_VARIABLES, *KEY_VARIABLES) if os.environ.get(name)]
    if told:
        names = " and ".join(told)
        note(f"{names} in the environment takes precedence: unset it to use this account")
