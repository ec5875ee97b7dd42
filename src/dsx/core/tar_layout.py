"""TAR members in POSIX pax format (IEEE 1003.1-2017, pax): headers and padding, without I/O."""

from __future__ import annotations

from dataclasses import dataclass

from dsx.core.digest import Digest

BLOCK = 512
SHA256_RECORD = "DSX.sha256"
END = bytes(2 * BLOCK)


@dataclass(frozen=True, slots=True)
class Member:
    """One file: path, size in bytes, modification time in nanoseconds, SHA-256."""

    path: str
    size: int
    mtime_ns: int
    sha256: Digest


def header(member: Member) -> bytes:
    """Return everything before the member's content: a pax header with its records, and its own."""
    seconds, nanoseconds = divmod(member.mtime_ns, 10**9)
    records = b"".join(
        _record(key, value)
        for key, value in (
            ("path", member.path),
            ("size", str(member.size)),
            ("mtime", f"{seconds}.{nanoseconds:09}"),
            (SHA256_RECORD, member.sha256),
        )
    )
    fallback = member.path.encode("ascii", "replace")[:100]
    extended = _ustar(b"././@PaxHeader", len(records), b"x", 0)
    own = _ustar(fallback, member.size, b"0", max(0, seconds))
    return extended + records + padding(len(records)) + own


def padding(size: int) -> bytes:
    """Return the zeros that pad *size* bytes of content to whole blocks."""
    return bytes(-size % BLOCK)


def _record(key: str, value: str) -> bytes:
    """Return one pax record, ``LENGTH KEY=VALUE``, whose length counts its own digits."""
    body = f" {key}={value}\n".encode()
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


def _ustar(name: bytes, size: int, kind: bytes, mtime: int) -> bytes:
    """Return a ustar header block; numbers that do not fit are in the pax records."""
    fields = (
        name.ljust(100, b"\0"),
        b"0000644\0" + b"0000000\0" * 2,
        _octal(size, 11) + _octal(mtime, 11),
        b" " * 8,
        kind + bytes(100),
        b"ustar\x0000",
    )
    block = b"".join(fields).ljust(BLOCK, b"\0")
    checksum = f"{sum(block):06o}\0 ".encode()
    return block[:148] + checksum + block[156:]


def _octal(number: int, digits: int) -> bytes:
    return f"{min(number, 8**digits - 1):0{digits}o}\0".encode()
