"""The index of datasets served in place: what a scan of the directory found.

``generation`` of a dataset grows with every change of its rows, so it makes a manifest's ETag.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, text, update

from dsx.catalog.schema import dataset_files, datasets
from dsx.core.digest import Digest
from dsx.core.model import ManifestEntry, Micros

_PENDING = text("sha256 IS NULL")


@dataclass(frozen=True, slots=True)
class Scan:
    """What is known of a dataset as a whole.

    *scanned* is when its last scan began, *seconds* how long that took; *settled* says that it
    found nothing new.
    """

    generation: int
    scanned: Micros | None
    seconds: float
    settled: bool


@dataclass(frozen=True, slots=True)
class Totals:
    """Files of a dataset, their bytes, and how many have a SHA-256."""

    files: int
    size: int
    hashed: int


def scan_of(connection: Connection, dataset: str) -> Scan | None:
    """The last scan of *dataset*; None: it was never scanned."""
    row = connection.execute(select(datasets).where(datasets.c.name == dataset)).first()
    return Scan(row.generation, row.scanned, row.seconds, row.settled) if row else None


def names(connection: Connection) -> list[str]:
    """Every dataset that was ever scanned and not dropped."""
    return list(connection.execute(select(datasets.c.name)).scalars())


def finish_scan(
    connection: Connection, dataset: str, *, changed: bool, began: Micros, seconds: float
) -> None:
    """Note that a scan has ended, when it began, and whether it changed any row."""
    before = scan_of(connection, dataset)
    if before is None:
        values = {"generation": began, "scanned": began, "seconds": seconds, "settled": False}
        connection.execute(insert(datasets).values(name=dataset, **values))
        return
    connection.execute(
        update(datasets)
        .where(datasets.c.name == dataset)
        .values(
            generation=max(began, before.generation + 1) if changed else before.generation,
            scanned=began,
            seconds=seconds,
            settled=not changed,
        )
    )


def totals(connection: Connection, dataset: str) -> Totals:
    """Counts of *dataset*'s rows."""
    row = connection.execute(
        select(
            func.count(), func.coalesce(func.sum(dataset_files.c.size), 0),
            func.count(dataset_files.c.sha256),
        ).where(dataset_files.c.dataset == dataset)
    ).one()  # fmt: skip
    return Totals(row[0], int(row[1]), row[2])


def known(connection: Connection, dataset: str, paths: Sequence[str]) -> dict[str, ManifestEntry]:
    """The entries of those of *paths* (at most a few thousand) that are indexed."""
    query = select(dataset_files).where(
        dataset_files.c.dataset == dataset, dataset_files.c.path.in_(paths)
    )
    return {row.path: entry(*row) for row in connection.execute(query)}


def put(connection: Connection, dataset: str, entries: Sequence[ManifestEntry]) -> None:
    """Record new or changed files."""
    drop(connection, dataset, [entry.path for entry in entries])
    rows = [
        {
            "dataset": dataset,
            "path": entry.path,
            "size": entry.size,
            "mtime_ns": entry.mtime_ns,
            "hash": entry.hash,
            "sha256": entry.sha256,
        }
        for entry in entries
    ]
    if rows:
        connection.execute(insert(dataset_files), rows)


def drop(connection: Connection, dataset: str, paths: Iterable[str]) -> None:
    """Forget files that are gone."""
    wanted = list(paths)
    for start in range(0, len(wanted), 500):
        connection.execute(
            delete(dataset_files).where(
                dataset_files.c.dataset == dataset,
                dataset_files.c.path.in_(wanted[start : start + 500]),
            )
        )


def drop_dataset(connection: Connection, dataset: str) -> None:
    """Forget a dataset whose directory is gone."""
    connection.execute(delete(dataset_files).where(dataset_files.c.dataset == dataset))
    connection.execute(delete(datasets).where(datasets.c.name == dataset))


def page(connection: Connection, dataset: str, after: str, limit: int) -> list[ManifestEntry]:
    """Entries with paths greater than *after*, ascending."""
    query = (
        select(dataset_files)
        .where(dataset_files.c.dataset == dataset, dataset_files.c.path > after)
        .order_by(dataset_files.c.path)
        .limit(limit)
    )
    return [entry(*row) for row in connection.execute(query)]


def pending(connection: Connection, dataset: str, after: str, limit: int) -> list[ManifestEntry]:
    """Entries with paths greater than *after* whose SHA-256 is not known yet, ascending."""
    query = (
        select(dataset_files)
        .where(dataset_files.c.dataset == dataset, dataset_files.c.path > after, _PENDING)
        .order_by(dataset_files.c.path)
        .limit(limit)
    )
    return [entry(*row) for row in connection.execute(query)]


def set_digests(
    connection: Connection, dataset: str, digests: Sequence[tuple[ManifestEntry, Digest]]
) -> None:
    """Fill in SHA-256s, each only if its file is still indexed as it was when it was read."""
    changed = 0
    for indexed, digest in digests:
        changed += connection.execute(
            update(dataset_files)
            .where(
                dataset_files.c.dataset == dataset,
                dataset_files.c.path == indexed.path,
                dataset_files.c.size == indexed.size,
                dataset_files.c.mtime_ns == indexed.mtime_ns,
            )
            .values(sha256=digest)
        ).rowcount
    if changed:
        connection.execute(
            update(datasets)
            .where(datasets.c.name == dataset)
            .values(generation=datasets.c.generation + 1)
        )


def etag(size: int, mtime_ns: int) -> str:
    """The validator of a file served in place: it changes whenever size or time do."""
    return f"{mtime_ns:x}-{size:x}"


def entry(
    _dataset: str, path: str, size: int, mtime_ns: int, hash_: str, sha256: str | None
) -> ManifestEntry:
    """A row as an entry."""
    digest = Digest(sha256) if sha256 else None
    return ManifestEntry(path, size, hash_, digest, etag(size, mtime_ns), mtime_ns)
