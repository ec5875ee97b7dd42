"""What an operator allows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Connection

from dsx.catalog import files, uploads, users
from dsx.core.errors import Invalid, StorageFull, TooLarge
from dsx.hub.intake import too_large


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of what is stored.

    Attributes:
        file_size: bytes of one file; None: any number.
        quota: bytes of all files of one owner, versions and trash included; None: any number.
            A user may have another quota than this, and than the next.
        quota_files: how many those may be; None: any number.
        expiry: seconds for which an upload waits for its next byte, and an ended one is remembered.
        checksum: dialects that may finish an upload without a digest must not.
    """

    file_size: int | None = None
    quota: int | None = None
    quota_files: int | None = None
    expiry: float = 24 * 3600
    checksum: bool = False

    def narrowed(self, file_size: int | None) -> Limits:
        """These limits, with files of at most *file_size* bytes, too (None: no further bound)."""
        if file_size is None or (self.file_size is not None and self.file_size <= file_size):
            return self
        return replace(self, file_size=file_size)

    def check_size(self, size: int | None) -> None:
        """Raise `TooLarge` for a file of *size* bytes (None: not known yet) beyond the limit."""
        if size is not None and self.file_size is not None and size > self.file_size:
            raise too_large(self.file_size)

    def check_quota(self, connection: Connection, owner: str, more: int) -> None:
        """Raise `TooLarge` if *owner* may not have *more* bytes, or another file."""
        own_bytes, own_files = users.quota(connection, owner)
        most_bytes = self.quota if own_bytes is None else own_bytes
        most_files = self.quota_files if own_files is None else own_files
        if most_bytes is None and most_files is None:
            return
        used, number = files.usage(connection, owner)
        if most_bytes is not None and used + more > most_bytes:
            raise TooLarge(
                f"That is {used + more - most_bytes} bytes over the quota; delete files, and "
                "empty the trash, to make room.",
                {"quota": most_bytes, "used": used, "limit": max(0, most_bytes - used)},
            )
        if most_files is not None and number >= most_files:
            raise TooLarge(
                f"The quota is {most_files} files, versions and trash included; delete some, and "
                "empty the trash, to make room.",
                {"quota_files": most_files, "used_files": number, "limit": most_files},
            )


def check_room(connection: Connection, room: int | None, needed: int) -> None:
    """Raise `StorageFull` if *needed* bytes do not fit beside what open uploads were promised."""
    if room is None:
        return
    uploads.claim_room(connection)
    available = max(0, room - uploads.outstanding(connection))
    if needed > available:
        raise StorageFull(
            f"There is no room for {needed} bytes.", {"needed": needed, "available": available}
        )


def inconsistent(known: int | None, told: int | None) -> Invalid:
    """The failure of a request that contradicts the upload's length."""
    return Invalid(
        f"The upload's length does not change: it is {known}, not {told}.",
        {"length": known, "told": told},
    )
