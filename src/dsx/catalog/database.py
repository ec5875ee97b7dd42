"""The database: one code path for SQLite and PostgreSQL.

Work on the catalog is a plain function of a connection. `Catalog.read` and `Catalog.write` run it
in a worker thread inside one transaction, so a transaction costs one hop between threads, not one
a statement, and can never span an ``await``. (That is why there is no async driver here.)
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.pool import QueuePool

from dsx.catalog.turns import Turns
from dsx.catalog.wal import Log
from dsx.core.asking import asking
from dsx.core.disk import MORE_ROOM
from dsx.core.errors import Invalid, StorageFull, Unavailable, Unusable
from dsx.core.model import Micros

log = structlog.get_logger(__name__)

THREADS = 8
_OF_ONE = 6
"""Maximum number of reader threads for one principal's requests at a time."""
_BUSY_SECONDS = 30
_PAGES = 1000
"""Pages in SQLite's log after which they are moved into the database."""
_MIGRATION_LOCK = 0x647378  # "dsx"
_SQLITE_LOST = {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}
_SQLITE_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}
_SQLITE_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_DAMAGED = (
    "The catalog is damaged ({}). Stop the server, keep a copy of catalog.db and its -wal, then "
    "put back a backup, or save what can be read (docs/storage.md): "
    "sqlite3 catalog.db .dump | sed 's/^ROLLBACK;.*/COMMIT;/' | sqlite3 new.db"
)
_QUICKLY_VERIFIED = 32 * 1024 * 1024
_POSTGRES_FULL = {"53100"}
T = TypeVar("T")


class Catalog:
    """The database. Several processes may use one catalog concurrently."""

    def __init__(self, url: str) -> None:
        """Connect lazily to *url*: ``sqlite:///path`` or ``postgresql://…``.

        ``give_room`` may be set to a function that frees space on a full disk and returns whether
        it did.
        """
        self.engine = _engine(url)
        self._file = sqlite_file(url)
        self._log = None if self._file is None else Log(self._file)
        if self._log is not None:
            self._log.reread()
        self.give_room: Callable[[], bool] = lambda: False
        self._current: str | None = None
        self._damage: Unusable | None = None
        # SQLite's writers are serialized anyway: one thread keeps them in order without polling
        # the lock, and whatever they wait for, the reader threads stay free.
        writers = 1 if self.engine.dialect.name == "sqlite" else THREADS
        self._readers = ThreadPoolExecutor(THREADS, thread_name_prefix="catalog-read")
        self._turns = Turns(_OF_ONE)
        self._writers = ThreadPoolExecutor(writers, thread_name_prefix="catalog-write")

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run *work* in a transaction that sees one snapshot and changes nothing."""
        async with self._turns.of(asking()):
            return await self._run(work, immediate=False)

    async def write(
        self, work: Callable[[Connection], T], *, durable: bool = True, spare: bool = True
    ) -> T:
        """Run *work* in a transaction that is durable when this returns, or never happened.

        Unless *durable*, it is as atomic and as visible, but a crash of the machine may undo it
        until a durable transaction follows: enough for state that only matters to living processes.

        On SQLite writers are serialized from the transaction's start, so *work* is repeated only if
        the disk is full and, with *spare*, `give_room` freed some. Raises `Unavailable` if the
        database does not respond, `StorageFull` without space, `Invalid` for values that it cannot
        store, and what *work* raises.
        """
        try:
            return await self._run(work, immediate=True, durable=durable)
        except StorageFull:
            if not (spare and self.give_room()):
                raise
        return await self._run(work, immediate=True, durable=durable)

    async def migrate(self) -> None:
        """Upgrade the schema to its newest revision; safe when several processes start at once."""
        await self.write(_migrate)
        self._current = await self.read(_revision)

    async def revision(self) -> tuple[str | None, str]:
        """Return the schema's revision, None if the database is empty, and the newest known one.

        Creates nothing. `Unusable` if the database is damaged, or its schema is unknown.
        """
        scripts = ScriptDirectory.from_config(_alembic())
        newest = scripts.get_current_head() or ""
        if self._missing():
            return None, newest
        current = await self.read(_revision)
        known = {one.revision for one in scripts.walk_revisions()}
        if current is not None and current not in known:
            raise Unusable(
                "The catalog was created by a newer version of DSX Hub: install that "
                "version, or restore the catalog that you kept from before."
            )
        if current == newest:
            self._current = current
        return current, newest

    async def check(self) -> None:
        """Raise `Unavailable` unless the database can be used."""
        if self._damage is not None:
            raise self._damage
        current = await self.read(_revision)
        if self._current is not None and current != self._current:
            raise Unusable("The catalog was upgraded by another version of DSX Hub.")

    async def verify(self, *, thorough: bool) -> None:
        """Raise `Unusable` if the database's file is damaged; unless *thorough*, if it is small."""
        if self._file is None or self._missing():
            return
        if thorough or self._file.stat().st_size <= _QUICKLY_VERIFIED:
            await self.read(_verify)

    def _missing(self) -> bool:
        return self._file is not None and (
            not self._file.exists() or self._file.stat().st_size == 0
        )

    async def time(self) -> Micros | None:
        """Return the time of the database's machine; None: it is this one."""
        if self.engine.dialect.name != "postgresql":
            return None
        query = text("SELECT extract(epoch FROM clock_timestamp()) * 1000000")
        return int(await self.read(lambda connection: connection.execute(query).scalar_one()))

    async def aclose(self) -> None:
        """Wait for running work, then disconnect."""
        await asyncio.to_thread(self._writers.shutdown)
        await asyncio.to_thread(self._readers.shutdown)
        await asyncio.to_thread(self.engine.dispose)
        if self._log is not None:
            self._log.close()

    async def _run(
        self, work: Callable[[Connection], T], *, immediate: bool, durable: bool = True
    ) -> T:
        loop = asyncio.get_running_loop()
        threads = self._writers if immediate else self._readers
        try:
            running = loop.run_in_executor(threads, self._transact, work, immediate, durable)
        except RuntimeError:  # the executor is shut down
            raise Unavailable("The catalog is closed: the server is shutting down.") from None
        return await running

    def _transact(self, work: Callable[[Connection], T], immediate: bool, durable: bool) -> T:
        try:
            with self.engine.connect() as connection:
                connection.execution_options(immediate=immediate, durable=durable)
                if not immediate and self.engine.dialect.name == "postgresql":
                    # By default each statement there has a snapshot of its own.
                    connection.execution_options(isolation_level="REPEATABLE READ")
                with connection.begin():
                    return work(connection)
        except IntegrityError:
            raise
        except sqlite3.DatabaseError as error:  # while connecting
            raise self.to_dsx_error(error) from error
        except DBAPIError as error:
            if self._log is not None and _lost_a_sync(error):
                log.warning("the catalog's disk failed, recovering its log", why=str(error.orig))
                self._log.recover()
            raise self.to_dsx_error(error) from error

    def to_dsx_error(self, error: Exception) -> Exception:
        """Return the failure for *error*."""
        designed = to_dsx_error(error)
        if isinstance(designed, Unusable):
            self._damage = designed
        return designed


