"""Shared dependencies of the upload engine."""

from __future__ import annotations

from dataclasses import dataclass

from dsx.blobs.contract import BlobStore, Stages
from dsx.catalog.database import Catalog
from dsx.hub.clock import SECOND
from dsx.hub.files.allowances import Allowances
from dsx.hub.limits import Limits
from dsx.hub.transfers.control import Controls
from dsx.hub.transfers.leases import Leases
from dsx.hub.transfers.running_hash import RunningHashes


@dataclass(frozen=True, slots=True)
class Engine:
    """The dependencies as one value; created by `Uploads`."""

    catalog: Catalog
    blobs: BlobStore
    stages: Stages
    controls: Controls
    leases: Leases
    tails: RunningHashes
    limits: Limits
    allowances: Allowances

    @property
    def expiry(self) -> int:
        """Microseconds for which an upload waits for its next byte."""
        return int(self.limits.expiry * SECOND)
