"""``dsx audit``: the audit log of actions and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dsx.cli.context import Context

if TYPE_CHECKING:
    from dsx.client.models import AuditInfo

_LIMIT = 100


def audit(
    ctx: typer.Context,
    *,
    user: Annotated[str | None, typer.Option(help="Only entries of this user.")] = None,
    refused: Annotated[bool, typer.Option("--refused", help="Only refusals.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of entries.")] = _LIMIT,
) -> None:
    """List audit log entries, newest first; admins see everyone's, others their own.

    Examples:

        dsx audit --refused

        dsx audit --user alice --limit 1000 --json
    """
    context = Context.of(ctx)
    columns = [
        ("at", lambda entry: entry.at.strftime("%Y-%m-%d %H:%M:%S")),
        ("user", lambda entry: entry.username or entry.principal or "-"),
        ("from", lambda entry: entry.address or "-"),
        ("outcome", lambda entry: entry.outcome),
        ("action", lambda entry: entry.action),
        ("target", _target),
    ]
    with context.client() as client:
        found = client.accounts.audit(limit, user=user, refused=refused)
        context.output.items(found, columns)


def _target(entry: AuditInfo) -> str:
    """The target of an entry; for counted refusals, each target with its count."""
    seen = entry.details.get("seen", {entry.target: entry.details.get("count", 1)})
    return ", ".join(name if count == 1 else f"{name} ({count})" for name, count in seen.items())
