"""Following tasks: which of them have changed since a follower last looked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from dsx.catalog import tasks as records
from dsx.core.model import Micros
from dsx.hub.clock import SECOND

SETTLED: Micros = 2 * SECOND
"""Transactions that began longer ago have ended."""


class Seen:
    """The tasks that a follower has seen; ``more``: further changes are already waiting."""

    MOST: ClassVar[int] = 200

    def __init__(self) -> None:
        self.since: Micros = 0
        self.more = True
        self._known: dict[str, Micros] = {}

    def rewind(self, instant: Micros) -> None:
        """Handle a clock that may have been set back to *instant*."""
        self.since = min(self.since, instant)

    def pick(self, marks: Sequence[tuple[str, Micros]]) -> list[str]:
        """Return the ids of the first new *marks*, which are then seen."""
        new = [(id_, updated) for id_, updated in marks if self._known.get(id_) != updated]
        chosen = new[: self.MOST]
        self._known.update(chosen)
        self.more = len(new) > self.MOST or len(marks) == records.MARKS
        if chosen:
            self.since = max(self.since, chosen[-1][1])
        elif self.more:  # a full batch with the same time: continue after it
            self.since = marks[-1][1] + SETTLED + 1
        edge = self.since - SETTLED
        self._known = {id_: at for id_, at in self._known.items() if at >= edge}
        return [id_ for id_, _ in chosen]
