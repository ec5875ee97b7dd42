"""``/api/v1/scrub``: progress and findings of the integrity scrub; admins only."""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import Query
from pydantic import BaseModel, Field

from dsx.http.credentials import HubDep, PrincipalDep
from dsx.http.prefix_router import PrefixRouter
from dsx.http.problems import documented
from dsx.hub.clock import time_text
from dsx.hub.datasets.in_place import DamagedFile
from dsx.hub.integrity.scrub import Finding, Status

router = PrefixRouter(prefix="/scrub", tags=["scrub"])

_IN_PLACE = 1000
"""Most damaged dataset files reported."""


class CycleModel(BaseModel):
    """One pass over all stored bytes."""

    begun: str
    ended: str | None = Field(description="Null while it is running.")
    checked: int
    checked_bytes: int
    found: int = Field(description="How many of the checked ones were damaged.")


class KindModel(BaseModel):
    """Scrub progress of one kind of stored bytes."""

    name: str = Field(description="`blobs`: the bytes of files; `datasets`: files in place.")
    running: bool
    requested: bool = Field(description="Whether an immediate cycle was requested.")
    total: int
    total_bytes: int
    cycle: CycleModel | None = Field(description="The current cycle, or the last one.")
    last: CycleModel | None = Field(description="The last complete cycle.")

    @classmethod
    def of(cls, status: Status) -> Self:
        """The JSON of *status*."""
        cycle, last = status.cycle, status.cycle.last
        present = None
        if cycle.begun is not None:
            present = CycleModel(
                begun=time_text(cycle.begun),
                ended=None if cycle.ended is None else time_text(cycle.ended),
                checked=cycle.checked,
                checked_bytes=cycle.checked_bytes,
                found=cycle.found,
            )
        times = {name: time_text(last[name]) for name in ("begun", "ended")} if last else {}
        return cls(
            name=status.name,
            running=cycle.running,
            requested=cycle.requested is not None,
            total=status.total,
            total_bytes=status.total_bytes,
            cycle=present,
            last=CycleModel(**last | times) if last else None,
        )


class ScrubModel(BaseModel):
    """State of the scrub."""

    days: float | None = Field(description="Days per cycle; null: only on request.")
    rate: int | None = Field(description="Maximum bytes per second.")
    damaged: int = Field(description="Damaged blobs that are not repaired yet.")
    damaged_in_place: int = Field(description="Damaged dataset files, at most 1000.")
    kinds: list[KindModel]


class ConcernedFile(BaseModel):
    """A version whose bytes are damaged."""

    id: str
    owner: str
    name: str
    version: int


class FindingModel(BaseModel):
    """A damaged blob."""

    sha256: str
    size: int
    problem: str
    found: str = Field(description="When it was found.")
    files: list[ConcernedFile] = Field(description="The first ten versions with these bytes.")

    @classmethod
    def of(cls, finding: Finding) -> Self:
        """The JSON of *finding*."""
        damage = finding.damage
        return cls(
            sha256=damage.digest,
            size=damage.size,
            problem=damage.problem,
            found=time_text(damage.found),
            files=[
                ConcernedFile(id=one.id, owner=one.owner, name=one.name, version=one.version)
                for one in finding.versions
            ],
        )


class FindingList(BaseModel):
    """A page of findings."""

    items: list[FindingModel]
    next: str | None


class DatasetFinding(BaseModel):
    """A dataset file whose bytes changed without being written."""

    dataset: str
    path: str
    size: int
    found: str

    @classmethod
    def of(cls, finding: DamagedFile) -> Self:
        """The JSON of *finding*."""
        return cls(
            dataset=finding.dataset,
            path=finding.path,
            size=finding.size,
            found=time_text(finding.found),
        )


class DatasetFindings(BaseModel):
    """Damaged dataset files, at most 1000."""

    items: list[DatasetFinding]


@router.get("", summary="Read the scrub's progress", responses=documented(403))
async def get_scrub(hub: HubDep, principal: PrincipalDep) -> ScrubModel:
    """Return the current and the last complete cycle, and the number of damaged blobs."""
    found = await hub.integrity.scrub.status(principal)
    return ScrubModel(
        days=hub.integrity.scrub.days,
        rate=hub.integrity.scrub.rate,
        damaged=await hub.integrity.scrub.damaged(),
        damaged_in_place=await hub.datasets.damaged(_IN_PLACE),
        kinds=[KindModel.of(status) for status in found],
    )


@router.post("", status_code=202, summary="Check everything now", responses=documented(403))
async def start_scrub(hub: HubDep, principal: PrincipalDep) -> ScrubModel:
    """Start a cycle now, in the background, as fast as `DSX_SCRUB_RATE` allows."""
    await hub.integrity.scrub.request(principal)
    return await get_scrub(hub, principal)


@router.get("/findings", summary="List damaged blobs", responses=documented(403))
async def list_findings(
    hub: HubDep,
    principal: PrincipalDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str, Query(max_length=64)] = "",
) -> FindingList:
    """List damaged blobs by digest. A blob is listed until its bytes are stored again."""
    found = await hub.integrity.scrub.findings(principal, after, limit)
    following = found[-1].damage.digest if len(found) == limit else None
    return FindingList(items=[FindingModel.of(one) for one in found], next=following)


@router.get(
    "/findings/datasets", summary="List damaged files of datasets", responses=documented(403)
)
async def list_dataset_findings(hub: HubDep, principal: PrincipalDep) -> DatasetFindings:
    """List dataset files whose bytes differ from their SHA-256 though they were not written."""
    found = await hub.datasets.damage(principal, _IN_PLACE)
    return DatasetFindings(items=[DatasetFinding.of(one) for one in found])
