"""Watches large datasets for changes, by the system's notifications.

Small ones are scanned on request instead; and file systems that other machines write to have no
complete notifications.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import structlog
from watchfiles import watch

from dsx.catalog import datasets as index
from dsx.catalog.database import Catalog
from dsx.core.errors import DSXError
from dsx.hub.clock import now
from dsx.hub.datasets.indexing import Indexing
from dsx.hub.datasets.scan import LINKS, directory_identity

log = structlog.get_logger(__name__)

_WORTH_SECONDS = 0.05  # faster scans are cheap enough for each request
_MOST = 64  # datasets: systems limit how many can be watched
_BEAT = 5.0  # seconds between two records that a dataset is watched
_SOON = 0.5  # seconds until one that was watched is watched again
_AGAIN = 600.0  # seconds until a failed watch is retried
_RESCAN_SECONDS, _RESCAN_FACTOR = 60.0, 20  # occasional scans find missed changes
_MOUNTS = Path("/proc/self/mountinfo")
_NOTIFYING = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "ramfs", "reiserfs"}
    | {"tmpfs", "xfs", "zfs"}
)
"""File systems that only this machine writes to, so that every change is notified."""


class Followers:
    """The watchers of the datasets of one data directory."""

    def __init__(self, catalog: Catalog, indexing: Indexing) -> None:
        self._catalog = catalog
        self._indexing = indexing
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._not_before: dict[str, float] = {}

    async def adjust(self) -> None:
        """Begin to watch each dataset for which that is worthwhile."""
        for known in await self._indexing.all_known():
            running = known.name in self._tasks
            if running or len(self._tasks) >= _MOST or known.seconds < _WORTH_SECONDS:
                continue
            if time.monotonic() >= self._not_before.get(known.name, 0):
                await self._begin(known)

    async def aclose(self) -> None:
        """Stop watching."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin(self, known: index.Known) -> None:
        survey = self._indexing.surveys.get(known.name)
        if survey is None or survey.leads_out or len(survey.links) > LINKS:
            return  # a watch follows links, which might lead anywhere
        try:
            tree = await self._indexing.tree(known.name)
        except DSXError:
            return
        if not await asyncio.to_thread(notifies, tree.root):
            return
        task = asyncio.create_task(self._follow(known, tree.root), name=f"follow {known.name}")
        task.add_done_callback(partial(self._ended, known.name))
        self._tasks[known.name] = task

    def _ended(self, dataset: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(dataset, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._not_before[dataset] = time.monotonic() + _AGAIN
            log.warning(
                "cannot watch a dataset, it is scanned instead", dataset=dataset, why=str(error)
            )

    async def _follow(self, known: index.Known, root: Path) -> None:
        watched = await asyncio.to_thread(directory_identity, root)
        try:
            while await asyncio.to_thread(directory_identity, root) == watched:
                try:
                    await self._watch(known, root, watched)
                except FileNotFoundError:
                    # A directory was deleted just when it was about to be watched. Changes
                    # since are unknown, so start again, with a scan.
                    await asyncio.sleep(_SOON)
        finally:
            await asyncio.shield(self._note(known, until=None))

    async def _watch(self, known: index.Known, root: Path, watched: str) -> None:
        """Index changes until another directory than *watched* is at *root*."""
        scanned = beaten = -_RESCAN_SECONDS
        pause = _RESCAN_SECONDS
        async for changed in changes(root):
            if (
                time.monotonic() >= scanned + pause
            ):  # also at first: changes before were not watched
                await asyncio.shield(self._indexing.scan_afresh(known.name))
                scanned = time.monotonic()
                known = await self._indexing.known(known.name) or known  # has its duration
                pause = max(_RESCAN_SECONDS, _RESCAN_FACTOR * known.seconds)
            elif changed:
                await self._take(known.name, changed)
            if time.monotonic() >= beaten + _BEAT:
                if await asyncio.to_thread(directory_identity, root) != watched:
                    return  # another directory is there now
                await self._note(known, until=now())
                beaten = time.monotonic()

    async def _take(self, dataset: str, changed: set[str]) -> None:
        survey = self._indexing.surveys.get(dataset)
        if await self._indexing.look(dataset, changed) and survey is not None and survey.links:
            await self._indexing.look(dataset, survey.links)  # their targets may have changed

    async def _note(self, known: index.Known, until: int | None) -> None:
        await self._catalog.write(
            partial(index.follow, number=known.number, until=until), durable=False
        )


async def changes(root: Path) -> AsyncIterator[set[str]]:
    """Yield paths below *root* with changes, or occasionally none.

    Begins once the system watches. `OSError` or `RuntimeError` if it does not.
    """
    stop = threading.Event()
    told = _told(root, stop)
    with ThreadPoolExecutor(1, thread_name_prefix="follow") as thread:
        loop = asyncio.get_running_loop()
        try:
            while (found := await loop.run_in_executor(thread, next, told, None)) is not None:
                yield found
        finally:
            stop.set()


def _told(root: Path, stop: threading.Event) -> Iterator[set[str]]:
    told = watch(
        root,
        watch_filter=None,
        debounce=500,
        rust_timeout=500,
        stop_event=stop,
        yield_on_timeout=True,
        raise_interrupt=False,
        force_polling=False,
        ignore_permission_denied=True,
    )
    real = Path(os.path.realpath(root))
    for changed in told:
        yield set(_relative(real, (path for _, path in changed)))


def _relative(root: Path, paths: Iterable[str]) -> Iterator[str]:
    """Yield *paths* below *root*; a linked directory is reported by either name."""
    directories: dict[str, str | None] = {}
    for path in paths:
        above, _, name = path.rpartition("/")
        if above not in directories:
            real = Path(os.path.realpath(above))
            inside = real.is_relative_to(root)
            directories[above] = real.relative_to(root).as_posix() if inside else None
        directory = directories[above]
        if directory is not None:
            yield name if directory == "." else f"{directory}/{name}"


def notifies(directory: Path) -> bool:
    """Return whether the system notifies of every change below *directory*.

    Says nothing about mounts further below, or links.
    """
    if directory.is_symlink():
        return False
    try:
        mounts = _MOUNTS.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return False
    place = Path(os.path.realpath(directory))
    kinds = {}
    for line in mounts:  # https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
        fields, _, rest = line.partition(" - ")
        mounted = Path(fields.split()[4].encode().decode("unicode_escape"))
        if mounted.is_relative_to(place) or place.is_relative_to(mounted):
            kinds[mounted] = rest.split()[0]
    below = {kind for mounted, kind in kinds.items() if mounted.is_relative_to(place)}
    above = max((mounted for mounted in kinds if place.is_relative_to(mounted)), default=None)
    return above is not None and ({kinds[above]} | below) <= _NOTIFYING
