"""Uploads several files: small ones concurrently, large ones in sequence."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from dsx.cli.exits import code_for, told
from dsx.cli.journal import Journal
from dsx.cli.output import Output, human, note
from dsx.cli.selection import Item
from dsx.cli.terminal import Bar
from dsx.client.names import upload_name
from dsx.client.progress import Meter, in_threads
from dsx.client.uploading import PARTS_FROM
from dsx.core import errors
from dsx.core.batches import in_batches
from dsx.core.names import check_file_name

if TYPE_CHECKING:
    from dsx.client.client import DatasetHubClient
    from dsx.client.models import FileInfo

_WORKERS = 8
_LOOKED_UP = 500
_FATAL = (errors.Unauthenticated, errors.Unavailable)  # these would fail all other files too


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored file's record, and whether it is *new* or already existed."""

    info: FileInfo
    new: bool


Outcome = tuple[Item, Stored | Exception]
"""A file with its result, or with the error that storing it raised."""


class Batch:
    """The uploads of one command."""

    def __init__(
        self,
        client: DatasetHubClient,
        items: Sequence[Item],
        facts: dict[str, Any],
        *,
        journal: Journal | None = None,
        always: bool = False,
    ) -> None:
        """Store *items* with the options *facts*, except those recorded in *journal*.

        *always*: also store unchanged files, as new versions.
        """
        self.failed: list[BaseException] = []
        self._always = always
        self._client = client
        self._items = items
        self._facts = facts
        self._journal = journal
        self._meter = Meter(None, None, "")
        self._total = sum(item.size for item in items)
        self._done: dict[Item, int] = {}
        self._stored = self._unchanged = 0
        self._sent = self._misnamed = 0
        self._paused: set[str] = set()
        self._bar: Bar | None = None
        self._lock = threading.Lock()
        self._begun = time.monotonic()

    def run(self, output: Output) -> None:
        """Store all files, printing each result; errors are collected in ``failed``."""
        known = None if any(item.path is None for item in self._items) else self._total
        tried: set[Item] = set()
        with output.bar(known) as self._bar:
            try:
                for item, outcome in self._outcomes():
                    tried.add(item)
                    self._tell(output, item, outcome)
            except _FATAL as error:
                left = len(self._items) - len(tried)
                self.failed.append(error)
                note(f"{told(error)} ({left} of {len(self._items)} files were not stored)")
        if self._misnamed:
            note(self._how_to_name())
        if len(self._items) > 1 and not output.as_json:
            note(self._summary())

    @property
    def percent(self) -> int:
        """Percentage of all bytes that the same command would not send again."""
        done = list(self._done.items())
        kept = sum(size for item, size in done if self._goes_on(item, size))
        return int(100 * kept / self._total) if self._total else 0

    def _goes_on(self, item: Item, done: int) -> bool:
        """Whether another run could skip the *done* bytes of *item*.

        A run that also stores unchanged files knows its finished ones only from its journal.
        """
        if item.path is None or (item.size < PARTS_FROM and done < item.size):
            return False
        if item.size >= PARTS_FROM and done < item.size:
            return True
        if self._always or self._facts["if_absent"]:
            return self._journal is not None and self._journal.has(item)
        return True

    def _outcomes(self) -> Iterator[Outcome]:
        small = [item for item in self._items if item.path and item.size < PARTS_FROM]
        for some in in_batches(small, _LOOKED_UP):
            known = self._present(some)
            jobs = [partial(self._attempt, item, known) for item in some]
            yield from in_threads(jobs, min(_WORKERS, len(jobs)), self._meter)
        large = [item for item in self._items if not item.path or item.size >= PARTS_FROM]
        for some in in_batches(large, _LOOKED_UP):
            known = self._present(some)
            for item in some:
                yield self._attempt(item, known)

    def _present(self, items: Sequence[Item]) -> dict[str, FileInfo]:
        """The hub's current files under the names of *items*, if they are needed."""
        if self._always or self._facts["if_absent"]:
            return {}
        there = [item.name for item in items if item.path is None or item.mtime_ns]
        return self._client.find_if_possible(there)  # a missing file fails without a request

    def _attempt(self, item: Item, known: dict[str, FileInfo]) -> Outcome:
        try:
            check_file_name(upload_name(item.name))
            return item, self._store(item, known)
        except _FATAL:
            raise
        except (errors.DSXError, OSError, ValueError) as error:
            return item, error

    def _store(self, item: Item, known: dict[str, FileInfo]) -> Stored:
        facts = self._known_facts(item) | {"if_changed": False if self._always else known}
        before = known.get(item.name)
        if item.path is None:
            info = self._client.upload(sys.stdin.buffer, item.name, **facts)
        elif (noted := self._known(item)) is not None:
            self._moved(item, item.size, None, "")
            return Stored(noted, new=True)
        else:
            info = self._client.upload(item.path, item.name, **facts)
            if self._journal:
                self._journal.note(item, info.id)
        new = before is None or info.id != before.id
        if not new:
            self._moved(item, item.size, None, "")
        return Stored(info, new=new)

    def _known(self, item: Item) -> FileInfo | None:
        """The file that an earlier run stored for *item*; None if it no longer exists."""
        id_ = self._journal.find(item) if self._journal else None
        if id_ is None:
            return None
        try:
            return self._client.get_by_id(id_)
        except (errors.NotFound, errors.Gone):
            return None

    def _known_facts(self, item: Item) -> dict[str, Any]:
        return {
            **self._facts,
            "progress": partial(self._moved, item),
            "on_state": self._became,
        }

    def _moved(self, item: Item, done: int, _total: int | None, _name: str) -> None:
        self._meter.check()
        with self._lock:
            self._done[item] = done
            if self._bar is not None:
                self._bar(sum(self._done.values()), self._description())

    def _description(self) -> str:
        if self._paused:
            return "paused"
        if len(self._items) == 1:
            return self._items[0].name.rsplit("/", 1)[-1]
        return f"{self._stored}/{len(self._items)} files"

    def _became(self, state: str, name: str, task: str) -> None:
        if state == "paused":
            self._paused.add(task)
            note(f"{name} is paused; to continue: dsx tasks resume {task}")
        elif task in self._paused:
            self._paused.discard(task)
            note(f"{name} resumed")
        if self._bar is not None:
            self._bar(sum(list(self._done.values())), self._description())

    def _tell(self, output: Output, item: Item, outcome: Stored | Exception) -> None:
        if isinstance(outcome, Exception):
            self.failed.append(outcome)
            self._misnamed += not _may_be_named(item.name)
            if output.as_json and len(self._items) > 1:
                failure = {"path": item.label, "error": told(outcome), "code": code_for(outcome)}
                output.result(failure, [])
            text = told(outcome)
            note(text if item.label in text or len(self._items) == 1 else f"{item.label}: {text}")
            return
        info = outcome.info
        self._stored += outcome.new
        self._unchanged += not outcome.new
        self._sent += info.size if outcome.new else 0
        line = f"{info.id}  {info.name}  version {info.version}  {human(info.size)}"
        value = {**info.model_dump(mode="json"), "unchanged": not outcome.new}
        output.result(value, [line if outcome.new else f"{line}  unchanged"])

    def _how_to_name(self) -> str:
        if len(self._items) == 1:
            return "store it under another name with --name, or rename it"
        files = "1 file has a name" if self._misnamed == 1 else f"{self._misnamed} files have names"
        return f"{files} that cannot be stored: rename them, or store each alone, with --name"

    def _summary(self) -> str:
        seconds = max(time.monotonic() - self._begun, 0.001)
        failed = len(self._items) - self._stored - self._unchanged
        counts = f"{self._stored} stored, {self._unchanged} unchanged, {failed} failed"
        rate = f"{human(self._sent)} in {seconds:.1f} s ({human(int(self._sent / seconds))}/s)"
        return f"{len(self._items)} files: {counts}; {rate}"


def _may_be_named(name: str) -> bool:
    try:
        check_file_name(upload_name(name))
    except errors.Invalid:
        return False
    return True
