"""Which file a command means by what it was given: a name, a number or an id."""

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
    bool, typer.Option("--name", help="Take them as names, even if they look like numbers or ids.")
]
ByNumber = Annotated[
    bool, typer.Option("--number", help="Take them as numbers or ids, even if files are named so.")
]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the options say about references: that they are names, or numbers, or neither."""

    name: bool = False
    number: bool = False

    def __post_init__(self) -> None:
        if self.name and self.number:
            raise Invalid("--name and --number exclude each other.")

    def files(self, client: DatasetHubClient, refs: Sequence[str]) -> list[FileInfo]:
        """The records that *refs* mean, all of them before anything is done with one."""
        return [self.file(client, ref) for ref in refs]

    def file(self, client: DatasetHubClient, ref: str) -> FileInfo:
        """The record that *ref* means; where both are possible, a person is asked which.

        Raises `NotFound`, and `Invalid` if it is not clear and there is nobody to ask.
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
    both = f"{ref!r} is the name of a file, and the {what} of another one, {numbered.name!r}"
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty()):
        raise Invalid(f"{both}: say which one you mean with --name or --number.")
    meant = {"name": named, "number": numbered}
    answer = ""
    while answer not in meant:
        answer = typer.prompt(f"{both}. Which one do you mean (name, number)", err=True)
    return meant[answer]
