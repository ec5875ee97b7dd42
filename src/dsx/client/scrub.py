"""The check of stored bytes, for admins."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from dsx.client.http import Connection
from dsx.client.models import Answer

SCRUB = "/api/v1/scrub"


class CycleInfo(Answer):
    """One pass over all stored bytes; ``ended`` is None while it is running."""

    begun: datetime
    ended: datetime | None
    checked: int
    checked_bytes: int
    found: int


class KindInfo(Answer):
    """The progress of checking one kind of stored bytes."""

    name: str
    running: bool
    requested: bool
    total: int
    total_bytes: int
    cycle: CycleInfo | None
    last: CycleInfo | None


class ScrubInfo(Answer):
    """The progress of the check; ``damaged`` counts the blobs not repaired yet."""

    days: float | None
    rate: int | None
    damaged: int
    damaged_in_place: int = 0
    kinds: list[KindInfo]


class DamagedFile(Answer):
    """A file version whose bytes are damaged."""

    id: str
    owner: str
    name: str
    version: int


class FindingInfo(Answer):
    """A damaged blob, its problem, and the first ten file versions that use it."""

    sha256: str
    size: int
    problem: str
    found: datetime
    files: list[DamagedFile]


class DatasetFinding(Answer):
    """A dataset file whose bytes were corrupted: they changed but its size and time did not."""

    dataset: str
    path: str
    size: int
    found: datetime


class ScrubOperations:
    """Scrub operations of the client: ``client.scrub``."""

    def __init__(self, connection: Connection) -> None:
        """Use the server of *connection*."""
        self._connection = connection

    def status(self) -> ScrubInfo:
        """Return the progress of the check."""
        return ScrubInfo.read(self._connection.json("GET", SCRUB))

    def start(self) -> ScrubInfo:
        """Start a full check; return immediately."""
        return ScrubInfo.read(self._connection.json("POST", SCRUB))

    def findings(self) -> Iterator[FindingInfo]:
        """Iterate over damaged blobs, by digest."""
        after: str | None = ""
        while after is not None:
            items, after = self._connection.page(
                "GET", f"{SCRUB}/findings", params={"after": after}
            )
            for item in items:
                yield FindingInfo.read(item)

    def dataset_findings(self) -> list[DatasetFinding]:
        """Return the first thousand damaged files of datasets."""
        items, _ = self._connection.page("GET", f"{SCRUB}/findings/datasets")
        return [DatasetFinding.read(item) for item in items]
