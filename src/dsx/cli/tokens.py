"""``dsx tokens``: credentials for programs."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from dsx.cli.context import Context
from dsx.cli.limits import Category, Dataset, Days, Prefix, day, places, seconds, until
from dsx.cli.output import note

app = typer.Typer(no_args_is_help=True, help="Create, list and revoke your tokens.")


class Scope(StrEnum):
    """What a token may allow."""

    read = "read"
    write = "write"
    delete = "delete"
    admin = "admin"


@app.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A name to recognize it by.")],
    *,
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it allows; repeatable; default: read.")
    ] = None,
    category: Category = None,
    prefix: Prefix = None,
    dataset: Dataset = None,
    days: Days = None,
) -> None:
    """Create a token for a program and print it; it is shown only once.

    With --category, --prefix or --dataset, each of them repeatable, the token is limited to these
    resources.

    Examples:

        dsx tokens create laptop --scope read --scope write

        dsx tokens create ci --category checkpoints --scope write --days 30

        DSX_API_KEY=$(dsx tokens create train --dataset imagenet) dsx fetch imagenet
    """
    context = Context.of(ctx)
    scopes = [str(one) for one in scope or [Scope.read]]
    limits = places(category, prefix, dataset) or None
    with context.client() as client:
        made = client.accounts.create_token(name, scopes, places=limits, seconds=seconds(days))
    context.output.result(made, [str(made.token)])
    if not context.output.as_json:
        note(f"this token is shown only once; to end it: dsx tokens revoke {made.id}")


@app.command("list")
@app.command("ls", hidden=True)
def list_tokens(ctx: typer.Context) -> None:
    """List your tokens, and when each was last used.

    Examples:

        dsx tokens list
    """
    context = Context.of(ctx)
    columns = [
        ("id", lambda token: token.id),
        ("allows", lambda token: ",".join(token.scopes)),
        ("in", lambda token: ",".join(map(str, token.places or ["everywhere"]))),
        ("last used", lambda token: day(token.used)),
        ("valid until", lambda token: until(token.expires)),
        ("name", lambda token: token.name),
    ]
    with context.client() as client:
        context.output.items(client.accounts.tokens(), columns)


@app.command()
def revoke(
    ctx: typer.Context,
    ids: Annotated[list[str], typer.Argument(help="Ids from `dsx tokens list`.")],
) -> None:
    """Revoke tokens, effective immediately.

    Examples:

        dsx tokens revoke 019a9f3c-0000-7000-8000-00000000000b
    """
    context = Context.of(ctx)
    with context.client() as client:
        for id_ in ids:
            client.accounts.revoke_token(id_)
            context.output.result({"revoked": id_}, [f"{id_} has ended"])
