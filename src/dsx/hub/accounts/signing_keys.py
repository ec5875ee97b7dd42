"""Secrets of the hub itself: where they are kept, and how they rotate without signing anyone out.

Signed tokens (JWT) use keys that are in the catalog, encrypted with the hub's secret key, which is
not: it comes from the operator, or from a file beside the blobs that only the server may read.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jwt
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from sqlalchemy import Connection

from dsx.catalog import signing_keys as records
from dsx.catalog.database import Catalog
from dsx.core.errors import Conflict, Unauthenticated, Unavailable
from dsx.hub.clock import SECOND, now

_ALGORITHM = "HS256"
_FRESH = 1.0  # seconds until a key retired by another server is noticed
_LOOK = 0.1  # seconds between two queries for unknown keys
_LEEWAY = 5  # seconds by which servers' clocks may differ


class SigningKeys:
    """Signs tokens, and verifies them."""

    def __init__(self, catalog: Catalog, secret_keys: Sequence[str]) -> None:
        """*secret_keys* decrypt the signing keys; the first also encrypts."""
        self._catalog = catalog
        self._box = MultiFernet([_fernet(key) for key in secret_keys])
        self._keys: dict[str, tuple[str, int | None]] = {}
        self._read = -_FRESH

    async def sign(self, claims: dict[str, Any]) -> str:
        """Return a JWT (RFC 7519) with *claims*."""
        id_, key = await self._newest()
        return jwt.encode(claims, key, _ALGORITHM, headers={"kid": id_})

    async def verify(self, token: str) -> dict[str, Any]:
        """Return the claims of a valid JWT of this hub; else raise `Unauthenticated`."""
        try:
            id_ = jwt.get_unverified_header(token).get("kid")  # a string, or this raises
            key, retires = await self._key(id_)
            if retires is not None and retires <= now():
                raise Unauthenticated("The key that signed this token was retired; sign in again.")
            return jwt.decode(
                token,
                key,
                algorithms=[_ALGORITHM],
                leeway=_LEEWAY,
                options={"require": ["exp", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("The token has expired; sign in again.") from None
        except jwt.InvalidTokenError:
            raise Unauthenticated("The token was not signed by this hub.") from None

    async def rotate(self, grace: float) -> None:
        """Sign with a new key from now on; the old ones verify for *grace* seconds more.

        `Unavailable` if the old ones cannot be decrypted: then the secret key differs from the
        servers' one, and they could not decrypt the new key. Without a grace nothing has to be
        decrypted.
        """

        def work(connection: Connection) -> None:
            records.lock_keys(connection)
            instant = now()
            if grace:
                for _, sealed, _ in records.living(connection, instant):
                    self._open(sealed)
            records.delete_expired(connection, instant)
            records.retire(connection, instant + int(grace * SECOND))
            self._make(connection)

        await self._catalog.write(work)
        self._read = -_FRESH

    async def check(self) -> None:
        """Raise `Unavailable` unless all current keys can be decrypted."""
        await self._refresh(force=True)

    async def _newest(self) -> tuple[str, str]:
        """Return the key to sign with, which another server may just have made."""
        for attempt in ("there", "made"):
            if attempt == "made":
                await self._catalog.write(self._make_first)
            await self._refresh(force=True)
            for id_, (key, retires) in self._keys.items():
                if retires is None:
                    return id_, key
        raise Unavailable("No signing key is available.")

    async def _key(self, id_: str | None) -> tuple[str, int | None]:
        await self._refresh(force=False)
        if id_ not in self._keys and time.monotonic() - self._read > _LOOK:
            await self._refresh(force=True)
        if id_ is not None and id_ in self._keys:
            return self._keys[id_]
        raise Unauthenticated("The token was not signed by this hub.")

    async def _refresh(self, *, force: bool) -> None:
        if not force and time.monotonic() - self._read < _FRESH:
            return
        rows = await self._catalog.read(lambda connection: records.living(connection, now()))
        self._keys = {id_: (self._open(sealed), retires) for id_, sealed, retires in rows}
        self._read = time.monotonic()

    def _make_first(self, connection: Connection) -> None:
        records.lock_keys(connection)
        if not any(retires is None for _, _, retires in records.living(connection, now())):
            self._make(connection)

    def _make(self, connection: Connection) -> None:
        sealed = self._box.encrypt(secrets.token_urlsafe(48).encode()).decode()
        records.add(connection, secrets.token_hex(8), sealed, now())

    def _open(self, sealed: str) -> str:
        try:
            return self._box.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise Unavailable(
                "The signing keys were encrypted with another secret key: check DSX_SECRET_KEY."
            ) from None


class SealedCookie:
    """Encrypts cookies that any server of the hub can decrypt."""

    def __init__(self, secret_keys: Sequence[str], purpose: str) -> None:
        """Cookies of another *purpose* do not decrypt; the first key encrypts."""
        self._box = MultiFernet([_fernet(f"{purpose} {key}") for key in secret_keys])

    def seal(self, values: dict[str, str]) -> str:
        """Return *values* encrypted and authenticated."""
        return self._box.encrypt(json.dumps(values).encode()).decode()

    def open(self, sealed: str, seconds: int) -> dict[str, str] | None:
        """Return the values sealed at most *seconds* ago; None if invalid or older."""
        try:
            values: dict[str, str] = json.loads(
                self._box.decrypt(sealed.encode("utf-8", "surrogatepass"), ttl=seconds)
            )
        except InvalidToken:
            return None
        return values


def _fernet(secret: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(secret.encode()).digest()))


def load_or_create_secret(path: Path, prefix: str = "") -> tuple[str, bool]:
    """Return the secret in *path* (mode 0600) and whether it was created now."""
    try:
        return path.read_text("ascii").strip(), False
    except FileNotFoundError:
        pass
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = f"{prefix}{secrets.token_urlsafe(32)}"
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{key}\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        return path.read_text("ascii").strip(), False
    finally:
        draft.unlink()
    return key, True


async def end_signing_keys(catalog: Catalog) -> None:
    """Invalidate all signed tokens; the next server makes a new key."""

    def work(connection: Connection) -> None:
        records.lock_keys(connection)
        records.retire(connection, now())
        records.delete_expired(connection, now())

    await catalog.write(work)


async def check_sealed(catalog: Catalog, secret_keys: Sequence[str], path: Path) -> None:
    """Raise `Conflict` if the catalog has keys that *secret_keys* (or *path*) cannot decrypt."""
    if not await catalog.read(lambda connection: records.living(connection, now())):
        return
    where = "or end all signed tokens: dsx secrets rotate --grace 0"
    if not secret_keys:
        raise Conflict(
            f"{path} is missing, and the catalog has keys that were encrypted with it. "
            f"Restore it, or set DSX_SECRET_KEY; {where}"
        )
    try:
        await SigningKeys(catalog, secret_keys).check()
    except Unavailable:
        raise Conflict(
            "The catalog has keys that were encrypted with another secret key "
            f"(DSX_SECRET_KEY or {path}). Restore that key (DSX_SECRET_KEY takes "
            f"several); {where}"
        ) from None
