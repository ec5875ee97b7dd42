"""Datasets in place: directories below a root, served where they lie, indexed incrementally.

The file system is the truth. The index follows it: a request for the manifest first awaits a scan
that began after it, unless the last scan found nothing new and is younger than a second or than
twenty times as long as it took, whichever is more. So a dataset that is being written, and a small
one, are always fresh; a large one at rest answers from the index.
"""

from __future__ import annotations

import asyncio
import mimetypes
import os
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import structlog

from dsx.catalog import datasets as index
from dsx.catalog.engine import Catalog
from dsx.core.content import Content, FileSlice, Piece
from dsx.core.digest import Digest
from dsx.core.errors import Conflict, NotFound
from dsx.core.model import DatasetInfo, ManifestEntry, Micros
from dsx.core.names import check_dataset_name
from dsx.core.principals import Principal
from dsx.hub import access
from dsx.hub.clock import now
from dsx.hub.datasets import scan
from dsx.hub.datasets.beneath import open_file
from dsx.hub.datasets.pack import pack_entries
from dsx.hub.facts import DEFAULT_TYPE

log = structlog.get_logger(__name__)

PAGE = 1000
_HASH_BATCH = 64
_FRESH_SECONDS = 1.0
_FRESH_FACTOR = 20
_CLOCK_STEP = 600  # a last scan this far in the future means that the clock was set back


