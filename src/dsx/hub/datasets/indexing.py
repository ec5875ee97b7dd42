"""Keeps the index of datasets in step with their directories.

The file system is authoritative. Changes are found by scans, and in large datasets on file systems
with notifications (see `follow`) as they happen. A request for a manifest first awaits a scan that
began after it, unless the dataset is watched, or its last scan found nothing new and is younger
than a second or than twice its duration, whichever is more. Files requested by name are looked up
in the file system, and if that differs from the index, the index is updated immediately.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial

import structlog
from sqlalchemy import Connection

from dsx.catalog import datasets as index
from dsx.catalog.database import Catalog
from dsx.core.batches import in_batches
from dsx.core.errors import DSXError, NotFound, NotMounted
from dsx.core.model import ManifestEntry, Micros
from dsx.hub.clock import SECOND, now
from dsx.hub.datasets import scan
from dsx.hub.datasets.beneath import Tree
from dsx.hub.datasets.roots import Root

log = structlog.get_logger(__name__)

PAGE = 1000
_FRESH_SECONDS = 1.0
_FRESH_FACTOR = 2
_FOLLOWED_SECONDS = 15.0  # a dataset counts as watched if recorded within this
_CLOCK_STEP = 600  # a last scan this far in the future means that the clock was set back
_MOST_NOTICED = 5000  # with more paths a scan is cheaper


class Indexing:
    """The index of the datasets in one directory."""

    def __init__(self, catalog: Catalog, root: Root, place: str) -> None:
        """*place*: the owner of the index, see `dsx.catalog.datasets`."""
        self.root = root
        self.surveys: dict[str, scan.Survey] = {}
        self._catalog = catalog
        self._place = place
        self._scans: dict[str, asyncio.Task[None]] = {}
        self._noticed: dict[str, set[str]] = {}
        self._looks: dict[str, asyncio.Task[None]] = {}

    async def known(self, dataset: str) -> index.Known | None:
        """Return the record of *dataset*, if any."""
        return await self._catalog.read(partial(index.get, place=self._place, name=dataset))

    async def number(self, dataset: str) -> int:
        """Return the key of the rows of *dataset*."""
        known = await self.known(dataset)
        if known is None:
            known = await self._catalog.write(
                partial(index.add, place=self._place, name=dataset, at=now())
            )
        return known.number

    async def all_known(self) -> list[index.Known]:
        """Return the records of all datasets of this data directory."""
        return await self._catalog.read(partial(index.of_place, place=self._place))

    async def names(self) -> Sequence[str]:
        """Return the names of all datasets, sorted, including those not available at the moment."""
        try:
            names = await asyncio.to_thread(self.root.names)
        except NotMounted:
            names = [known.name for known in await self.all_known()]
            if not names:
                raise
        else:
            if not names and self.root.directory is not None:
                return [known.name for known in await self._displaced()]
        return names

    async def tree(self, dataset: str) -> Tree:
        """Return the files of *dataset*.

        Raises `NotFound` if there is none, `NotMounted` if it is not available at the moment.
        """
        try:
            return await asyncio.to_thread(self.root.tree, dataset)
        except NotFound:
            known = await self.known(dataset)
            if (
                known is not None
                and known.scanned is not None
                and self.root.directory is not None
                and await asyncio.to_thread(self.root.is_displaced, known.root)
            ):
                raise NotMounted(
                    f"Dataset {dataset!r} is not available: DSX_DATASET_PATH is empty and is not "
                    "the directory that was indexed. Is something not mounted?"
                ) from None
            raise

    async def refresh(self, dataset: str, asked: Micros | None = None) -> None:
        """Wait until the index is fresh as of *asked*, by default now."""
        asked = now() if asked is None else asked
        while _stale(await self.known(dataset), asked):  # a running scan may have missed some
            await asyncio.shield(self.scanning(dataset))

    def scanning(self, dataset: str) -> asyncio.Task[None]:
        """Return the running scan of *dataset*, started if there is none: all callers share it."""
        if dataset not in self._scans:
            task = asyncio.create_task(self._scan(dataset), name=f"scan {dataset}")
            task.add_done_callback(partial(self._scanned, dataset))
            self._scans[dataset] = task
        return self._scans[dataset]

    def scan_if_due(self, dataset: str, known: index.Known | None) -> None:
        """Start a scan in the background if the index is not fresh."""
        if _stale(known, now()):
            self.scanning(dataset)

    async def scan_afresh(self, dataset: str) -> None:
        """Wait for a scan that begins after this call."""
        if dataset in self._scans:
            await asyncio.wait({self._scans[dataset]})
        await asyncio.shield(self.scanning(dataset))

    async def walked(self, dataset: str) -> AsyncIterator[Sequence[ManifestEntry]]:
        """Yield the entries of a dataset that was never scanned, unordered, as they are found."""
        tree = await self.tree(dataset)
        number = await self.number(dataset)
        batches = scan.batches(tree, survey := scan.Survey())
        while batch := await asyncio.to_thread(next, batches, None):
            await self._index(number, tree, batch, survey)
            paths = [found.path for found in batch]
            entries = await self._catalog.read(partial(index.known, number=number, paths=paths))
            yield sorted(entries.values(), key=lambda entry: entry.path)

    def notice(self, dataset: str, paths: Iterable[str]) -> None:
        """Update *paths*, which differ from the index, immediately, in the background."""
        noticed = self._noticed.setdefault(dataset, set())
        if len(noticed) < _MOST_NOTICED:
            noticed.update(paths)
        if dataset not in self._looks:
            task = asyncio.create_task(self._look_at_noticed(dataset), name=f"look {dataset}")
            task.add_done_callback(partial(self._looked, dataset))
            self._looks[dataset] = task

    async def look(self, dataset: str, paths: Iterable[str]) -> bool:
        """Update the index for *paths*: files, directories, or deleted ones.

        Returns whether anything had changed.
        """
        wanted = list(dict.fromkeys(paths))
        if len(wanted) > _MOST_NOTICED:
            await asyncio.shield(self.scanning(dataset))
            return True
        tree = await self.tree(dataset)
        number, survey = await self.number(dataset), scan.Survey()
        found, directories, gone = await asyncio.to_thread(scan.sort_out, tree, wanted)
        changed = 0
        for part in in_batches(found, PAGE):
            changed += (await self._index(number, tree, part, survey))[0]
        for directory in directories:
            changed += await self._look_below(number, tree, directory, survey)
        if gone:
            changed += await self._write(partial(_drop, number=number, gone=gone))
        return changed > 0

    async def recheck(self, dataset: str, path: str) -> None:
        """Forget the SHA-256 of a file whose bytes do not match it; the file is read again."""
        known = await self.known(dataset)
        if known is None:
            return
        entries = await self._catalog.read(partial(index.known, number=known.number, paths=[path]))
        if path in entries and entries[path].sha256 is not None:
            log.warning("a file differs from its digest", dataset=dataset, path=path)
            digests = [(entries[path], None)]
            await self._catalog.write(
                partial(index.set_digests, number=known.number, digests=digests)
            )

    async def scan_all(self) -> None:
        """Scan every dataset, and forget deleted ones. A failure does not affect the others."""
        try:
            present = await asyncio.to_thread(self.root.names)
        except NotMounted as error:
            await self._note_trouble(await self.all_known(), error)
            return
        for known in await self.all_known() if self.root.directory is not None else []:
            if known.name in present:
                continue
            if await asyncio.to_thread(self.root.is_displaced, known.root):
                await self._note_trouble([known], "DSX_DATASET_PATH is empty: is it not mounted?")
            else:
                await self._catalog.write(partial(index.drop_dataset, number=known.number))
                log.info("dataset removed", dataset=known.name)
        for dataset in present:
            try:
                await self.refresh(dataset)
            except (DSXError, OSError) as error:
                log.debug("dataset not scanned", dataset=dataset, why=str(error))

    async def aclose(self) -> None:
        """End background work."""
        tasks = [*self._scans.values(), *self._looks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _scanned(self, dataset: str, task: asyncio.Task[None]) -> None:
        self._scans.pop(dataset, None)
        if not task.cancelled():
            task.exception()  # waiters get it; the catalog records it anyway

    def _looked(self, dataset: str, task: asyncio.Task[None]) -> None:
        self._looks.pop(dataset, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("changes not indexed", dataset=dataset, why=str(error))

    async def _look_at_noticed(self, dataset: str) -> None:
        while paths := self._noticed.pop(dataset, None):
            await self.look(dataset, paths)

    async def _displaced(self) -> list[index.Known]:
        return [
            known
            for known in await self.all_known()
            if await asyncio.to_thread(self.root.is_displaced, known.root)
        ]

    async def _scan(self, dataset: str) -> None:
        try:
            tree = await self.tree(dataset)
            await self._scan_tree(dataset, tree)
        except NotMounted as error:
            await self._note_trouble(await self._if_known(dataset), error)
            raise
        except OSError as error:
            trouble = NotMounted(f"Dataset {dataset!r} cannot be read: {error.strerror}.")
            await self._note_trouble(await self._if_known(dataset), trouble)
            raise trouble from error

    async def _if_known(self, dataset: str) -> list[index.Known]:
        known = await self.known(dataset)
        return [known] if known else []

    async def _scan_tree(self, dataset: str, tree: Tree) -> None:
        number = await self.number(dataset)
        began, begun, seen, fresh = now(), time.monotonic(), 0, 0
        root = await asyncio.to_thread(self.root.identity)
        directory = await asyncio.to_thread(scan.directory_identity, tree.root)
        batches = scan.batches(tree, survey := scan.Survey())
        while batch := await asyncio.to_thread(next, batches, None):
            changed, lost = await self._index(number, tree, batch, survey)
            seen, fresh = seen + len(batch) - lost, fresh + changed
        totals = await self._catalog.read(partial(index.totals, number=number))
        if totals.files and not seen:
            await self._check_emptied(dataset, directory, totals.files)
        gone = await self._drop_vanished(number, tree) if totals.files > seen else 0
        seconds = time.monotonic() - begun
        scanned = index.Scanned(
            began, seconds, bool(fresh or gone), root, directory, survey.left_out
        )
        before = await self.known(dataset)
        await self._catalog.write(partial(index.finish_scan, number=number, scanned=scanned))
        self.surveys[dataset] = survey
        _tell(dataset, before, scanned, files=seen, new=fresh, gone=gone)

    async def _check_emptied(self, dataset: str, directory: str, files: int) -> None:
        """Raise `NotMounted` if the empty directory is not the one that had *files* files."""
        known = await self.known(dataset)
        if known is not None and known.directory != directory:
            raise NotMounted(
                f"The directory of dataset {dataset!r} is empty and is not the one whose "
                f"{files} files are indexed. Is something not mounted?"
            )

    async def _index(
        self, number: int, tree: Tree, batch: Sequence[scan.Found], survey: scan.Survey
    ) -> tuple[int, int]:
        """Record new and changed files; returns how many, and how many cannot be read."""
        paths = [found.path for found in batch]
        stamps = await self._catalog.read(partial(index.stamps, number=number, paths=paths))
        fresh = [found for found in batch if stamps.get(found.path) != found.etag]
        if not fresh:
            return 0, 0
        entries = await asyncio.to_thread(scan.describe, tree, fresh, survey)
        described = {entry.path for entry in entries}
        lost = [found.path for found in fresh if found.path not in described]
        dropped = 0
        if entries or stamps.keys() & set(lost):
            dropped = await self._write(partial(_record, number=number, entries=entries, gone=lost))
        return len(entries) + dropped, len(lost)

    async def _look_below(
        self, number: int, tree: Tree, directory: str, survey: scan.Survey
    ) -> int:
        """Update the index below *directory*; returns how many files had changed."""
        changed = 0
        batches = scan.batches(tree, survey, directory)
        while batch := await asyncio.to_thread(next, batches, None):
            changed += (await self._index(number, tree, batch, survey))[0]
        return changed + await self._drop_vanished(number, tree, directory)

    async def _drop_vanished(self, number: int, tree: Tree, below: str = "") -> int:
        dropped = 0
        after = ""
        while page := await self._catalog.read(
            partial(index.page, number=number, after=after, limit=PAGE, below=below)
        ):
            gone = await asyncio.to_thread(scan.vanished, tree, [entry.path for entry in page])
            if gone:
                dropped += await self._write(partial(_record, number=number, entries=(), gone=gone))
            after = page[-1].path
        return dropped

    async def _write(self, work: Callable[[Connection], int]) -> int:
        """Change rows. Changes undone by a crash are found again, so this is not durable."""
        return await self._catalog.write(work, durable=False)

    async def _note_trouble(self, datasets: Sequence[index.Known], why: object) -> None:
        for known in datasets:
            fail = partial(index.fail_scan, number=known.number, trouble=str(why))
            if known.trouble != str(why) and await self._catalog.write(fail):
                log.warning("a dataset cannot be scanned", dataset=known.name, why=str(why))


def _stale(known: index.Known | None, asked: Micros) -> bool:
    """Return whether a request of *asked* needs another scan."""
    if known is None or known.scanned is None or known.trouble is not None:
        return True
    age = (asked - known.scanned) / SECOND
    if age < -_CLOCK_STEP:
        return True
    if known.followed is not None and abs(asked - known.followed) / SECOND < _FOLLOWED_SECONDS:
        return False
    tolerated = max(_FRESH_SECONDS, _FRESH_FACTOR * known.seconds) if known.settled else 0
    return age > tolerated


def _record(
    connection: Connection, number: int, entries: Sequence[ManifestEntry], gone: Sequence[str]
) -> int:
    """Store *entries*, drop *gone*; returns how many of these were known."""
    index.put(connection, number, entries)
    dropped = index.drop(connection, number, gone)
    index.grow(connection, number)
    return dropped


def _drop(connection: Connection, number: int, gone: Sequence[str]) -> int:
    """Drop deleted files, or everything below deleted directories; returns how many."""
    dropped = index.drop(connection, number, gone)
    for path in gone:
        dropped += index.drop_below(connection, number, path)
    if dropped:
        index.grow(connection, number)
    return dropped


def _tell(dataset: str, before: index.Known | None, scanned: index.Scanned, **counts: int) -> None:
    """Log new findings of a scan."""
    if scanned.changed:
        log.info("scanned", dataset=dataset, **counts, s=round(scanned.seconds, 2))
    left_out = dict(scanned.left_out)
    if left_out != (before.left_out if before else {}):
        for reason, noted in left_out.items():
            log.warning("files left out of a dataset", dataset=dataset, reason=reason, **noted)
    if before is not None and before.trouble is not None:
        log.info("a dataset can be scanned again", dataset=dataset)
