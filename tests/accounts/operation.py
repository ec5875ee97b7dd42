"""How to ask a route, for the authorisation matrix."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Op:
    """How to ask a route so that it is done, if it may be.

    `{ref}` and `{also}` stand for the thing that is made for the request, `{fresh}` for a new name,
    `{user}` for the owner's.

    Attributes:
        need: the row of the matrix.
        thing: the kind of thing that is asked for; empty: none.
    """

    need: str
    thing: str = ""
    query: str = ""
    json: Any = None
    data: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
