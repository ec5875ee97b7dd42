"""The ASGI application: routes, middleware and workers on top of a hub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from dsx import __version__
from dsx.config import Settings
from dsx.core.errors import Unavailable
from dsx.dialects import datastore, dsx_v0, fileserver, storage, tinydist
from dsx.http import cors, credentials, problems
from dsx.http.answers import Answers
from dsx.http.metrics import Observe
from dsx.http.proxies import Proxies, Site, first_parts
from dsx.http.server_sent_events import Streams
from dsx.logs import configure_logging
from dsx.protocols import docs, home, rest, resumable_uploads, share_links, system, tus
from dsx.transport.admission import ConnectionLimit, most_connections
from dsx.transport.extensions import SETTINGS
from dsx.transport.settings import ConnectionSettings
from dsx.wiring import open_hub
from dsx.workers.collect import Collector
from dsx.workers.index import Indexer
from dsx.workers.memory import MemoryKeeper, collect_less
from dsx.workers.reserve import ReserveKeeper
from dsx.workers.scrub import Scrubber

DIALECTS: dict[str, APIRouter] = {
    "tinydist": tinydist.router,
    "datastore": datastore.router,
    "fileserver": fileserver.router,
    "storage": storage.router,
    "dsx": dsx_v0.router,
}
"""The dialects, each of which can be disabled."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The ASGI application. Opens nothing until its lifespan starts."""
    settings = settings or Settings()
    configure_logging(settings.log_level, settings.log_format)
    connections = _connections(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        connections.limit.watch(asyncio.get_running_loop())
        async with (
            open_hub(settings) as hub,
            Indexer(hub.datasets, settings.data_dir / "indexer.lock"),
            Collector(hub, settings.collect_interval),
            Scrubber(hub.integrity.scrub),
            ReserveKeeper(hub.integrity.reserve),
            MemoryKeeper(),
        ):
            app.state.hub = hub
            app.state.streams = Streams(settings.max_event_streams)
            collect_less()
            yield {SETTINGS: connections}

    app = FastAPI(
        title="DSX Hub",
        version=__version__,
        description="Stores files, serves datasets. Most routes need a credential.",
        lifespan=lifespan,
        docs_url=None,
        redirect_slashes=False,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        license_info={"name": "MIT", "identifier": "MIT"},
    )
    app.include_router(system.router)
    rest.include(app)
    for router in (home.router, share_links.router, resumable_uploads.router, tus.router):
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


def _connections(settings: Settings) -> ConnectionSettings:
    usual = Settings.model_fields["max_connections"].default  # workers find it in the environment
    most = most_connections(settings.max_connections, asked=settings.max_connections != usual)
    too_many = Unavailable("The server has too many connections. Try again soon.")
    fields = {"access-control-allow-origin": "*"} if "*" in settings.cors_origins else {}
    return ConnectionSettings(
        settings.stall_timeout,
        settings.min_rate or 0,
        ConnectionLimit(most, problems.as_message(too_many, fields)),
        problems.render(Unavailable("The server is shutting down. Try again later.")),
    )


def _first_parts(settings: Settings) -> set[str]:
    """The first segments of the hub's paths."""
    routers: list[APIRouter] = [
        share_links.router,
        resumable_uploads.router,
        system.router,
        docs.router,
    ]
    routers += [DIALECTS[dialect] for dialect in settings.dialects]
    paths = [getattr(route, "path", "") for router in routers for route in router.routes]
    return first_parts([*paths, rest.PREFIX, "/openapi.json"])


def _operation_id(route: APIRoute) -> str:
    return route.name
