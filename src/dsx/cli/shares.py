"""``dsx share``, ``dsx shares``: share files with users or by link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dsx.cli.context import Context
from dsx.cli.limits import Days, places, seconds, until
from dsx.cli.output import note
from dsx.cli.prompts import ask_password
from dsx.cli.refs import ByName, ByNumber, Meaning
from dsx.core.errors import Invalid

if TYPE_CHECKING:
    from dsx.client.models import ShareInfo

app = typer.Typer(no_args_is_help=True, help="List and end shares.")


def share(
    ctx: typer.Context,
    file: Annotated[
        str | None, typer.Argument(help="Name, number or id of a file of yours.")
    ] = None,
    *,
    category: Annotated[str | None, typer.Option(help="All files of a category.")] = None,
    prefix: Annotated[
        str | None, typer.Option(help="All files below a prefix, e.g. models/.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="A dataset; for admins.")] = None,
    user: Annotated[
        str | None, typer.Option("--with", help="User to share with; default: a link.")
    ] = None,
    days: Days = None,
    password: Annotated[
        bool, typer.Option("--password", help="Protect the link; prompts for a password.")
    ] = False,
    downloads: Annotated[
        int | None, typer.Option(help="Maximum downloads by the link.", min=1)
    ] = None,
    name: ByName = False,
    number: ByNumber = False,
) -> None:
    """Share files with one user, or with everyone who has the printed link.

    Files added later to a shared category, prefix or dataset are also shared.

    Examples:

        dsx share model.pt --with bob

        dsx share model.pt --days 7 --downloads 10 --password

        dsx share --category checkpoints --with bob
    """
    context = Context.of(ctx)
    limits = places(*([one] if one else None for one in (category, prefix, dataset)))
    if len(limits) + (file is not None) != 1:
        raise Invalid("Name one thing to share: a file, or one of --category, --prefix, --dataset.")
    if user is not None and (password or downloads):
        raise Invalid("--password and --downloads are for links: omit --with.")
    with context.client() as client:
        place = limits[0] if file is None else Meaning(name, number).file(client, file)
        secret = ask_password("Password for the link", confirm=True) if password else None
        made = client.accounts.share(
            place, user, seconds=seconds(days), password=secret, downloads=downloads
        )
    if user is not None:
        context.output.result(made, [f"{user} may read {file or made.place}"])
        return
    context.output.result(made, [str(made.url)])
    if not context.output.as_json:
        note(f"this link is shown only once; to end it: dsx shares end {made.id}")


@app.command("list")
@app.command("ls", hidden=True)
def list_shares(
    ctx: typer.Context,
    *,
    received: Annotated[
        bool, typer.Option("--received", help="Shares you have received instead.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1)] = None,
) -> None:
    """List what you share, oldest first.

    Examples:

        dsx shares list

        dsx shares list --received
    """
    context = Context.of(ctx)
    columns = [
        ("id", lambda share: share.id),
        ("from" if received else "with", lambda share: share.owner if received else _way(share)),
        ("until", _until),
        ("what", lambda share: f"file:{share.name}" if share.name else share.place),
    ]
    with context.client() as client:
        accounts = client.accounts
        found = accounts.received()[:limit] if received else accounts.shares(limit)
        context.output.items(found, columns)


@app.command()
def end(
    ctx: typer.Context,
    ids: Annotated[list[str], typer.Argument(help="Ids from `dsx shares list`.")],
) -> None:
    """End shares, effective immediately.

    Examples:

        dsx shares end 019a9f3c-0000-7000-8000-00000000000b
    """
    context = Context.of(ctx)
    with context.client() as client:
        for id_ in ids:
            client.accounts.end_share(id_)
            context.output.result({"ended": id_}, [f"{id_} has ended"])


def _way(share: ShareInfo) -> str:
    if share.kind == "user":
        return share.grantee or "a deleted user"
    most = "" if share.downloads is None else f" of {share.downloads}"
    locked = ", password" if share.password else ""
    return f"link, used {share.downloaded}{most}{locked}"


def _until(share: ShareInfo) -> str:
    """The expiry of a share, or why it can no longer be used."""
    if not share.there:
        return "deleted"
    if share.downloads is not None and share.downloaded >= share.downloads:
        return "used up"
    return until(share.expires)
