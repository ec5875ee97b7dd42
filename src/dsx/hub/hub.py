"""The hub: every use case a protocol may call."""

from __future__ import annotations

from dataclasses import dataclass

from dsx.catalog.database import Catalog
from dsx.hub.accounts.audit import Audit
from dsx.hub.accounts.authentication import Authenticator
from dsx.hub.accounts.oidc_sign_in import OidcSignIn
from dsx.hub.accounts.shares import Shares
from dsx.hub.accounts.sign_in_limits import SignInLimiter
from dsx.hub.accounts.tokens import Tokens
from dsx.hub.accounts.users import Users
from dsx.hub.datasets import Datasets
from dsx.hub.departures import Departures
from dsx.hub.drop import Drop
from dsx.hub.files.files import Files
from dsx.hub.files.trash import Trash
from dsx.hub.integrity.services import IntegrityServices
from dsx.hub.transfers.chunks import Chunks
from dsx.hub.transfers.tasks import Tasks
from dsx.hub.transfers.uploads import Uploads


@dataclass(frozen=True, slots=True)
class AccountServices:
    """Authentication and authorization. ``oidc``: None if no provider is configured."""

    authenticator: Authenticator
    users: Users
    tokens: Tokens
    shares: Shares
    audit: Audit
    sign_in_limits: SignInLimiter
    oidc: OidcSignIn | None


@dataclass(frozen=True, slots=True)
class TransferServices:
    """Transfers that span requests."""

    uploads: Uploads
    tasks: Tasks
    chunks: Chunks


@dataclass(frozen=True, slots=True)
class Hub:
    """The services that `dsx.wiring` composes and protocols use.

    ``fileserver_max``: bytes of one upload by the file server dialect (None: as any other).
    ``event_seconds``: how long a stream of events may last.
    """

    accounts: AccountServices
    files: Files
    trash: Trash
    drop: Drop
    datasets: Datasets
    transfers: TransferServices
    departures: Departures
    integrity: IntegrityServices
    catalog: Catalog
    fileserver_max: int | None
    event_seconds: float

    async def check(self) -> None:
        """Raise `Unavailable` (or what catalog and blobs raise) unless both respond."""
        await self.catalog.check()
        await self.integrity.blobs.list(limit=1)
