"""Datasets in place: directories below a root, served directly.

The file system is authoritative; the index follows it, see `indexing`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dsx.catalog import datasets as index
from dsx.catalog.database import Catalog
from dsx.core.batches import in_batches
from dsx.core.content import Content, FileSlice, Piece
from dsx.core.errors import Conflict, NotFound, NotMounted
from dsx.core.media_types import guess_type
from dsx.core.model import DatasetInfo, ManifestEntry, Micros
from dsx.core.principals import Principal
from dsx.hub.accounts import access
from dsx.hub.clock import now
from dsx.hub.datasets import scan
from dsx.hub.datasets.beneath import Tree
from dsx.hub.datasets.checking import Checking, damaged
from dsx.hub.datasets.excluded import Private
from dsx.hub.datasets.follow import Followers
from dsx.hub.datasets.hashing import Hashing
from dsx.hub.datasets.indexing import PAGE, Indexing
from dsx.hub.datasets.pack import pack_entries
from dsx.hub.datasets.roots import Root, unknown

_FIRST_SECONDS = 0.5
"""Seconds a first manifest waits for the first scan; then it is streamed during the scan."""


@dataclass(frozen=True, slots=True)
class DamagedFile:
    """A file whose bytes have changed by themselves, and when that was found."""

    dataset: str
    path: str
    size: int
    found: Micros


class Datasets:
    """The datasets below one root. They belong to the operator; see `access.dataset`."""

    def __init__(
        self,
        catalog: Catalog,
        root: Path | None,
        *,
        place: str = "",
        private: Private | None = None,
        everyone: bool = True,
    ) -> None:
        """Serve the directories in *root*; None: there are no datasets.

        *place*: the owner of the index, if other hubs use the same catalog. *private*: files that
        are part of no dataset. *everyone*: all accounts may read them, else only those with whom
        they are shared.
        """
        self._everyone = everyone
        self._catalog = catalog
        self._indexing = Indexing(catalog, Root(root, private), place)
        self._hashing = Hashing(catalog, self._indexing)
        self._followers = Followers(catalog, self._indexing)
        self.checking = Checking(catalog, self._indexing, place)
        """The datasets for the scrub."""

    async def names(self, principal: Principal) -> Sequence[str]:
        """Return the names of the datasets that the principal may read, sorted."""
        names = await self._indexing.names()
        return [name for name in names if await self._readable(principal, name)]

    async def list(self, principal: Principal) -> Sequence[DatasetInfo]:
        """Return the datasets that the principal may read; does not wait for scans."""
        return [await self._info(name) for name in await self.names(principal)]

    async def info(self, principal: Principal, dataset: str) -> DatasetInfo:
        """Return the size of a dataset and the state of its index; starts a scan if one is due."""
        await self._admit(principal, dataset)
        return await self._info(dataset, must_be_there=True)

    async def manifest_etag(self, principal: Principal, dataset: str) -> str | None:
        """Return the validator of the manifest, after a scan if one is due.

        None if the first scan takes long: the manifest is then made while it is sent.
        """
        await self._admit(principal, dataset)
        await self._indexing.tree(dataset)
        asked = now()
        known = await self._indexing.known(dataset)
        if known is None or known.scanned is None:
            first = self._indexing.scanning(dataset)
            if not (await asyncio.wait({first}, timeout=_FIRST_SECONDS))[0]:
                return None
        await self._indexing.refresh(dataset, asked)
        known = await self._indexing.known(dataset)
        return f"{known.generation if known else 0:x}"

    async def manifest(self, dataset: str) -> AsyncIterator[Sequence[ManifestEntry]]:
        """Yield all entries, a page at a time: by path, from the index, once there is one."""
        known = await self._indexing.known(dataset)
        if known is None or known.scanned is None:
            async for entries in self._indexing.walked(dataset):
                yield entries
            return
        after = ""
        while page := await self._catalog.read(
            partial(index.page, number=known.number, after=after, limit=PAGE)
        ):
            yield page
            after = page[-1].path

    async def content(
        self, principal: Principal, dataset: str, path: str, *, recheck: bool = False
    ) -> Content:
        """Return the content of one file for downloads; `NotFound` names the path.

        *recheck*: the client found that the bytes do not match the digest it received, which is not
        sent again before they have been read anew.
        """
        await self._admit(principal, dataset)
        tree = await self._indexing.tree(dataset)
        if recheck:
            await self._indexing.recheck(dataset, path)
        found = scan.Found.of(path, await asyncio.to_thread(tree.status, path))
        known = await self._known_entry(dataset, found)
        if known is not None and known.damaged:
            raise damaged(dataset, [path])
        return Content(
            size=found.size,
            content_type=guess_type(path),
            etag=found.etag,
            modified=found.mtime_ns // 1000,
            filename=path.rsplit("/", 1)[-1],
            digest=known.sha256 if known else None,
            pieces=partial(_pieces, tree, found),
        )

    async def pack(
        self, principal: Principal, dataset: str, paths: Sequence[str] | None, start: int = 0
    ) -> AsyncIterator[bytes]:
        """Yield a TAR of *paths* in that order (None: all, by path), from member *start* on.

        Raises `NotFound` before the first byte if a path is unknown; ``details["missing"]`` has
        them. A file deleted later is left out; if one changes while it is being sent, the stream
        breaks.
        """
        await self._admit(principal, dataset)
        tree = await self._indexing.tree(dataset)
        if paths is None:
            await self._indexing.refresh(dataset)
            await self._require_intact(dataset, None)
            pages = _skip(self.manifest(dataset), start)
        else:
            wanted = paths[start:]
            await self._require_intact(dataset, wanted)
            await self._require(dataset, tree, wanted)
            pages = self._entries(dataset, wanted)
        return pack_entries(tree, pages, partial(self._differs, dataset))

    async def scan_all(self) -> None:
        """Scan every dataset, forget deleted ones, watch large ones."""
        await self._indexing.scan_all()
        await self._followers.adjust()

    async def hash_pending(self) -> None:
        """Compute missing SHA-256s."""
        await self._hashing.run()

    async def aclose(self) -> None:
        """Stop watching datasets and end background work."""
        self._hashing.stop()
        await self._followers.aclose()
        await self._indexing.aclose()

    async def _info(self, dataset: str, *, must_be_there: bool = False) -> DatasetInfo:
        trouble = None
        try:
            await self._indexing.tree(dataset)
        except NotMounted as error:
            trouble = error.message
        except NotFound:
            if must_be_there:
                raise
        else:
            self._indexing.scan_if_due(dataset, await self._indexing.known(dataset))
        known = await self._indexing.known(dataset)
        if known is None:
            return DatasetInfo(dataset, 0, 0, "unavailable" if trouble else "indexing", 0, 0, None)
        totals = await self._catalog.read(partial(index.totals, number=known.number))
        trouble = trouble or known.trouble
        if known.scanned is None:
            state, done = "indexing", totals.files
        else:
            state = "ready" if totals.hashed == totals.files else "hashing"
            done = totals.hashed
        return DatasetInfo(
            dataset,
            totals.files,
            totals.size,
            "unavailable" if trouble else state,
            done,
            totals.files,
            known.scanned,
            trouble,
            known.left_out,
        )

    async def _admit(self, principal: Principal, dataset: str) -> None:
        """Raise `Denied` or `NotFound` unless the principal may read that dataset."""
        access.require(principal, "read", links=True)
        if not await self._readable(principal, dataset):
            raise access.hidden(unknown(dataset))

    async def _readable(self, principal: Principal, dataset: str) -> bool:
        if self._everyone and principal.places is None and "read" in principal.scopes:
            return True
        return await self._catalog.read(
            lambda connection: access.dataset(
                connection, principal, dataset, everyone=self._everyone
            )
        )

    async def _known_entry(self, dataset: str, found: scan.Found) -> ManifestEntry | None:
        """Return the index entry of a file; an outdated one is updated."""
        known = await self._indexing.known(dataset)
        if known is None:
            return None
        entries = await self._catalog.read(
            partial(index.known, number=known.number, paths=[found.path])
        )
        entry = entries.get(found.path)
        if entry is not None and entry.etag == found.etag:
            return entry
        if known.scanned is not None:
            self._indexing.notice(dataset, [found.path])
        return None

    async def _differs(self, dataset: str, path: str, same: bool) -> None:
        """Handle a packed file that differs from the index, though perhaps of the *same* stamp."""
        if same:
            await self._indexing.recheck(dataset, path)
        else:
            self._indexing.notice(dataset, [path])

    async def _require(self, dataset: str, tree: Tree, paths: Sequence[str]) -> None:
        missing: list[str] = []
        number = await self._indexing.number(dataset)
        for part in in_batches(paths, PAGE):
            known = await self._catalog.read(partial(index.stamps, number=number, paths=part))
            unknown = [path for path in part if path not in known]
            missing += await asyncio.to_thread(scan.vanished, tree, unknown)
        if missing:
            raise NotFound(
                f"There is no file {missing[0]!r} in dataset {dataset!r}.",
                {"missing": missing[:PAGE], "count": len(missing)},
            )

    async def damage(self, principal: Principal, limit: int) -> Sequence[DamagedFile]:
        """Return up to *limit* damaged files; for admins."""
        access.require(principal, "admin")
        return await self._damage(limit)

    async def damaged(self, limit: int) -> int:
        """Return how many files are damaged, counted up to *limit*."""
        return len(await self._damage(limit))

    async def _damage(self, limit: int) -> Sequence[DamagedFile]:
        found: list[DamagedFile] = []
        for known in await self._indexing.all_known():
            some = await self._catalog.read(
                partial(index.damaged, number=known.number, limit=limit - len(found))
            )
            found += [DamagedFile(known.name, *one) for one in some]
        return found

    async def _require_intact(self, dataset: str, paths: Sequence[str] | None) -> None:
        """Raise `Damaged` if some of *paths*, or (None) of all files, are damaged."""
        known = await self._indexing.known(dataset)
        if known is None:
            return
        tree = await self._indexing.tree(dataset)
        hurt: list[str] = []
        after = ""
        wanted = None if paths is None else set(paths)
        while page := await self._catalog.read(
            partial(index.damaged, number=known.number, after=after)
        ):
            after = page[-1][0]
            paths_here = [path for path, *_ in page if wanted is None or path in wanted]
            entries = await self._catalog.read(
                partial(index.known, number=known.number, paths=paths_here)
            )
            left = [entry for entry in entries.values() if entry.damaged]
            changed = set(await asyncio.to_thread(scan.changed, tree, left))
            hurt += [entry.path for entry in left if entry.path not in changed]
        if hurt:
            raise damaged(dataset, hurt)

    async def _entries(
        self, dataset: str, paths: Sequence[str]
    ) -> AsyncIterator[Sequence[ManifestEntry]]:
        """Yield entries of *paths*: from the index, or new for files that are not in it yet."""
        number = await self._indexing.number(dataset)
        for part in in_batches(paths, PAGE):
            known = await self._catalog.read(partial(index.known, number=number, paths=part))
            yield [known.get(path) or ManifestEntry(path, 0, "", None, "", 0) for path in part]


async def _pieces(tree: Tree, found: scan.Found, start: int, stop: int) -> AsyncIterator[Piece]:
    yield FileSlice(partial(_reopen, tree, found), start, stop - start)


def _reopen(tree: Tree, expected: scan.Found) -> int:
    descriptor = tree.open(expected.path)
    if scan.Found.of(expected.path, os.fstat(descriptor)) != expected:
        os.close(descriptor)
        raise Conflict(f"{expected.path!r} changed while it was being read.")
    return descriptor


async def _skip(
    pages: AsyncIterator[Sequence[ManifestEntry]], count: int
) -> AsyncIterator[Sequence[ManifestEntry]]:
    async for page in pages:
        rest = page[count:]
        count = max(0, count - len(page))
        if rest:
            yield rest
