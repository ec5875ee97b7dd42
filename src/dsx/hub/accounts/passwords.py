"""Passwords: hashed with Argon2id, compared in constant time whether or not the account exists."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dsx.core.errors import Unprocessable

MIN_LENGTH = 8
MAX_LENGTH = 256
_THREADS = 2  # 19 MiB each: bounds memory and cores in a flood of sign-ins
_REMEMBERED = 4096
T = TypeVar("T")


class Passwords:
    """Hashes and compares passwords in its own threads."""

    def __init__(self) -> None:
        # OWASP's parameters for servers: a flood costs little, a stolen hash much.
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._threads = ThreadPoolExecutor(_THREADS, "passwords")
        self._nobodys = self._hasher.hash(secrets.token_urlsafe())
        self._pepper = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, None] = OrderedDict()

    async def hash(self, password: str) -> str:
        """Return the hash of *password* to store; `Unprocessable` for a bad length."""
        if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
            raise Unprocessable(
                f"A password has {MIN_LENGTH} to {MAX_LENGTH} characters.", {"field": "password"}
            )
        return await self._run(self._hasher.hash, password.encode("utf-8", "surrogatepass"))

    async def matches(self, hash_: str | None, password: str) -> bool:
        """Return whether *password* matches *hash_*; None (no account) takes as long."""
        given = password[: MAX_LENGTH + 1].encode("utf-8", "surrogatepass")
        matched = await self._run(self._verify, hash_ or self._nobodys, given)
        if matched and hash_ is not None:
            self._remember(hash_, given)
            return True
        return False

    def remembers(self, hash_: str, password: str) -> bool:
        """Return whether this process has already verified the pair, for clients that repeat it."""
        known = self._digest(hash_, password.encode("utf-8", "surrogatepass")) in self._known
        return known and len(password) <= MAX_LENGTH

    def close(self) -> None:
        """Shut down the threads."""
        self._threads.shutdown()

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def _verify(self, hash_: str, password: bytes) -> bool:
        try:
            return self._hasher.verify(hash_, password)
        except (VerificationError, InvalidHashError):
            return False

    def _remember(self, hash_: str, password: bytes) -> None:
        self._known[self._digest(hash_, password)] = None
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _digest(self, hash_: str, password: bytes) -> bytes:
        text = hash_.encode() + b"\0" + password
        return hashlib.blake2b(text, key=self._pepper, digest_size=32).digest()
