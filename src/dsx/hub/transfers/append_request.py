"""Describes a request that adds bytes, and checks whether the upload accepts it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dsx.core.errors import Conflict, Denied, Invalid, OffsetMismatch, Paused, TooLarge
from dsx.core.ranges import ByteRange
from dsx.core.transfers import PartDigest, Upload
from dsx.hub.files.files import FORM_OVERHEAD
from dsx.hub.limits import Limits, inconsistent
from dsx.hub.transfers.creation import MAX_LENGTH
from dsx.hub.transfers.leases import EVERYTHING
from dsx.hub.transfers.writer import Write

BodySource = Callable[[Write, Callable[[], Awaitable[None]]], Awaitable[object]]
"""Passes the bytes of a request, in order, to a blocking writer.

It awaits its second argument before reading more, so that a pause holds the sender back.
"""

MAX_SPANS = 4096
"""Maximum number of separate pieces: each part searches them all, and rewrites them."""


def no_digest() -> PartDigest | None:
    """Return None: the bytes have no digest of their own."""
    return None


@dataclass(frozen=True, slots=True)
class AppendRequest:
    """A request that adds bytes to an upload.

    Attributes:
        offset: where the bytes go. Unless it is a *part*, this must be the upload's offset.
        size: number of bytes; None: unknown.
        length: of the whole upload, if declared only now.
        last: the upload ends where these bytes end.
        checked: they have a digest, so nothing is kept before it was compared.
        digest: returns their expected digest once the bytes are read.
        part: they may go anywhere, concurrently with other parts.
        claimed: *size* is only the sender's claim (in a form): a different number of bytes is
            `Invalid`, and none are kept.
        digests: algorithms of digests declared later: computed while receiving.
        alone: while somebody else adds bytes, these are refused; else the newer writer wins.
        announced: the length of the request's body, if not *size*: a form is longer.
    """

    offset: int
    size: int | None = None
    length: int | None = None
    last: bool = False
    checked: bool = False
    digest: Callable[[], PartDigest | None] = no_digest
    part: bool = False
    claimed: bool = False
    digests: tuple[str, ...] = ()
    alone: bool = False
    announced: int | None = None

    @property
    def span(self) -> ByteRange:
        """Where the bytes go, as far as known."""
        return ByteRange(self.offset, EVERYTHING if self.size is None else self.offset + self.size)


def check(upload: Upload, addition: AppendRequest, limits: Limits) -> None:
    """Raise for requests that can be refused before an older writer is asked to yield."""
    span = addition.span
    if upload.kind == "final":
        raise Denied("A final upload joins partial ones and takes no bytes.")
    if upload.paused:
        raise Paused("The upload is paused; resume its task first.", {"id": upload.id})
    if not 0 <= span.start <= MAX_LENGTH:
        raise Invalid("An offset must be a number of bytes, 0 or more.", {"offset": span.start})
    behind = span.start < upload.offset or upload.state == "finished"
    if behind and not addition.part and span.start != upload.offset:
        raise mismatch(upload, span.start)
    if len(upload.received.parts) >= MAX_SPANS and not _joins(upload, span):
        raise Conflict(
            f"The upload has {MAX_SPANS} pieces with gaps between them: first send bytes "
            "adjacent to an existing piece.",
            {"limit": MAX_SPANS},
        )
    _check_length(upload, addition, limits)


def _joins(upload: Upload, span: ByteRange) -> bool:
    """Return whether *span* begins at or in an existing piece, so that it adds no piece."""
    return any(part.start <= span.start <= part.stop for part in upload.received.parts)


def _check_length(upload: Upload, addition: AppendRequest, limits: Limits) -> None:
    stop = addition.span.stop
    known = upload.length if upload.length is not None else addition.length
    if addition.length is not None and addition.length != known:
        raise inconsistent(known, addition.length)
    if addition.size is not None:
        if addition.last and known is not None and known != stop:
            raise inconsistent(known, stop)
        if known is not None and stop > known:
            raise TooLarge(f"The body exceeds the upload's length, {known}.", {"limit": known})
        limits.check_size(stop)
    limits.check_size(addition.length)


def brought(upload: Upload, addition: AppendRequest) -> int:
    """Return the minimum number of bytes that *addition* adds and that do not count yet."""
    if upload.length is not None:
        return 0
    if addition.size is None:
        return max(0, (addition.announced or 0) - FORM_OVERHEAD)
    return sum(piece.size for piece, there in upload.received.split(addition.span) if not there)


def mismatch(upload: Upload, offset: int) -> OffsetMismatch:
    """Return the failure of a request that does not start at the upload's offset."""
    return OffsetMismatch(
        f"The upload's offset is {upload.offset}, not {offset}.",
        {"expected_offset": upload.offset, "offset": offset},
    )