def sqlite_file(url: str) -> Path | None:
    """Return the SQLite file of *url*; None for another database, or one in memory."""
    parsed = make_url(url)
    name = parsed.database
    if parsed.get_backend_name() != "sqlite" or not name or parsed.query.get("mode") == "memory":
        return None
    if "uri" in parsed.query:
        name = name.removeprefix("file:")
    return None if name == ":memory:" else Path(name).absolute()


def lock(connection: Connection, key: int) -> None:
    """Exclude every other transaction that locks *key* until this one ends.

    SQLite's writers already exclude each other; PostgreSQL takes an advisory lock.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.drivername in {"postgres", "postgresql"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if not parsed.drivername.startswith("sqlite"):
        engine = create_engine(
            parsed, pool_size=2 * THREADS, pool_pre_ping=True, hide_parameters=True
        )
        event.listen(engine, "connect", _prepare_postgres)
        event.listen(engine, "begin", _begin_postgres)
        return engine
    engine = create_engine(
        parsed,
        poolclass=QueuePool,
        pool_size=2 * THREADS,
        hide_parameters=True,  # they would be in logs and messages: hashes, names, addresses
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _lost_a_sync(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlite_errorcode", None) in _SQLITE_LOST


def _prepare_postgres(connection: Any, _record: Any) -> None:
    # The holder of a lock may have been stopped: do not wait forever, as on SQLite.
    connection.execute(f"SET lock_timeout = {int(_BUSY_SECONDS * 1000)}")
    connection.commit()


def _begin_postgres(connection: Connection) -> None:
    if not connection.get_execution_options().get("durable", True):
        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # _begin_sqlite begins transactions
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that starts writing can fail with SQLITE_BUSY; IMMEDIATE waits.
    options = connection.get_execution_options()
    immediate = options.get("immediate")
    if immediate:  # in WAL mode, NORMAL is FULL without a sync at each commit
        durable = options.get("durable", True)
        connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        # A checkpoint hides a failed sync of the log: run it only where everything is synced.
        connection.exec_driver_sql(f"PRAGMA wal_autocheckpoint={_PAGES if durable else 0}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _migrate(connection: Connection) -> None:
    lock(connection, _MIGRATION_LOCK)
    config = _alembic()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    """Return the schema's revision; None if there is none yet."""
    return MigrationContext.configure(connection).get_current_revision()


def _verify(connection: Connection) -> None:
    found = connection.execute(text("PRAGMA integrity_check(1)")).scalar()
    if found != "ok":
        raise Unusable(_DAMAGED.format(found))


def to_dsx_error(error: Exception) -> Exception:
    """Return the failure for *error* of SQLAlchemy, or of SQLite's driver itself."""
    original = error.orig if isinstance(error, DBAPIError) else error
    full = (
        getattr(original, "sqlite_errorcode", None) in _SQLITE_FULL
        or getattr(original, "sqlstate", None) in _POSTGRES_FULL
    )
    if full:
        return StorageFull(f"The disk of the catalog is full. {MORE_ROOM}")
    if getattr(original, "sqlite_errorcode", 0) & 0xFF in _SQLITE_DAMAGED:
        log.error("the catalog is damaged", error=str(original))
        return Unusable(_DAMAGED.format(original))
    if isinstance(error, OperationalError | sqlite3.DatabaseError):
        # The database's address is for the operator, not for clients.
        log.error("the catalog is not responding", error=str(original))
        return Unavailable("The catalog is not responding; see the server's log.")
    if isinstance(error, DataError):  # PostgreSQL's text has no NUL, its numbers are bounded
        return Invalid("The request has a character or number that the catalog cannot store.")
    return error