class Datasets:
    """The datasets below one root. They are the operator's; see `access.dataset` for who reads."""

    def __init__(self, catalog: Catalog, root: Path | None, *, everyone: bool = True) -> None:
        """Serve the directories in *root*; None: there are no datasets.

        *everyone*: all accounts may read them, else only those with whom they are shared.
        """
        self._everyone = everyone
        self._catalog = catalog
        self._root = root
        self._scans: dict[str, asyncio.Task[None]] = {}

    async def names(self, principal: Principal) -> Sequence[str]:
        """The names of the datasets that the principal may read, sorted."""
        names = await asyncio.to_thread(self._names)
        return [name for name in names if await self._readable(principal, name)]

    async def list(self, principal: Principal) -> Sequence[DatasetInfo]:
        """The datasets that the principal may read; does not wait for scans."""
        return [await self.info(principal, name) for name in await self.names(principal)]

    async def info(self, principal: Principal, dataset: str) -> DatasetInfo:
        """How large a dataset is and how far its index; starts a scan if one is due."""
        await self._admit(principal, dataset)
        await self._directory(dataset)
        if await self._stale(dataset, now()):
            self._scan_in_background(dataset)
        last = await self._catalog.read(partial(index.scan_of, dataset=dataset))
        totals = await self._catalog.read(partial(index.totals, dataset=dataset))
        scanned = last.scanned if last else None
        if scanned is None:
            state = "indexing"
        else:
            state = "ready" if totals.hashed == totals.files else "hashing"
        done = totals.files if scanned is None else totals.hashed
        return DatasetInfo(dataset, totals.files, totals.size, state, done, totals.files, scanned)

    async def manifest_etag(self, principal: Principal, dataset: str) -> str:
        """The validator of the manifest as it is now, after a scan if one is due."""
        await self._admit(principal, dataset)
        await self.refresh(dataset)
        last = await self._catalog.read(partial(index.scan_of, dataset=dataset))
        return f"{last.generation if last else 0:x}"

    async def manifest(self, dataset: str) -> AsyncIterator[Sequence[ManifestEntry]]:
        """All entries by path, a page at a time, from the index."""
        after = ""
        while page := await self._catalog.read(
            partial(index.page, dataset=dataset, after=after, limit=PAGE)
        ):
            yield page
            after = page[-1].path

    async def content(self, principal: Principal, dataset: str, path: str) -> Content:
        """What a download of one file sends; `NotFound` names the path."""
        await self._admit(principal, dataset)
        root, status = await asyncio.to_thread(self._look_up, dataset, path)
        known = await self._catalog.read(partial(index.known, dataset=dataset, paths=[path]))
        etag = index.etag(status.st_size, status.st_mtime_ns)
        indexed = known.get(path)
        return Content(
            size=status.st_size,
            content_type=mimetypes.guess_type(path)[0] or DEFAULT_TYPE,
            etag=etag,
            modified=status.st_mtime_ns // 1000,
            filename=path.rsplit("/", 1)[-1],
            digest=indexed.sha256 if indexed and indexed.etag == etag else None,
            pieces=partial(_pieces, root, path, status),
        )

    async def pack(
        self, principal: Principal, dataset: str, paths: Sequence[str] | None, start: int = 0
    ) -> AsyncIterator[bytes]:
        """A TAR of *paths* in that order (None: all, by path), from member number *start* on.

        Raises `NotFound` before the first byte if a path is unknown; ``details["missing"]`` has
        the first ten. If a file goes or changes while it is being sent, the stream breaks.
        """
        await self._admit(principal, dataset)
        root = await self._directory(dataset)
        if paths is None:
            await self.refresh(dataset)
            pages = _skip(self.manifest(dataset), start)
        else:
            await self._require(dataset, root, paths)
            pages = self._entries(dataset, root, paths[start:])
        return pack_entries(root, pages)

    async def refresh(self, dataset: str) -> None:
        """Wait until the index is fresh."""
        await self._directory(dataset)
        asked = now()
        while await self._stale(dataset, asked):  # the scan that was running may have missed some
            await asyncio.shield(self._scan_in_background(dataset))

    async def reconcile(self) -> None:
        """Scan every dataset, forget those that are gone, fill in missing SHA-256s."""
        present = await asyncio.to_thread(self._names)
        for dataset in await self._catalog.read(index.names):
            if dataset not in present:
                await self._catalog.write(partial(index.drop_dataset, dataset=dataset))
        for dataset in present:
            await self.refresh(dataset)
            await self._hash_pending(dataset)

    async def _admit(self, principal: Principal, dataset: str) -> None:
        """Raise `Denied` or `NotFound` unless the principal may read that dataset."""
        access.require(principal, "read", links=True)
        if not await self._readable(principal, dataset):
            raise access.hidden(_unknown(dataset))

    async def _readable(self, principal: Principal, dataset: str) -> bool:
        if self._everyone and principal.places is None and "read" in principal.scopes:
            return True
        return await self._catalog.read(
            lambda connection: access.dataset(
                connection, principal, dataset, everyone=self._everyone
            )
        )

    def _names(self) -> Sequence[str]:
        if self._root is None:
            return []
        with os.scandir(self._root) as entries:
            names = [entry.name for entry in entries]
        return sorted(name for name in names if _is_dataset(self._root, name))

    async def _directory(self, dataset: str) -> Path:
        return await asyncio.to_thread(self._find, dataset)

    def _look_up(self, dataset: str, path: str) -> tuple[Path, os.stat_result]:
        """The dataset's directory and the file's status, in one turn of a worker thread."""
        root = self._find(dataset)
        return root, _status(root, path)

    def _find(self, dataset: str) -> Path:
        check_dataset_name(dataset)
        root = self._root
        if root is None or not _is_dataset(root, dataset):
            raise _unknown(dataset)
        return root / dataset

    async def _stale(self, dataset: str, asked: Micros) -> bool:
        """Whether who *asked* then needs another scan."""
        last = await self._catalog.read(partial(index.scan_of, dataset=dataset))
        if last is None or last.scanned is None:
            return True
        age = (asked - last.scanned) / 1_000_000
        tolerated = max(_FRESH_SECONDS, _FRESH_FACTOR * last.seconds) if last.settled else 0
        return not -_CLOCK_STEP <= age <= tolerated

    def _scan_in_background(self, dataset: str) -> asyncio.Task[None]:
        """The running scan of *dataset*, begun now if there is none: all who wait share it."""
        if dataset not in self._scans:
            task = asyncio.create_task(self._scan(dataset))
            task.add_done_callback(lambda _: self._scans.pop(dataset, None))
            self._scans[dataset] = task
        return self._scans[dataset]

    async def _scan(self, dataset: str) -> None:
        root = await self._directory(dataset)
        began, begun, seen, written = now(), time.monotonic(), 0, 0
        batches = scan.batches(root)
        while batch := await asyncio.to_thread(next, batches, None):
            seen += len(batch)
            written += await self._index(dataset, root, batch)
        gone = 0
        totals = await self._catalog.read(partial(index.totals, dataset=dataset))
        if totals.files > seen:
            gone = await self._drop_vanished(dataset, root)
        seconds = time.monotonic() - begun
        changed = bool(written or gone)
        await self._catalog.write(
            partial(
                index.finish_scan, dataset=dataset, changed=changed, began=began, seconds=seconds
            )
        )
        if changed:
            log.info(
                "scanned", dataset=dataset, files=seen, new=written, gone=gone, s=round(seconds, 2)
            )

    async def _index(self, dataset: str, root: Path, batch: Sequence[scan.Found]) -> int:
        paths = [found.path for found in batch]
        known = await self._catalog.read(partial(index.known, dataset=dataset, paths=paths))
        fresh = [found for found in batch if not _same(known.get(found.path), found)]
        if fresh:
            entries = await asyncio.to_thread(scan.describe, root, fresh)
            await self._catalog.write(partial(index.put, dataset=dataset, entries=entries))
        return len(fresh)

    async def _drop_vanished(self, dataset: str, root: Path) -> int:
        dropped = 0
        async for page in self.manifest(dataset):
            gone = await asyncio.to_thread(scan.vanished, root, [entry.path for entry in page])
            if gone:
                await self._catalog.write(partial(index.drop, dataset=dataset, paths=gone))
                dropped += len(gone)
        return dropped

    async def _hash_pending(self, dataset: str) -> None:
        root = await self._directory(dataset)
        after = ""
        while entries := await self._catalog.read(
            partial(index.pending, dataset=dataset, after=after, limit=_HASH_BATCH)
        ):
            digests = await asyncio.to_thread(_digests, root, entries)
            await self._catalog.write(partial(index.set_digests, dataset=dataset, digests=digests))
            after = entries[-1].path

    async def _require(self, dataset: str, root: Path, paths: Sequence[str]) -> None:
        missing: list[str] = []
        for begin in range(0, len(paths), PAGE):
            part = paths[begin : begin + PAGE]
            known = await self._catalog.read(partial(index.known, dataset=dataset, paths=part))
            unknown = [path for path in part if path not in known]
            missing += await asyncio.to_thread(scan.vanished, root, unknown)
        if missing:
            raise NotFound(
                f"There is no file {missing[0]!r} in dataset {dataset!r}.",
                {"missing": missing[:10], "count": len(missing)},
            )

    async def _entries(
        self, dataset: str, root: Path, paths: Sequence[str]
    ) -> AsyncIterator[Sequence[ManifestEntry]]:
        """Entries of *paths*: from the index, or made now for files that are not in it yet."""
        for begin in range(0, len(paths), PAGE):
            part = paths[begin : begin + PAGE]
            known = await self._catalog.read(partial(index.known, dataset=dataset, paths=part))
            for path in part:
                if path not in known:
                    status = await asyncio.to_thread(_status, root, path)
                    known[path] = _provisional(path, status)
            yield [known[path] for path in part]


