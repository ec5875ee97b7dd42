"""SHA-256 digests: the names of blobs, and how they are spelt in HTTP (RFC 9530)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from typing import NewType

from dsx.core.errors import Invalid

Digest = NewType("Digest", str)
"""The SHA-256 of some bytes as 64 lowercase hexadecimal digits."""

Buffer = bytes | bytearray | memoryview

_HEX = re.compile(r"[0-9a-f]{64}")
_SHA256_ITEM = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]+):")


def parse_digest(text: str) -> Digest:
    """Return *text* as a digest, or raise `Invalid` unless it is 64 lowercase hex digits."""
    if not _HEX.fullmatch(text):
        raise Invalid("A digest is 64 lowercase hexadecimal digits (SHA-256).")
    return Digest(text)


def digest_of(data: Buffer) -> Digest:
    """SHA-256 of bytes in memory."""
    return Digest(hashlib.sha256(data).hexdigest())


def to_repr_digest(digest: Digest) -> str:
    """``Repr-Digest`` field value (RFC 9530 §3): ``sha-256=:…base64…:``."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(digest)).decode()}:"


def from_repr_digest(value: str) -> Digest | None:
    """The SHA-256 in a ``Repr-Digest`` field; None if it carries none; `Invalid` if malformed."""
    found = _SHA256_ITEM.search(value)
    if found is None:
        return None
    try:
        raw = base64.b64decode(found[1], validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != hashlib.sha256().digest_size:
        raise Invalid("Repr-Digest: sha-256 must be 32 bytes in base64 between colons.")
    return Digest(raw.hex())


class Hasher:
    """Hashes bytes in the order they arrive: SHA-256 for identity, CRC-32 for ZIP archives."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self.crc32 = 0
        self.size = 0

    def update(self, data: Buffer) -> None:
        """Add the next bytes. Releases the GIL for large buffers."""
        self._sha256.update(data)
        self.crc32 = zlib.crc32(data, self.crc32)
        self.size += len(data)

    @property
    def digest(self) -> Digest:
        """SHA-256 of everything so far."""
        return Digest(self._sha256.hexdigest())
