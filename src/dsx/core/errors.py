"""Every failure DSX Hub reports, as one tree of exceptions.

``code`` is the stable machine name in problem documents; the SDK rebuilds the same class from it.
``STATUS`` is the one table that maps the tree to HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class DSXError(Exception):
    """Base class of all expected failures.

    Args:
        message: one sentence for a person: what is wrong and, where it helps, what to do next.
        details: machine-readable facts (``expected_offset``, ``limit`` …); must be JSON values.

    Attributes:
        refused: somebody tried what they may not do, whatever the answer: goes into the audit log.
    """

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False
    refused: bool = False

    def __init__(self, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = dict(details or {})


class Invalid(DSXError):
    """The request is malformed."""

    code = "invalid"


class PartCorrupt(Invalid):
    """The bytes of this request do not match their digest; none were kept."""

    code = "part_corrupt"
    retryable = True


class Unauthenticated(DSXError):
    """The credential is missing or invalid."""

    code = "unauthenticated"
    refused = True


class Denied(DSXError):
    """The principal is known and lacks the permission."""

    code = "denied"
    refused = True


class NotFound(DSXError):
    """The resource does not exist (or the principal may not know of it)."""

    code = "not_found"


class Gone(DSXError):
    """The resource existed and has expired or been aborted."""

    code = "gone"


class Damaged(Gone):
    """The stored bytes have changed; storing the right ones again repairs them."""

    code = "damaged"


class Conflict(DSXError):
    """The request contradicts the current state."""

    code = "conflict"


class TooMany(Conflict):
    """The caller has reached a limit, ``details["limit"]``, on the number of these."""

    code = "too_many"


class AlreadyExists(Conflict):
    """The name is taken."""

    code = "already_exists"


class OffsetMismatch(Conflict):
    """The part does not start at the upload's offset, ``details["expected_offset"]``."""

    code = "offset_mismatch"


class Superseded(Conflict):
    """A newer writer of the same bytes took over; query the upload's offset."""

    code = "superseded"
    retryable = True


class Paused(Conflict):
    """The transfer is paused; it continues once its task is resumed."""

    code = "paused"


class Incomplete(Conflict):
    """Bytes are missing; ``details["missing"]`` has the first gaps."""

    code = "incomplete"


class TimedOut(DSXError):
    """The sender stalled in the middle of a request."""

    code = "timed_out"
    retryable = True


class PreconditionFailed(DSXError):
    """``If-Match`` or ``If-Unmodified-Since`` does not hold."""

    code = "precondition_failed"


class TooLarge(DSXError):
    """The body, the file or the list exceeds its limit, ``details["limit"]``."""

    code = "too_large"


class Unsupported(DSXError):
    """The content coding of the body is not supported."""

    code = "unsupported"


class RangeUnsatisfiable(DSXError):
    """No byte of the requested range exists; ``details["size"]`` is the full length."""

    code = "range_unsatisfiable"


class Unprocessable(DSXError):
    """Well-formed, but a value is not acceptable; ``details["field"]`` names it."""

    code = "unprocessable"


class DigestMismatch(Unprocessable):
    """The bytes do not match the expected digest."""

    code = "digest_mismatch"


class RateLimited(DSXError):
    """Too many requests; ``details["retry_after"]`` is in seconds."""

    code = "rate_limited"
    refused = True
    retryable = True


class Unavailable(DSXError):
    """Temporary failure: try again; ``details["retry_after"]`` is in seconds where known."""

    code = "unavailable"
    retryable = True


class StorageFailed(Unavailable):
    """The disk failed to write or read: only what was acknowledged before is kept."""

    code = "storage_failed"


class Elsewhere(Unavailable):
    """Another server, ``details["staging_id"]``, has the bytes of the upload.

    Behind a load balancer, the same request may reach that one the next time.
    """

    code = "elsewhere"


class Unusable(Unavailable):
    """The catalog is damaged or of another version; an operator must repair or replace it."""

    code = "unusable"


class NotMounted(Unavailable):
    """A dataset's directory cannot be read, or is not the one that was indexed."""

    code = "not_mounted"


class StorageFull(DSXError):
    """Not enough space for the bytes."""

    code = "storage_full"


STATUS: dict[type[DSXError], int] = {
    DSXError: 500,
    Invalid: 400,
    PartCorrupt: 400,
    Unauthenticated: 401,
    Denied: 403,
    NotFound: 404,
    TimedOut: 408,
    Conflict: 409,
    TooMany: 409,
    AlreadyExists: 409,
    OffsetMismatch: 409,
    Superseded: 409,
    Paused: 409,
    Incomplete: 409,
    Gone: 410,
    Damaged: 410,
    PreconditionFailed: 412,
    TooLarge: 413,
    Unsupported: 415,
    RangeUnsatisfiable: 416,
    Unprocessable: 422,
    DigestMismatch: 422,
    RateLimited: 429,
    Unavailable: 503,
    Unusable: 503,
    NotMounted: 503,
    StorageFailed: 503,
    Elsewhere: 503,
    StorageFull: 507,
}

BY_CODE: dict[str, type[DSXError]] = {cls.code: cls for cls in STATUS}
