"""Resolves references to files: names, numbers and ids."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from dsx.core.errors import Invalid, NotFound

if TYPE_CHECKING:
    from dsx.client.client import DatasetHubClient
    from dsx.client.models import FileInfo

ByName = Annotated[
    bool, typer.Option("--name", help="Arguments are names, even if they look like numbers or ids.")
]
ByNumber = Annotated[
    bool,
    typer.Option("--number", help="Arguments are numbers or ids, even if files have such names."),
]


@dataclass(frozen=True, slots=True)
class Meaning:
    """How to interpret references: as names, as numbers or ids, or as either."""

    name: bool = False
    number: bool = False

    def __post_init__(self) -> None:
        if self.name and self.number:
            raise Invalid("--name and --number cannot be combined.")

    def files(self, client: DatasetHubClient, refs: Sequence[str]) -> list[FileInfo]:
        """Resolve all *refs* to records."""
        return [self.file(client, ref) for ref in refs]

    def file(self, client: DatasetHubClient, ref: str) -> FileInfo:
        """Resolve *ref* to a record; if it is ambiguous, ask on the terminal.

        Raises `NotFound`, and `Invalid` if it is ambiguous and there is no terminal.
        """
        from dsx.client.files import may_be_id  # noqa: PLC0415 (slow to import)

        if self.name:
            return client.find(ref)
        if self.number:
            return client.get_by_id(ref)
        if not may_be_id(ref):
            return client.find(ref)
        try:
            numbered = client.get_by_id(ref)
        except NotFound:
            return client.find(ref)
        try:
            named = client.find(ref)
        except NotFound:
            return numbered
        return named if named.id == numbered.id else _asked(ref, named, numbered)


def _asked(ref: str, named: FileInfo, numbered: FileInfo) -> FileInfo:
    what = "number" if ref.isdecimal() else "id"
    both = f"{ref!r} is the name of one file and the {what} of another, {numbered.name!r}"
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty()):
        raise Invalid(f"{both}: use --name or --number.")
    meant = {"name": named, "number": numbered}
    answer = ""
    while answer not in meant:
        answer = typer.prompt(f"{both}. Which one do you mean (name, number)", err=True)
    return meant[answer]
