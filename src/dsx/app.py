"""The composition root: the only place that knows every concrete class."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from dsx import __version__
from dsx.catalog.engine import Catalog, sqlite_file
from dsx.config import Settings
from dsx.core.running import ADMIN_KEY_FILE
from dsx.http import cors, credentials, problems
from dsx.http.admission import ConnectionLimit, most_connections
from dsx.http.answers import Answers
from dsx.http.events import Streams
from dsx.http.metrics import Observe
from dsx.http.proxies import Proxies, Site, first_parts
from dsx.http.server import DSXProtocol
from dsx.hub.accounts import Accounts
from dsx.hub.allowances import Allowances
from dsx.hub.audit import Audit
from dsx.hub.damage import Inspector
from dsx.hub.datasets import Datasets, excluded
from dsx.hub.datasets.excluded import Private, database_files
from dsx.hub.datasets.roots import Root
from dsx.hub.departures import Departures
from dsx.hub.drop import Drop
from dsx.hub.files import Files
from dsx.hub.identity import Identity
from dsx.hub.keyring import Box, Keyring, kept_secret
from dsx.hub.limits import Limits
from dsx.hub.oidc import Oidc
from dsx.hub.orphans import Orphans
from dsx.hub.passwords import Passwords
from dsx.hub.provider import Provider, Registration
from dsx.hub.quarantine import Quarantine
from dsx.hub.scrub import Blobs, Scrub
from dsx.hub.services import Hub
from dsx.hub.shares import Shares
from dsx.hub.throttle import Pace, Throttle
from dsx.hub.tokens import Tokens
from dsx.hub.transfers.chunks import Chunks
from dsx.hub.transfers.control import Controls
from dsx.hub.transfers.tasks import Tasks
from dsx.hub.transfers.uploads import Uploads
from dsx.hub.trash import Trash
from dsx.logs import configure_logging
from dsx.protocols import (
    datastore,
    docs,
    dsx,
    fileserver,
    links,
    rest,
    rufh,
    storage,
    system,
    tinydist,
    tus,
)
from dsx.setting_origins import secret_files
from dsx.store import (
    SECRET_KEY_FILE,
    api_keys,
    check_secrets,
    open_store,
    reserve_of,
    secret_keys,
)
from dsx.workers.collect import Collector
from dsx.workers.index import Indexer
from dsx.workers.memory import MemoryKeeper, collect_less
from dsx.workers.reserve import ReserveKeeper
from dsx.workers.scrub import Scrubber

log = structlog.get_logger(__name__)

PLACE_FILE = "place"
"""Tells this data directory from those of other hubs on the same catalog."""


DIALECTS: dict[str, APIRouter] = {
    "tinydist": tinydist.router,
    "datastore": datastore.router,
    "fileserver": fileserver.router,
    "storage": storage.router,
    "dsx": dsx.router,
}
"""The seed systems, each of which can be switched off."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The ASGI application. Opens nothing until its lifespan starts."""
    settings = settings or Settings()
    configure_logging(settings.log_level)
    _set_up_connections(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        DSXProtocol.limit.watch(asyncio.get_running_loop())
        async with (
            open_hub(settings) as hub,
            Indexer(hub.datasets, settings.data_dir / "indexer.lock"),
            Collector(hub, settings.collect_interval),
            Scrubber(hub.scrub),
            ReserveKeeper(hub.reserve),
            MemoryKeeper(),
        ):
            app.state.hub = hub
            app.state.streams = Streams(settings.max_event_streams)
            collect_less()
            yield

    app = FastAPI(
        title="DSX Hub",
        version=__version__,
        description="Stores files, serves datasets. All routes but the system's need an API key.",
        lifespan=lifespan,
        docs_url=None,
        redirect_slashes=False,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        license_info={"name": "MIT", "identifier": "MIT"},
    )
    app.include_router(system.router)
    rest.include(app)
    for router in (links.router, rufh.router, tus.router):
        app.include_router(router)
    for dialect in settings.dialects:
        app.include_router(DIALECTS[dialect])
    docs.include(app)
    problems.install(app)
    credentials.document(app)
    app.add_middleware(Answers)
    cors.install(app, settings.cors_origins)
    site = Site.of(settings.public_url, settings.root_path, settings.trusted_proxies)
    app.add_middleware(Proxies, site=site, own=_first_parts(settings))
    app.add_middleware(Observe)
    return app


def _set_up_connections(settings: Settings) -> None:
    """What holds for every connection to this process."""
    DSXProtocol.stall_timeout = settings.stall_timeout
    DSXProtocol.min_rate = settings.min_rate or 0
    usual = Settings.model_fields["max_connections"].default  # workers find it in the environment
    DSXProtocol.limit = ConnectionLimit(
        most_connections(settings.max_connections, asked=settings.max_connections != usual),
        open_to="*" in settings.cors_origins,
    )


@asynccontextmanager
async def open_hub(settings: Settings) -> AsyncIterator[Hub]:
    """A hub on the catalog and the blobs of *settings*, closed on the way out."""
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
        open_doors(settings, catalog, limits) as doors,
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
        datasets = Datasets(
            catalog,
            settings.dataset_path,
            place=kept_secret(settings.data_dir / PLACE_FILE)[0],
            private=private(settings),
            everyone=settings.open_datasets,
        )
        try:
            yield Hub(
                **doors,
                files=files,
                trash=trash,
                uploads=uploads,
                orphans=Orphans(catalog, blobs, grace=settings.orphan_grace),
                chunks=Chunks(catalog, uploads, limits),
                drop=Drop(settings.data_dir / "drop", files, trash),
                tasks=tasks,
                departures=Departures(
                    catalog, uploads, tasks, doors["throttle"], trash_days=settings.trash_days
                ),
                datasets=datasets,
                scrub=Scrub(
                    catalog,
                    [Blobs(catalog, Inspector(catalog, blobs)), datasets.checking],
                    days=settings.scrub_days or None,
                    rate=settings.scrub_rate,
                ),
                reserve=reserve_of(settings),
                quarantine=Quarantine(catalog, blobs, days=settings.quarantine_days),
                catalog=catalog,
                blobs=blobs,
                fileserver_max=settings.fileserver_max,
                event_seconds=settings.event_seconds,
            )
        finally:
            await tasks.aclose()
            await controls.aclose()


@asynccontextmanager
async def open_doors(
    settings: Settings, catalog: Catalog, limits: Limits
) -> AsyncIterator[dict[str, Any]]:
    """Those fields of `Hub` that tell who may come in, closed on the way out."""
    await check_secrets(settings, catalog)
    passwords = await asyncio.to_thread(Passwords)
    throttle = Throttle(catalog, Box(secret_keys(settings), "device"))
    accounts = Accounts(
        catalog,
        passwords,
        throttle,
        Keyring(catalog, secret_keys(settings)),
        signup=settings.signup,
        jwt_ttl=settings.jwt_ttl,
        limits=limits,
        subjects=settings.oidc_signup,
    )
    root = Root(settings.dataset_path, private(settings))
    shares = Shares(catalog, passwords, throttle, settings.max_shares, root.names)
    pace = Pace(settings.rate_limit and settings.rate_limit / settings.workers)
    identity = Identity(
        catalog, api_keys(settings), accounts, shares, pace=pace, anonymous=settings.anonymous
    )
    audit = Audit(
        catalog, days=settings.audit_days, rows=settings.audit_rows, size=settings.audit_size
    )
    oidc = _oidc(settings, accounts)
    try:
        yield {
            "identity": identity,
            "accounts": accounts,
            "tokens": Tokens(
                catalog,
                session_ttl=settings.session_ttl,
                most=settings.max_tokens,
                invites=settings.signup != "closed",
            ),
            "shares": shares,
            "audit": audit,
            "throttle": throttle,
            "oidc": oidc,
        }
    finally:
        if oidc is not None:
            oidc.close()
        await audit.aclose()
        await identity.aclose()
        passwords.close()


def _oidc(settings: Settings, accounts: Accounts) -> Oidc | None:
    """How accounts elsewhere come in; None if that is not set up."""
    if not settings.oidc_issuer:
        return None
    secret = settings.oidc_client_secret
    registration = Registration(
        settings.oidc_issuer,
        settings.oidc_client_id,
        None if secret is None else secret.get_secret_value(),
    )
    box = Box(secret_keys(settings), "oidc")
    return Oidc(Provider(registration), accounts, box, name_claim=settings.oidc_name_claim)


def private(settings: Settings) -> Private:
    """What is the hub's own, and part of no dataset."""
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
    """`Invalid` if what is the hub's own lies where datasets are served, or the other way round."""
    database = sqlite_file(settings.database)
    if settings.dataset_path is not None:
        files = {} if database is None else {"DSX_DATABASE_URL": database}
        excluded.check_apart(settings.dataset_path, settings.own_directories, files)


def _first_parts(settings: Settings) -> set[str]:
    """What the paths of the hub begin with."""
    routers: list[APIRouter] = [links.router, rufh.router, system.router, docs.router]
    routers += [DIALECTS[dialect] for dialect in settings.dialects]
    paths = [getattr(route, "path", "") for router in routers for route in router.routes]
    return first_parts([*paths, rest.PREFIX, "/openapi.json"])


def _operation_id(route: APIRoute) -> str:
    return route.name