def _unknown(dataset: str) -> NotFound:
    return NotFound(
        f"There is no dataset {dataset!r}: no directory of that name in DSX_DATASET_PATH.",
        {"dataset": dataset},
    )


def _is_dataset(root: Path, name: str) -> bool:
    if name.startswith(".") or not _utf8(name):
        return False
    resolved = Path(os.path.realpath(root / name))
    return resolved.is_dir() and resolved.is_relative_to(os.path.realpath(root))


def _utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _status(root: Path, path: str) -> os.stat_result:
    descriptor = open_file(root, path)
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


async def _pieces(
    root: Path, path: str, status: os.stat_result, start: int, stop: int
) -> AsyncIterator[Piece]:
    yield FileSlice(partial(_reopen, root, path, status), start, stop - start)


def _reopen(root: Path, path: str, expected: os.stat_result) -> int:
    descriptor = open_file(root, path)
    status = os.fstat(descriptor)
    if (status.st_size, status.st_mtime_ns) != (expected.st_size, expected.st_mtime_ns):
        os.close(descriptor)
        raise Conflict(f"{path!r} changed while it was being read.")
    return descriptor


def _same(known: ManifestEntry | None, found: scan.Found) -> bool:
    return known is not None and (known.size, known.mtime_ns) == (found.size, found.mtime_ns)


def _provisional(path: str, status: os.stat_result) -> ManifestEntry:
    validator = index.etag(status.st_size, status.st_mtime_ns)
    return ManifestEntry(path, status.st_size, "", None, validator, status.st_mtime_ns)


def _digests(root: Path, entries: Sequence[ManifestEntry]) -> list[tuple[ManifestEntry, Digest]]:
    found = ((entry, scan.digest_of_file(root, entry)) for entry in entries)
    return [(entry, digest) for entry, digest in found if digest is not None]


async def _skip(
    pages: AsyncIterator[Sequence[ManifestEntry]], count: int
) -> AsyncIterator[Sequence[ManifestEntry]]:
    async for page in pages:
        rest = page[count:]
        count = max(0, count - len(page))
        if rest:
            yield rest
