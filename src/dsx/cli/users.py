"""``dsx users``, ``dsx invite``: manage accounts; change your own password."""

from __future__ import annotations

import secrets
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsx.cli.context import Context
from dsx.cli.limits import DAY, day
from dsx.cli.output import human, note
from dsx.cli.prompts import ask_password
from dsx.core.errors import Invalid
from dsx.core.sizes import parse_size

if TYPE_CHECKING:
    from dsx.client.models import UserInfo

app = typer.Typer(no_args_is_help=True, help="List, create and change accounts.")


class Role(StrEnum):
    """What an account may do."""

    admin = "admin"
    member = "member"
    reader = "reader"


Name = Annotated[str, typer.Argument(help="The account's name.")]


@app.command("list")
@app.command("ls", hidden=True)
def list_users(
    ctx: typer.Context, *, limit: Annotated[int | None, typer.Option(min=1)] = None
) -> None:
    """List accounts, oldest first.

    Examples:

        dsx users list
    """
    context = Context.of(ctx)
    columns = [
        ("number", lambda user: user.number),
        ("name", lambda user: user.username),
        ("role", lambda user: user.role),
        ("state", lambda user: "disabled" if user.disabled else "active"),
        ("quota", _quota),
        ("since", lambda user: day(user.created)),
    ]
    with context.client() as client:
        context.output.items(client.accounts.users(limit), columns)


@app.command()
def add(
    ctx: typer.Context,
    name: Name,
    *,
    role: Annotated[
        Role | None, typer.Option(help="Its role (set by admins only); default: member.")
    ] = None,
    invite: Annotated[str | None, typer.Option(help="Invitation, if sign-up requires one.")] = None,
    generate: Annotated[
        bool, typer.Option("--generate", help="Generate a password and print it.")
    ] = False,
) -> None:
    """Create an account; prompts for its password.

    Examples:

        dsx users add alice

        dsx users add ci --role reader --generate

        dsx users add bob --invite dsxi_…
    """
    context = Context.of(ctx)
    password = secrets.token_urlsafe(15) if generate else _new_password(name)
    with context.client() as client:
        user = client.accounts.create_user(
            name, password, role=None if role is None else str(role), invite=invite
        )
    lines = [f"{user.username} is {user.role} (number {user.number})"]
    values = user.model_dump(mode="json")
    if generate:
        values["password"] = password
        lines.append(f"password: {password}")
    context.output.result(values, lines)


@app.command("set")
def set_user(
    ctx: typer.Context,
    name: Name,
    *,
    role: Annotated[Role | None, typer.Option(help="New role.")] = None,
    disabled: Annotated[
        bool | None,
        typer.Option("--disable/--enable", help="Block its access; its files are kept."),
    ] = None,
    quota: Annotated[
        str | None, typer.Option(help="Maximum bytes, e.g. 20GiB; `default`: the hub's.")
    ] = None,
    quota_files: Annotated[
        str | None, typer.Option(help="Maximum files; `default`: the hub's.")
    ] = None,
    password: Annotated[bool, typer.Option("--password", help="Prompt for a new one.")] = False,
) -> None:
    """Change an account: your own password or, as an admin, anything.

    A new password or role, or disabling it, ends its sessions and signed tokens.

    Examples:

        dsx users set alice --role reader --quota 20GiB

        dsx users set alice --disable

        dsx users set alice --password
    """
    context = Context.of(ctx)
    facts: dict[str, Any] = {
        "role": None if role is None else str(role),
        "disabled": disabled,
        "quota_bytes": _amount("--quota", quota),
        "quota_files": _amount("--quota-files", quota_files),
    }
    changes = {key: value for key, value in facts.items() if value is not None}
    if not changes and not password:
        raise Invalid("Nothing to change: use --role, --disable, --enable, --quota, --password …")
    with context.client() as client:
        if password:
            if not changes and client.accounts.whoami().username.casefold() == name.casefold():
                changes["current_password"] = ask_password("Your current password")
            changes["password"] = _new_password(name)
        user = client.accounts.change_user(name, **changes)
    context.output.result(user, [f"{user.username}: {_described(user)}"])


@app.command()
def delete(
    ctx: typer.Context,
    name: Name,
    *,
    heir: Annotated[
        str | None, typer.Option(help="User who gets its files; default: the trash.")
    ] = None,
    days: Annotated[
        float | None, typer.Option(help="Days in the trash; default: the hub's.", min=0)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete an account with its tokens, shares, uploads and tasks; for admins.

    Its files go to --heir, or to the trash of the hub's own key.

    Examples:

        dsx users delete alice --heir bob

        dsx users delete alice --days 7 --yes
    """
    context = Context.of(ctx)
    where = f"give its files to {heir}" if heir else "move its files to the trash"
    if not yes and not typer.confirm(f"Delete the account {name} and {where}?"):
        raise Invalid("Nothing was deleted.")
    with context.client() as client:
        gone = client.accounts.delete_user(name, heir=heir, days=days)
    count = f"its {gone.files} files"
    left = f"{gone.heir} has {count}" if gone.heir else f"{count} are in the trash"
    context.output.result(gone, [f"{gone.username} is deleted; {left}"])


def invite(
    ctx: typer.Context,
    *,
    role: Annotated[Role, typer.Option(help="Role of the new account.")] = Role.member,
    days: Annotated[float, typer.Option(help="Days until it expires.", min=0.001)] = 7,
) -> None:
    """Print an invitation to create one account.

    Examples:

        dsx invite

        dsx invite --role reader --days 1
    """
    context = Context.of(ctx)
    with context.client() as client:
        made = client.accounts.invite(str(role), days * DAY)
    context.output.result(made, [str(made.token)])
    if not context.output.as_json:
        note(f"valid until {day(made.expires)}, for one {role}; it is shown only once")


def _new_password(name: str) -> str:
    return ask_password(f"New password for {name}", confirm=True)


def _amount(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    if text == "default":
        return -1
    try:
        return parse_size(text)
    except ValueError as error:
        raise Invalid(f"{option} {text!r}: {error}.") from None


def _quota(user: UserInfo) -> str:
    told = [] if user.quota_bytes is None else [human(user.quota_bytes)]
    told += [] if user.quota_files is None else [f"{user.quota_files} files"]
    return ", ".join(told) or "default"


def _described(user: UserInfo) -> str:
    state = "disabled" if user.disabled else "active"
    return f"{user.role}, {state}, quota {_quota(user)}"
