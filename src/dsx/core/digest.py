"""SHA-256 digests: the names of blobs, and their form in HTTP (RFC 9530)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Iterable
from typing import NewType

from dsx.core.errors import Invalid

Digest = NewType("Digest", str)
"""The SHA-256 of some bytes as 64 lowercase hexadecimal digits."""

Buffer = bytes | bytearray | memoryview

_HEX = re.compile(r"[0-9a-f]{64}")
_ITEM = re.compile(r"(?:^|,)\s*([a-z0-9-]+)=:([A-Za-z0-9+/=]*):")
_FIELD_NAMES = {"sha-256": ("sha256", 32), "sha": ("sha1", 20), "md5": ("md5", 16)}


def parse_digest(text: str) -> Digest:
    """Return *text* as a digest, or raise `Invalid` unless it is 64 lowercase hex digits."""
    if not _HEX.fullmatch(text):
        raise Invalid("A digest is 64 lowercase hexadecimal digits (SHA-256).")
    return Digest(text)


def digest_of(data: Buffer) -> Digest:
    """Return the SHA-256 of bytes in memory."""
    return Digest(hashlib.sha256(data).hexdigest())


def text_digest(text: str) -> Digest:
    """Return the SHA-256 of a text; unpaired surrogates (bytes that are not UTF-8) are allowed."""
    return digest_of(text.encode("utf-8", "surrogatepass"))


def to_repr_digest(digest: Digest) -> str:
    """Return a ``Repr-Digest`` field value (RFC 9530 §3): ``sha-256=:…base64…:``."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(digest)).decode()}:"


def from_repr_digest(value: str) -> Digest | None:
    """Return the SHA-256 in a ``Repr-Digest`` field, None without one; `Invalid` if malformed."""
    raw = _digests(value).get("sha256")
    return Digest(raw.hex()) if raw is not None else None


def from_digest_field(value: str) -> dict[str, bytes]:
    """Return the digests in a ``Content-Digest`` or ``Repr-Digest`` field, strongest first.

    By algorithm. `Invalid` if it is malformed, or has none of sha-256, sha and md5.
    """
    found = _digests(value)
    if not found:
        raise Invalid(
            "A digest field must be sha-256=:base64: (RFC 9530); sha and md5 are also accepted."
        )
    return found


def _digests(value: str) -> dict[str, bytes]:
    items = {item[1]: item[2] for item in _ITEM.finditer(value)}
    found = {}
    for label, (name, size) in _FIELD_NAMES.items():
        if label not in items:
            continue
        try:
            raw = base64.b64decode(items[label], validate=True)
        except binascii.Error:
            raw = b""
        if len(raw) != size:
            raise Invalid(f"A {label} digest is {size} bytes in base64 between colons.")
        found[name] = raw
    return found


class Hasher:
    """Hashes bytes in the order they arrive: SHA-256 for identity, CRC-32 for ZIP archives."""

    def __init__(self, algorithms: Iterable[str] = ()) -> None:
        """Also compute *algorithms* (names that ``hashlib`` knows)."""
        self._sha256 = hashlib.sha256()
        self._others = {
            name: hashlib.new(name, usedforsecurity=False)
            for name in algorithms
            if name != "sha256"
        }
        self.crc32 = 0
        self.size = 0

    def copy(self) -> Hasher:
        """Return a copy that has hashed the same bytes so far."""
        twin = Hasher()
        twin._sha256 = self._sha256.copy()
        twin._others = {name: other.copy() for name, other in self._others.items()}
        twin.crc32, twin.size = self.crc32, self.size
        return twin

    def update(self, data: Buffer) -> None:
        """Add the next bytes. Releases the GIL for large buffers."""
        self._sha256.update(data)
        for other in self._others.values():
            other.update(data)
        self.crc32 = zlib.crc32(data, self.crc32)
        self.size += len(data)

    @property
    def digest(self) -> Digest:
        """SHA-256 of everything so far."""
        return Digest(self._sha256.hexdigest())

    def hexdigest(self, algorithm: str) -> str:
        """Return the digest of everything so far by *algorithm*: SHA-256 or a requested one."""
        return (self._others.get(algorithm) or self._sha256).hexdigest()

    def computes(self, algorithms: Iterable[str]) -> bool:
        """Return whether `hexdigest` supports all of these."""
        return self._others.keys() >= set(algorithms) - {"sha256"}
