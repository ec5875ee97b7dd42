"""Who is asking, and what they may do. The only file with rules about either."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from dsx.core.errors import Unauthenticated
from dsx.core.model import Principal

ADMIN = Principal("admin", admin=True)
"""The service principal behind every configured API key."""


class Access:
    """Resolves credentials to principals."""

    def __init__(self, keys: Iterable[str]) -> None:
        """Accept *keys*, each at least one character long; only their hashes are kept."""
        self._hashes = [_hash(key) for key in keys if key]
        if not self._hashes:
            raise ValueError("at least one API key is needed")

    def identify(self, credential: str | None) -> Principal:
        """The principal who holds *credential*, or `Unauthenticated`.

        Takes the same time whichever key matches, and whether any does.
        """
        if credential is None:
            raise Unauthenticated("This needs an API key: send 'Authorization: Bearer <api key>'.")
        presented = _hash(credential)
        matches = [hmac.compare_digest(presented, known) for known in self._hashes]
        if not any(matches):
            raise Unauthenticated("The API key is not known here; check DSX_API_KEY.")
        return ADMIN


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def admin_key(path: Path) -> tuple[str, bool]:
    """The admin key kept in *path* (mode 0600), made now if there is none; and whether it was."""
    try:
        return path.read_text("ascii").strip(), False
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    key = f"dsx_{secrets.token_urlsafe(32)}"
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
