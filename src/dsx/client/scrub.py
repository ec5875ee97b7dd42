"""The checking of stored bytes, for admins."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from dsx.client.http import Connection
from dsx.client.models import Answer

SCRUB = "/api/v1/scrub"


class CycleInfo(Answer):
    """One round over everything; ``ended`` is None while it goes on."""

    begun: datetime
    ended: datetime | None
    checked: int
    checked_bytes: int
    found: int


class KindInfo(Answer):
    """How far one kind of stored bytes is."""

    name: str
    running: bool
    requested: bool
    total: int
    total_bytes: int
    cycle: CycleInfo | None
    last: CycleInfo | None


class ScrubInfo(Answer):
    """How far the checking is; ``damaged`` counts the blobs that are not healed yet."""

    days: float | None
    rate: int | None
    damaged: int
    damaged_in_place: int = 0
    kinds: list[KindInfo]


class DamagedFile(Answer):
    """A version of a file whose bytes are damaged."""

    id: str
    owner: str
    name: str
    version: int


class FindingInfo(Answer):
    """Damaged bytes, what is wrong with them, and the first ten versions that have them."""

    sha256: str
    size: int
    problem: str
    found: datetime
    files: list[DamagedFile]


class DatasetFinding(Answer):
    """A file of a dataset whose bytes have changed by themselves."""

    dataset: str
    path: str
    size: int
    found: datetime


class ScrubOperations:
    """The part of the client that deals with the scrub: ``client.scrub``."""

    def __init__(self, connection: Connection) -> None:
        """The scrub of the server that *connection* leads to."""
        self._connection = connection

    def status(self) -> ScrubInfo:
        """How far it is."""
        return ScrubInfo.read(self._connection.json("GET", SCRUB))

    def start(self) -> ScrubInfo:
        """Have everything checked now; returns at once."""
        return ScrubInfo.read(self._connection.json("POST", SCRUB))

    def findings(self) -> Iterator[FindingInfo]:
        """What is damaged, by digest."""
        after: str | None = ""
        while after is not None:
            items, after = self._connection.page(
                "GET", f"{SCRUB}/findings", params={"after": after}
            )
            for item in items:
                yield FindingInfo.read(item)

    def dataset_findings(self) -> list[DatasetFinding]:
        """Files of datasets that are damaged: the first thousand."""
        items, _ = self._connection.page("GET", f"{SCRUB}/findings/datasets")
        return [DatasetFinding.read(item) for item in items]
