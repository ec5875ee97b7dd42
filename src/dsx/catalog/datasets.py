"""The index of datasets served in place: the results of scans.

An index belongs to a data directory, the *place* of the hubs that have the dataset's directory.
Hubs with another one may have another directory of that name, or none. ``generation`` of a dataset
grows with every change of its rows, so it serves as a manifest's ETag.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    delete,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite

from dsx.catalog.schema.content import dataset_files, datasets
from dsx.core.batches import in_batches
from dsx.core.digest import Digest
from dsx.core.model import ManifestEntry, Micros

_PENDING = text("sha256 IS NULL")


@dataclass(frozen=True, slots=True)
class Known:
    """The record of a dataset as a whole.

    Attributes:
        number: the key of its files' rows.
        generation: grows with every change.
        scanned: when its last scan began; None before the first has ended.
        seconds: the duration of that scan.
        settled: whether it found nothing new.
        followed: until when changes are known to have been seen as they happened, if it is watched.
        root: identity of the directory of all datasets at the last scan.
        directory: identity of the dataset's own.
        trouble: why it cannot be scanned at the moment.
        left_out: counts and first paths of skipped files, by reason.
    """

    number: int
    name: str
    generation: int
    scanned: Micros | None
    seconds: float
    settled: bool
    followed: Micros | None
    root: str
    directory: str
    trouble: str | None
    left_out: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Scanned:
    """The result of a completed scan; see `Known`."""

    began: Micros
    seconds: float
    changed: bool
    root: str
    directory: str
    left_out: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Totals:
    """Files of a dataset and their bytes: all, and those that have a SHA-256."""

    files: int
    size: int
    hashed: int
    hashed_size: int


def get(connection: Connection, place: str, name: str) -> Known | None:
    """Return the dataset *name* of *place*, if it is known."""
    query = select(datasets).where(datasets.c.place == place, datasets.c.name == name)
    row = connection.execute(query).first()
    return _known(row) if row else None


def of_place(connection: Connection, place: str) -> list[Known]:
    """Return all known datasets of *place*, by name."""
    query = select(datasets).where(datasets.c.place == place).order_by(datasets.c.name)
    return [_known(row) for row in connection.execute(query)]


def add(connection: Connection, place: str, name: str, at: Micros) -> Known:
    """Return the dataset *name* of *place*, created unless another process has just done so."""
    values = {"place": place, "name": name, "generation": at, "seconds": 0.0, "settled": False}
    rest = {"root": "", "directory": "", "left_out": {}}
    make = insert_postgresql if connection.dialect.name == "postgresql" else insert_sqlite
    connection.execute(make(datasets).values(values | rest).on_conflict_do_nothing())
    found = get(connection, place, name)
    assert found is not None
    return found


def finish_scan(connection: Connection, number: int, scanned: Scanned) -> None:
    """Record the result of a completed scan."""
    grown = func.max if connection.dialect.name == "sqlite" else func.greatest
    connection.execute(
        update(datasets)
        .where(datasets.c.number == number)
        .values(
            generation=grown(datasets.c.generation + 1, scanned.began)
            if scanned.changed
            else datasets.c.generation,
            scanned=scanned.began,
            seconds=scanned.seconds,
            settled=not scanned.changed,
            root=scanned.root,
            directory=scanned.directory,
            trouble=None,
            left_out=dict(scanned.left_out),
        )
    )


def fail_scan(connection: Connection, number: int, trouble: str) -> bool:
    """Record why a dataset cannot be scanned; returns whether that is new."""
    changed = connection.execute(
        update(datasets)
        .where(
            datasets.c.number == number,
            or_(datasets.c.trouble.is_(None), datasets.c.trouble != trouble),
        )
        .values(trouble=trouble, settled=False)
    )
    return changed.rowcount > 0


def follow(connection: Connection, number: int, until: Micros | None) -> None:
    """Record until when changes were seen as they happened; None: it is no longer watched."""
    connection.execute(update(datasets).where(datasets.c.number == number).values(followed=until))


def grow(connection: Connection, number: int) -> None:
    """Record that rows of the dataset have changed outside a scan."""
    connection.execute(
        update(datasets)
        .where(datasets.c.number == number)
        .values(generation=datasets.c.generation + 1)
    )


def totals(connection: Connection, number: int) -> Totals:
    """Return the counts of a dataset's rows."""
    size, hashed = dataset_files.c.size, dataset_files.c.sha256.is_not(None)
    row = connection.execute(
        select(
            func.count(),
            func.coalesce(func.sum(size), 0),
            func.count(dataset_files.c.sha256),
            func.coalesce(func.sum(size).filter(hashed), 0),
        ).where(dataset_files.c.dataset == number)
    ).one()
    return Totals(row[0], int(row[1]), row[2], int(row[3]))


