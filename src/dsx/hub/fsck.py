"""Proves that catalog and blobs agree: every record has its bytes, all bytes have a record."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from dsx.blobs.contract import BlobStore, Stages
from dsx.catalog import blobs as records
from dsx.catalog import files, uploads, usage
from dsx.catalog.engine import Catalog
from dsx.core.digest import Digest
from dsx.hub.damage import MISSING, Inspector

PAGE = 1000
MAX_LISTED = 1000


@dataclass(slots=True)
class Report:
    """What was found.

    Attributes:
        versions: file versions in the catalog.
        blobs: blobs in the catalog.
        bytes: their sizes together.
        orphans: blobs in the store that no record names: harmless, left by a crash.
        stages: in the store, not of an unfinished upload: left by a crash, or a file coming in.
        miscounted: owners of whom the catalog counts more or less than they have.
        problems: records whose bytes are missing or wrong (the first thousand).
        problem_count: how many there are.
        deep: whether contents were read and hashed.
        repaired: orphans that were removed.
    """

    deep: bool
    versions: int = 0
    blobs: int = 0
    bytes: int = 0
    orphans: int = 0
    stages: int = 0
    miscounted: int = 0
    repaired: int = 0
    problem_count: int = 0
    problems: list[dict[str, str]] = field(default_factory=list)

    def add(self, digest: Digest, problem: str) -> None:
        """Note a problem."""
        self.problem_count += 1
        if len(self.problems) < MAX_LISTED:
            self.problems.append({"digest": digest, "problem": problem})

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self)


async def fsck(
    catalog: Catalog, blobs: BlobStore, *, deep: bool = False, repair: bool = False
) -> Report:
    """Compare catalog and blobs.

    *deep* also reads every blob and compares its SHA-256; what is damaged is marked, as by the
    scrub, and not served any more. *repair* removes orphans and dead
    stages; do it only while no server runs on this store, for it cannot tell an orphan from a blob
    that is being recorded just now.
    """
    report = Report(deep=deep, versions=await catalog.read(files.count))
    inspector = Inspector(catalog, blobs)
    async for page in _recorded(catalog):
        sizes = await blobs.stat([digest for digest, *_ in page])
        for digest, size, sealed, damage in page:
            report.blobs += 1
            report.bytes += size
            if damage is not None:
                report.add(digest, damage)
            elif digest not in sizes:
                report.add(digest, MISSING)
            elif sizes[digest] != size:
                report.add(digest, f"has {sizes[digest]} bytes instead of {size}")
            elif deep and (problem := await inspector.inspect(digest, size, sealed)):
                report.add(digest, problem)
    await _find_orphans(catalog, blobs, report, repair=repair)
    if isinstance(blobs, Stages):
        report.stages = await _unneeded_stages(catalog, blobs, repair=repair)
    wrong = await catalog.read(usage.wrong)
    report.miscounted = len(wrong)
    if repair and wrong:
        await catalog.write(partial(usage.recount, owners=wrong))
    return report


async def _unneeded_stages(catalog: Catalog, stages: Stages, *, repair: bool) -> int:
    found = await stages.stages()
    needed = await catalog.read(partial(uploads.needing_stages, ids=found))
    dead = [id_ for id_ in found if id_ not in needed]
    return len(dead) - (await stages.sweep(dead) if repair else 0)


async def _recorded(catalog: Catalog) -> AsyncIterator[Sequence[records.Recorded]]:
    after = ""
    while page := await catalog.read(partial(records.page, after=after, limit=PAGE)):
        yield page
        after = page[-1][0]


async def _find_orphans(
    catalog: Catalog, blobs: BlobStore, report: Report, *, repair: bool
) -> None:
    after: Digest | None = None
    while page := await blobs.list(after, PAGE):
        after = page[-1]
        orphans = await catalog.read(partial(records.unknown, digests=page))
        report.orphans += len(orphans)
        if repair:
            await blobs.delete(orphans)
            report.repaired += len(orphans)
