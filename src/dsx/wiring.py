"""Puts the hub's services together on an opened store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dsx.catalog.database import Catalog, sqlite_file
from dsx.config import Settings
from dsx.core.running import ADMIN_KEY_FILE
from dsx.hub.accounts.audit import Audit
from dsx.hub.accounts.authentication import Authenticator
from dsx.hub.accounts.oidc_provider import Provider, Registration
from dsx.hub.accounts.oidc_sign_in import OidcSignIn
from dsx.hub.accounts.passwords import Passwords
from dsx.hub.accounts.shares import Shares
from dsx.hub.accounts.sign_in_limits import RateLimiter, SignInLimiter
from dsx.hub.accounts.signing_keys import SealedCookie, SigningKeys, load_or_create_secret
from dsx.hub.accounts.tokens import Tokens
from dsx.hub.accounts.users import Users
from dsx.hub.datasets import Datasets, excluded
from dsx.hub.datasets.excluded import Private, database_files
from dsx.hub.datasets.roots import Root
from dsx.hub.departures import Departures
from dsx.hub.drop import Drop
from dsx.hub.files.allowances import Allowances
from dsx.hub.files.files import Files
from dsx.hub.files.trash import Trash
from dsx.hub.hub import AccountServices, Hub, TransferServices
from dsx.hub.integrity.damage import Inspector
from dsx.hub.integrity.orphans import Orphans
from dsx.hub.integrity.quarantine import Quarantine
from dsx.hub.integrity.scrub import Blobs, Kind, Scrub
from dsx.hub.integrity.services import IntegrityServices
from dsx.hub.limits import Limits
from dsx.hub.transfers.chunks import Chunks
from dsx.hub.transfers.control import Controls
from dsx.hub.transfers.tasks import Tasks
from dsx.hub.transfers.uploads import Uploads
from dsx.setting_origins import secret_files
from dsx.store import (
    SECRET_KEY_FILE,
    api_keys,
    check_secrets,
    open_store,
    reserve_of,
    secret_keys,
)

PLACE_FILE = "place"
"""Distinguishes this data directory from those of other hubs on the same catalog."""


@asynccontextmanager
async def open_hub(settings: Settings) -> AsyncIterator[Hub]:
    """Open a hub on the catalog and the blobs of *settings*; closed on exit."""
    check_apart(settings)
    limits = Limits(
        settings.max_file_size,
        settings.quota,
        settings.quota_files,
        settings.max_uploads,
        settings.max_tasks,
        settings.upload_expiry,
        checksum=settings.require_checksum,
    )
    async with (
        open_store(settings) as (catalog, blobs),
        _open_accounts(settings, catalog, limits) as accounts,
    ):
        controls = Controls(catalog, grace=settings.pause_grace, upload_expiry=limits.expiry)
        allowances = Allowances(catalog, limits)
        files = Files(catalog, blobs, limits, allowances)
        trash = Trash(catalog, blobs, days=settings.trash_days)
        uploads = Uploads(catalog, blobs, controls, limits, allowances)
        tasks = Tasks(
            catalog,
            controls,
            files,
            trash,
            uploads,
            limits=limits,
            ttl=settings.task_ttl,
            max_seconds=settings.task_max_seconds,
        )
        departures = Departures(
            catalog, uploads, tasks, accounts.sign_in_limits, trash_days=settings.trash_days
        )
        datasets = _datasets(settings, catalog)
        kinds: list[Kind] = [Blobs(catalog, Inspector(catalog, blobs)), datasets.checking]
        integrity = IntegrityServices(
            catalog,
            blobs,
            Scrub(catalog, kinds, days=settings.scrub_days or None, rate=settings.scrub_rate),
            Quarantine(catalog, blobs, days=settings.quarantine_days),
            Orphans(catalog, blobs, grace=settings.orphan_grace),
            reserve_of(settings),
        )
        try:
            yield Hub(
                accounts=accounts,
                files=files,
                trash=trash,
                drop=Drop(settings.data_dir / "drop", files, trash),
                datasets=datasets,
                transfers=TransferServices(uploads, tasks, Chunks(catalog, uploads, limits)),
                departures=departures,
                integrity=integrity,
                catalog=catalog,
                fileserver_max=settings.fileserver_max,
                event_seconds=settings.event_seconds,
            )
        finally:
            await tasks.aclose()
            await controls.aclose()


@asynccontextmanager
async def _open_accounts(
    settings: Settings, catalog: Catalog, limits: Limits
) -> AsyncIterator[AccountServices]:
    """Open the account services; closed on exit."""
    await check_secrets(settings, catalog)
    passwords = await asyncio.to_thread(Passwords)
    limiter = SignInLimiter(catalog, SealedCookie(secret_keys(settings), "device"))
    users = Users(
        catalog,
        passwords,
        limiter,
        SigningKeys(catalog, secret_keys(settings)),
        signup=settings.signup,
        jwt_ttl=settings.jwt_ttl,
        limits=limits,
        subjects=settings.oidc_signup,
    )
    root = Root(settings.dataset_path, private(settings))
    shares = Shares(catalog, passwords, limiter, settings.max_shares, root.names)
    pace = RateLimiter(settings.rate_limit and settings.rate_limit / settings.workers)
    identity = Authenticator(
        catalog, api_keys(settings), users, shares, pace=pace, anonymous=settings.anonymous
    )
    tokens = Tokens(
        catalog,
        session_ttl=settings.session_ttl,
        most=settings.max_tokens,
        invites=settings.signup != "closed",
    )
    audit = Audit(
        catalog, days=settings.audit_days, rows=settings.audit_rows, size=settings.audit_size
    )
    oidc = _oidc(settings, users)
    try:
        yield AccountServices(identity, users, tokens, shares, audit, limiter, oidc)
    finally:
        if oidc is not None:
            oidc.close()
        await audit.aclose()
        await identity.aclose()
        passwords.close()


def _datasets(settings: Settings, catalog: Catalog) -> Datasets:
    return Datasets(
        catalog,
        settings.dataset_path,
        place=load_or_create_secret(settings.data_dir / PLACE_FILE)[0],
        private=private(settings),
        everyone=settings.open_datasets,
    )


def _oidc(settings: Settings, users: Users) -> OidcSignIn | None:
    """Return the sign-in at the external provider; None if that is not configured."""
    if not settings.oidc_issuer:
        return None
    secret = settings.oidc_client_secret
    registration = Registration(
        settings.oidc_issuer,
        settings.oidc_client_id,
        None if secret is None else secret.get_secret_value(),
    )
    box = SealedCookie(secret_keys(settings), "oidc")
    return OidcSignIn(Provider(registration), users, box, name_claim=settings.oidc_name_claim)


def private(settings: Settings) -> Private:
    """Return the hub's own files, which are part of no dataset."""
    directories = [
        path
        for directory in settings.own_directories.values()
        for path in (directory, directory / "blobs", directory / "drop")
    ]
    keys = [settings.data_dir.absolute() / name for name in (ADMIN_KEY_FILE, SECRET_KEY_FILE)]
    database = sqlite_file(settings.database)
    databases = database_files(database) if database is not None else ()
    return Private(directories, [*databases, *keys, *secret_files()])


def check_apart(settings: Settings) -> None:
    """Raise `Invalid` if the hub's own files are among served datasets, or vice versa."""
    database = sqlite_file(settings.database)
    if settings.dataset_path is not None:
        files = {} if database is None else {"DSX_DATABASE_URL": database}
        excluded.check_apart(settings.dataset_path, settings.own_directories, files)