def known(connection: Connection, number: int, paths: Sequence[str]) -> dict[str, ManifestEntry]:
    """Return the entries of the indexed ones of *paths*."""
    found: dict[str, ManifestEntry] = {}
    for batch in in_batches(paths):
        query = select(dataset_files).where(
            dataset_files.c.dataset == number,
            dataset_files.c.path.in_(batch),
        )
        found |= {row.path: _entry(row) for row in connection.execute(query)}
    return found


def stamps(connection: Connection, number: int, paths: Sequence[str]) -> dict[str, str]:
    """Return the validators of the indexed ones of *paths*."""
    rows = (
        connection.execute(
            select(
                dataset_files.c.path,
                dataset_files.c.size,
                dataset_files.c.mtime_ns,
                dataset_files.c.stamp,
            ).where(
                dataset_files.c.dataset == number,
                dataset_files.c.path.in_(batch),
            )
        )
        for batch in in_batches(paths)
    )
    return {path: etag(size, mtime, stamp) for part in rows for path, size, mtime, stamp in part}


def put(connection: Connection, number: int, entries: Sequence[ManifestEntry]) -> None:
    """Record new or changed files."""
    drop(connection, number, [entry.path for entry in entries])
    rows = [
        {
            "dataset": number,
            "path": entry.path,
            "size": entry.size,
            "mtime_ns": entry.mtime_ns,
            "stamp": entry.etag.rpartition("-")[2],
            "hash": entry.hash,
            "sha256": entry.sha256,
        }
        for entry in entries
    ]
    if rows:
        make = insert_postgresql if connection.dialect.name == "postgresql" else insert_sqlite
        connection.execute(make(dataset_files).on_conflict_do_nothing(), rows)


def drop(connection: Connection, number: int, paths: Iterable[str]) -> int:
    """Delete rows of deleted files; returns how many were known."""
    wanted, dropped = list(paths), 0
    for batch in in_batches(wanted):
        dropped += connection.execute(
            delete(dataset_files).where(
                dataset_files.c.dataset == number,
                dataset_files.c.path.in_(batch),
            )
        ).rowcount
    return dropped


def drop_below(connection: Connection, number: int, directory: str) -> int:
    """Delete all rows below a deleted directory; returns how many were known."""
    return connection.execute(
        delete(dataset_files).where(dataset_files.c.dataset == number, *_below(directory))
    ).rowcount


def drop_dataset(connection: Connection, number: int) -> None:
    """Delete a dataset whose directory is gone."""
    connection.execute(delete(dataset_files).where(dataset_files.c.dataset == number))
    connection.execute(delete(datasets).where(datasets.c.number == number))


def page(
    connection: Connection, number: int, after: str, limit: int, below: str = ""
) -> list[ManifestEntry]:
    """Return entries with paths greater than *after*, ascending; *below* a directory, or all."""
    query = (
        select(dataset_files)
        .where(dataset_files.c.dataset == number, dataset_files.c.path > after)
        .order_by(dataset_files.c.path)
        .limit(limit)
    )
    if below:
        query = query.where(*_below(below))
    return [_entry(row) for row in connection.execute(query)]


