"""Checks that catalog and blobs agree: every record has its bytes, all bytes have a record."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from dsx.blobs.contract import BlobStore, Stages
from dsx.catalog import blobs as records
from dsx.catalog import files, uploads, usage
from dsx.catalog.database import Catalog
from dsx.core.digest import Digest
from dsx.core.errors import Conflict, Unavailable
from dsx.hub.integrity.belonging import Agreement, accept, agreement
from dsx.hub.integrity.damage import MISSING, Inspector
from dsx.hub.integrity.quarantine import Quarantine

PAGE = 1000
MAX_LISTED = 1000
_NAMED = 10
_FEW = 10
_DOUBTFUL = 0.05
"""Maximum share of blobs without a record that is attributed to crashes."""


@dataclass(slots=True)
class Report:
    """The result of a check.

    Attributes:
        versions: file versions in the catalog.
        blobs: blobs in the catalog.
        bytes: total size of these blobs.
        orphans: blobs without a record: left by a crash, or their records are lost.
        blobs_stored: blobs in the store.
        quarantine: blobs in quarantine, including those of this run.
        agreement: ``same``; ``older`` if the catalog is older than the blobs; ``new``: unknown.
        stages: without an unfinished upload: left by a crash, or a file being received.
        miscounted: owners whose usage counters are wrong.
        problems: records whose bytes are missing or wrong (the first thousand).
        problem_count: total number of problems.
        deep: whether contents were read and hashed.
        repaired: orphans put into quarantine.
        reclaimed: blobs with a record that were restored from quarantine.
    """

    deep: bool
    agreement: Agreement = "same"
    versions: int = 0
    blobs: int = 0
    bytes: int = 0
    orphans: int = 0
    stages: int = 0
    miscounted: int = 0
    blobs_stored: int = 0
    quarantine: int = 0
    repaired: int = 0
    reclaimed: int = 0
    problem_count: int = 0
    problems: list[dict[str, Any]] = field(default_factory=list)

    def add(self, digest: Digest, problem: str, names: list[str]) -> None:
        """Add a problem of a blob, which is the content of files of those *names*."""
        self.problem_count += 1
        if len(self.problems) < MAX_LISTED:
            self.problems.append({"digest": digest, "problem": problem, "names": names})

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


async def fsck(
    catalog: Catalog,
    blobs: BlobStore,
    *,
    deep: bool = False,
    repair: bool = False,
    force: bool = False,
) -> Report:
    """Compare catalog and blobs.

    *deep* also reads every blob and compares its SHA-256. Missing or wrong blobs are marked, as by
    the scrub, and no longer served: storing the right bytes again, under any name, repairs them.
    *repair* quarantines orphans, restores blobs that have a record from quarantine, and removes
    dead stages. It raises `Conflict` if the catalog is older than the blobs, or if suspiciously
    many blobs are orphans, unless *force*.
    """
    await catalog.verify(thorough=True)
    if repair and force:
        await accept(catalog, blobs)
    report = Report(deep, await agreement(catalog, blobs), await catalog.read(files.count))
    quarantine = Quarantine(catalog, blobs, days=0)
    orphans = await _orphans(catalog, blobs, report)
    if repair:
        if not force:
            _refuse_doubtful(report)
        report.reclaimed = await quarantine.reclaim()
    await _check_records(catalog, blobs, report)
    if repair:
        report.repaired = await quarantine.set_aside(orphans)
    report.quarantine = await quarantine.count()
    if isinstance(blobs, Stages):
        report.stages = await _unneeded_stages(catalog, blobs, repair=repair)
    wrong = await catalog.read(usage.wrong)
    report.miscounted = len(wrong)
    if repair and wrong:
        await catalog.write(partial(usage.recount, owners=wrong))
    return report


def _refuse_doubtful(report: Report) -> None:
    """Raise `Conflict` if orphans rather indicate a lost catalog than a crash."""
    stored = report.blobs_stored
    if report.agreement == "older":
        raise Conflict(
            f"The catalog is older than the blobs: {report.orphans} blobs stored since "
            "are not in it. Restore a newer catalog; or, if there is none, quarantine "
            "them with --repair --force.",
            {"orphans": report.orphans, "blobs": stored},
        )
    if report.orphans > max(_FEW, _DOUBTFUL * stored):
        raise Conflict(
            f"{report.orphans} of {stored} blobs have no record, more than crashes leave. Is "
            "this the right catalog (DSX_DATABASE_URL, DSX_DATA_DIR), and is it complete? If so, "
            "quarantine them with --repair --force.",
            {"orphans": report.orphans, "blobs": stored},
        )


async def _check_records(catalog: Catalog, blobs: BlobStore, report: Report) -> None:
    inspector = Inspector(catalog, blobs)
    async for page in _recorded(catalog):
        sizes = await blobs.stat([digest for digest, *_ in page])
        for digest, size, sealed, damage in page:
            report.blobs += 1
            report.bytes += size
            problem = damage
            if problem is None and (report.deep or sizes.get(digest) != size):
                try:
                    problem = await inspector.inspect(digest, size, sealed)
                except Unavailable:  # perhaps all blobs are missing: mark nothing
                    problem = MISSING
            if problem is not None:
                named = await catalog.read(partial(files.of_blob, digest=digest, limit=_NAMED))
                report.add(digest, problem, sorted({version.name for version in named}))


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


async def _orphans(catalog: Catalog, blobs: BlobStore, report: Report) -> list[Digest]:
    """Return blobs without a record; counts those and all."""
    found: list[Digest] = []
    after: Digest | None = None
    while page := await blobs.list(after, PAGE):
        after = page[-1]
        report.blobs_stored += len(page)
        found += await catalog.read(partial(records.unknown, digests=page))
    report.orphans = len(found)
    return found
