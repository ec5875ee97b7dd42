"""Limits set by the operator."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Connection

from dsx.catalog import uploads, usage, users
from dsx.core.disk import MORE_ROOM
from dsx.core.errors import Invalid, StorageFull, TooLarge, TooMany


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on stored data.

    Attributes:
        file_size: bytes of one file; None: no limit.
        quota: bytes of all files of one owner, including versions, trash and unfinished uploads;
            None: no limit. A user may have another quota than this, and than the next.
        quota_files: number of those files; None: no limit.
        uploads: number of unfinished uploads of one owner, partial ones included.
        tasks: number of unfinished tasks of one owner, beside those of uploads.
        expiry: seconds for which an upload waits for its next byte, and an ended one is remembered.
        checksum: whether dialects that make a digest optional must require one.
    """

    file_size: int | None = None
    quota: int | None = None
    quota_files: int | None = None
    uploads: int | None = None
    tasks: int | None = None
    expiry: float = 24 * 3600
    checksum: bool = False

    def narrowed(self, file_size: int | None) -> Limits:
        """Return these limits with files of at most *file_size* bytes (None: unchanged)."""
        if file_size is None or (self.file_size is not None and self.file_size <= file_size):
            return self
        return replace(self, file_size=file_size)

    def check_size(self, size: int | None) -> None:
        """Raise `TooLarge` if a file of *size* bytes (None: unknown) exceeds the limit."""
        if size is not None and self.file_size is not None and size > self.file_size:
            raise too_large(self.file_size)

    def check_quota(
        self, connection: Connection, owner: str, more: int, *, counted: int = 0
    ) -> None:
        """Raise `TooLarge` if *owner* may not have *more* bytes, or another file.

        *counted* of them are already counted, as an upload's. The remaining quota stays locked
        until the transaction ends, so all other locks must be taken before.
        """
        most_bytes, most_files = self.quotas(connection, owner)
        if most_bytes is None and most_files is None:
            return
        found = usage.of(connection, owner, lock=True)
        used = found.bytes + found.staged - counted
        if most_bytes is not None and used + more > most_bytes:
            raise over_quota(most_bytes, used, more)
        if most_files is not None and found.files >= most_files:
            raise TooLarge(
                f"The quota is {most_files} files, including versions and trash; delete some "
                "and empty the trash to make room.",
                {"quota_files": most_files, "used_files": found.files, "limit": most_files},
            )

    def check_uploads(self, connection: Connection, owner: str) -> None:
        """Raise `TooMany` if *owner* may not begin another upload."""
        check_number(usage.of(connection, owner).uploads, self.uploads, "unfinished uploads")

    def standing(self, connection: Connection, owner: str) -> tuple[int | None, int]:
        """Return the byte quota of *owner* (None: no limit) and the bytes counted."""
        most, _ = self.quotas(connection, owner)
        if most is None:
            return None, 0
        found = usage.of(connection, owner)
        return most, found.bytes + found.staged

    def quotas(self, connection: Connection, owner: str) -> tuple[int | None, int | None]:
        """Return the quotas of *owner* in bytes and files: its own, or else the hub's."""
        own_bytes, own_files = users.quota(connection, owner)
        return (
            self.quota if own_bytes is None else own_bytes,
            self.quota_files if own_files is None else own_files,
        )


def check_number(found: int, most: int | None, what: str) -> None:
    """Raise `TooMany` if *found* of *what* reach *most*; None: no limit."""
    if most is not None and found >= most:
        raise TooMany(
            f"You have {found} {what}, and {most} are allowed: end some of them first.",
            {"limit": most, "found": found},
        )


def over_quota(most: int, used: int, more: int) -> TooLarge:
    """Return the failure of a request for *more* bytes when *used* of the quota *most* are used."""
    return TooLarge(
        f"This exceeds the quota by {used + more - most} bytes; delete files and "
        "empty the trash, or abort unfinished uploads, to make room.",
        {"quota": most, "used": used, "limit": max(0, most - used)},
    )


def check_room(connection: Connection, room: int | None, needed: int) -> None:
    """Raise `StorageFull` if *needed* bytes do not fit beside those reserved for open uploads."""
    if room is None:
        return
    uploads.claim_room(connection)
    available = max(0, room - usage.reserved(connection))
    if needed > available:
        raise StorageFull(
            f"Not enough space for {needed} bytes. {MORE_ROOM}",
            {"needed": needed, "available": available},
        )


def too_large(limit: int) -> TooLarge:
    """Return the failure of a file over *limit* bytes."""
    return TooLarge(
        f"A file has at most {limit} bytes here.", {"limit": limit, "max_file_size": limit}
    )


def inconsistent(known: int | None, told: int | None) -> Invalid:
    """Return the failure of a request that contradicts the upload's length."""
    return Invalid(
        f"The upload's length cannot change: it is {known}, not {told}.",
        {"length": known, "told": told},
    )
