"""Fixtures: a catalog on SQLite and the same on PostgreSQL. Import them into a conftest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.support.hub import RunningHub, running_hub
from tests.support.postgres import Cluster, cluster

from dsx.catalog.database import Catalog


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    with cluster() as running:
        yield running


@pytest.fixture(scope="module", name="hub")
def hub_on_postgres(
    postgres: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningHub]:
    """Two server processes on one database."""
    settings = {"DSX_DATABASE_URL": postgres.create_database(), "DSX_WORKERS": "2"}
    with running_hub(tmp_path_factory.mktemp("postgres"), **settings) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database; each test runs once on each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'catalog.db'}"
    running: Cluster = request.getfixturevalue("postgres")
    return running.create_database()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Catalog]:
    """The migrated catalog at *url*, closed on the way out."""
    catalog = Catalog(url)
    try:
        await catalog.migrate()
        yield catalog
    finally:
        await catalog.aclose()
