"""Options shared by the commands for tokens, shares and login: resources and lifetime."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from dsx.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsx.client.models import PlaceInfo

DAY = 24 * 3600.0
Days = Annotated[float | None, typer.Option("--days", help="Lifetime in days; default: unlimited.")]
Category = Annotated[list[str] | None, typer.Option("--category", help="Files of this category.")]
Prefix = Annotated[
    list[str] | None, typer.Option("--prefix", help="Files below a prefix, e.g. models/.")
]
Dataset = Annotated[list[str] | None, typer.Option("--dataset", help="This dataset.")]


def seconds(days: float | None) -> float | None:
    """Return *days* in seconds; raise `Invalid` unless it is positive."""
    if days is not None and not days > 0:
        raise Invalid("--days must be greater than 0.")
    return None if days is None else days * DAY


def day(time: datetime | None, otherwise: str = "never") -> str:
    """Format a date for a table."""
    return otherwise if time is None else time.strftime("%Y-%m-%d")


def until(expires: datetime | None) -> str:
    """Format an expiry date for a table."""
    if expires is None:
        return "no end"
    return day(expires) if expires > datetime.now(UTC) else "ended"


def places(
    categories: Sequence[str] | None, prefixes: Sequence[str] | None, datasets: Sequence[str] | None
) -> list[PlaceInfo]:
    """Return the resources that the options name."""
    from dsx.client.models import PlaceInfo  # noqa: PLC0415 (slow to import)

    told = (("category", categories), ("prefix", prefixes), ("dataset", datasets))
    return [PlaceInfo(kind=kind, value=value) for kind, values in told for value in values or ()]
