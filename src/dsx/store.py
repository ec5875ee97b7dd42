"""Opens the hub's data: its catalog, its blobs, its keys. Needs no web framework."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import structlog

from dsx.blobs.contract import BlobStore
from dsx.blobs.local import LocalStore
from dsx.blobs.memory import MemoryStore
from dsx.blobs.staging import StageDirectory
from dsx.catalog.database import Catalog, sqlite_file
from dsx.config import Settings
from dsx.core.errors import Invalid, NotFound
from dsx.core.running import ADMIN_KEY_FILE, SERVER_FILE
from dsx.hub.accounts.signing_keys import check_sealed, load_or_create_secret
from dsx.hub.accounts.tokens import PREFIX
from dsx.hub.datasets.excluded import database_files
from dsx.hub.files.file_modes import keep_private
from dsx.hub.integrity.belonging import prepare
from dsx.hub.integrity.reserve import Reserve

log = structlog.get_logger(__name__)

KEY_PREFIX = PREFIX["token"]
SECRET_KEY_FILE = "secret.key"  # noqa: S105 (a file name)


@asynccontextmanager
async def open_store(
    settings: Settings, *, create: bool = True
) -> AsyncIterator[tuple[Catalog, BlobStore]]:
    """Open the catalog, with an upgraded schema, and the blobs of *settings*.

    Unless *create*, `NotFound` or `Conflict` if there is none or it is not up to date; nothing is
    created. See `dsx.hub.integrity.belonging` for when blobs and catalog are refused.
    """
    if create:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    else:
        _require_hub(settings)
    _check_accessible(settings)
    keep_private(_own_files(settings))
    blobs = open_blobs(settings.storage, settings.data_dir)
    catalog = Catalog(settings.database)
    reserve = reserve_of(settings)
    if reserve is not None:
        catalog.give_room = reserve.give_up
        if isinstance(blobs, StageDirectory):
            blobs.owed = reserve.owed_in
    try:
        await prepare(catalog, blobs, create=create)
        yield catalog, blobs
    finally:
        await catalog.aclose()
        await blobs.aclose()


def reserve_of(settings: Settings) -> Reserve | None:
    """Return the reserve beside the catalog's file; None: there is no file, or no space."""
    database = sqlite_file(settings.database)
    if database is None or settings.reserve == 0:
        return None
    return Reserve(database.with_name("reserve"), settings.reserve)


def _require_hub(settings: Settings) -> None:
    """Raise `NotFound` unless a server has been started with these settings."""
    place = settings.data_dir.absolute()
    hint = "Set the server's data directory with --data-dir or DSX_DATA_DIR."
    if not settings.data_dir.is_dir():
        raise NotFound(f"There is no hub in {place}: it is not a directory. {hint}")
    database = sqlite_file(settings.database)
    if database is not None and not database.is_file():
        raise NotFound(f"There is no hub in {place}: {database} is missing. {hint}")
    storage = urlsplit(settings.storage)
    blobs = Path(url2pathname(storage.path)) / "blobs"
    if storage.scheme == "file" and not blobs.is_dir():
        raise NotFound(f"There is no hub in {place}: {blobs} is missing. {hint}")


def _check_accessible(settings: Settings) -> None:
    """Raise `Invalid` if existing files belong to another user and are not accessible."""
    for path in (settings.data_dir, *_own_files(settings)):
        try:
            owner = path.stat().st_uid
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError:
            owner = path.parent.stat().st_uid
        if not os.access(path, os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)):
            raise Invalid(
                f"{path} is not accessible to this user ({os.geteuid()}); it belongs to user "
                f"{owner}: run the server as that user, or change the owner with chown -R "
                f"{os.geteuid()}."
            )


def _own_files(settings: Settings) -> list[Path]:
    """Return the files that a server creates and only its user should read."""
    data = settings.data_dir
    storage = urlsplit(settings.storage)
    root = Path(url2pathname(storage.path)) if storage.scheme == "file" else data
    places = [root / name for name in ("blobs", "staging", "quarantine")]
    files = [
        data / name
        for name in (ADMIN_KEY_FILE, SECRET_KEY_FILE, "indexer.lock", "drop", SERVER_FILE)
    ]
    database = sqlite_file(settings.database)
    if database is not None:
        files += database_files(database)
    return [*places, data / "staging", *files]


def open_blobs(url: str, data_dir: Path) -> BlobStore:
    """Open the blob store *url*: ``file:///directory``, ``s3://bucket`` or ``memory:``.

    Incoming bytes for a bucket are kept in *data_dir*.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        return LocalStore(Path(url2pathname(parts.path)))
    if parts.scheme == "s3":
        from dsx.blobs.s3 import S3Store  # noqa: PLC0415 (it costs memory, and few need it)

        store = S3Store(url, data_dir / "staging")
        store.check()
        return store
    if parts.scheme == "memory":
        return MemoryStore()
    raise ValueError(f"DSX_STORAGE_URL: unknown kind of store {parts.scheme or url!r}")


def api_keys(settings: Settings) -> tuple[str, ...]:
    """Return the API keys: those configured, else the data directory's admin key."""
    if settings.keys:
        return settings.keys
    path = settings.data_dir / ADMIN_KEY_FILE
    key, new = load_or_create_secret(path, KEY_PREFIX)
    if new:
        log.warning(
            "DSX_API_KEY is not set: an admin key was created", kept_in=str(path.absolute())
        )
    return (key,)


def secret_keys(settings: Settings, *, create: bool = True) -> tuple[str, ...]:
    """Return the secret keys: those configured, else the data directory's.

    Unless *create*, none if there is none yet.
    """
    path = settings.data_dir / SECRET_KEY_FILE
    if settings.secret_keys or not (create or path.exists()):
        return settings.secret_keys
    return (load_or_create_secret(path)[0],)


async def check_secrets(settings: Settings, catalog: Catalog) -> None:
    """Raise `Conflict` if the secret key for encrypted data in *catalog* is lost."""
    path = settings.data_dir.absolute() / SECRET_KEY_FILE
    await check_sealed(catalog, secret_keys(settings, create=False), path)