def pending(connection: Connection, number: int, after: str, limit: int) -> list[ManifestEntry]:
    """Return entries with paths greater than *after* without a SHA-256, ascending."""
    query = (
        select(dataset_files)
        .where(dataset_files.c.dataset == number, dataset_files.c.path > after, _PENDING)
        .order_by(dataset_files.c.path)
        .limit(limit)
    )
    return [_entry(row) for row in connection.execute(query)]


def set_digests(
    connection: Connection, number: int, digests: Sequence[tuple[ManifestEntry, Digest | None]]
) -> int:
    """Set SHA-256s, each only if its file is still indexed as it was when it was read.

    Returns how many were set.
    """
    changed = 0
    for indexed, digest in digests:
        changed += connection.execute(
            update(dataset_files)
            .where(
                dataset_files.c.dataset == number,
                dataset_files.c.path == indexed.path,
                dataset_files.c.size == indexed.size,
                dataset_files.c.mtime_ns == indexed.mtime_ns,
                dataset_files.c.stamp == indexed.etag.rpartition("-")[2],
                dataset_files.c.damaged.is_(None),
            )
            .values(sha256=digest)
        ).rowcount
    if changed:
        grow(connection, number)
    return changed


def to_check(connection: Connection, number: int, after: str, limit: int) -> list[ManifestEntry]:
    """Return undamaged entries with paths greater than *after* and a SHA-256, ascending."""
    columns = dataset_files.c
    query = (
        select(dataset_files)
        .where(
            columns.dataset == number,
            columns.path > after,
            columns.sha256.is_not(None),
            columns.damaged.is_(None),
        )
        .order_by(columns.path)
        .limit(limit)
    )
    return [_entry(row) for row in connection.execute(query)]


def mark(connection: Connection, number: int, entry: ManifestEntry, now: Micros) -> bool:
    """Mark a file as damaged; False if it is not indexed as *entry* any more."""
    columns = dataset_files.c
    same = (
        columns.dataset == number,
        columns.path == entry.path,
        columns.stamp == entry.etag.rpartition("-")[2],
        columns.sha256 == entry.sha256,
        columns.damaged.is_(None),
    )
    return connection.execute(update(dataset_files).where(*same).values(damaged=now)).rowcount > 0


def damaged(
    connection: Connection, number: int, after: str = "", limit: int = 1000
) -> list[tuple[str, int, Micros]]:
    """Return path, size and detection time of damaged files, by path."""
    columns = dataset_files.c
    query = (
        select(columns.path, columns.size, columns.damaged)
        .where(columns.dataset == number, columns.path > after, columns.damaged.is_not(None))
        .order_by(columns.path)
        .limit(limit)
    )
    return [(row.path, row.size, row.damaged) for row in connection.execute(query)]


def etag(size: int, mtime_ns: int, stamp: str) -> str:
    """Return the validator of a file in place: it changes whenever size, time or *stamp* do."""
    return f"{mtime_ns:x}-{size:x}-{stamp}"


def _entry(row: Row[Any]) -> ManifestEntry:
    digest = Digest(row.sha256) if row.sha256 else None
    validator = etag(row.size, row.mtime_ns, row.stamp)
    return ManifestEntry(
        row.path, row.size, row.hash, digest, validator, row.mtime_ns, row.damaged is not None
    )


def _below(directory: str) -> tuple[ColumnElement[bool], ...]:
    """Return the condition that a path begins with *directory* and a slash ("0" follows "/")."""
    return dataset_files.c.path >= f"{directory}/", dataset_files.c.path < f"{directory}0"


def _known(row: Row[Any]) -> Known:
    return Known(
        row.number,
        row.name,
        row.generation,
        row.scanned,
        row.seconds,
        row.settled,
        row.followed,
        row.root,
        row.directory,
        row.trouble,
        row.left_out,
    )
