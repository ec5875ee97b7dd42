"""Access to a bucket: address, credentials, timeouts, and the meaning of errors.

``s3://bucket/prefix`` takes everything else from the usual variables (``AWS_ENDPOINT_URL``,
``AWS_REGION``, ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` …) or from the URL's query, which
has the same names without ``AWS_``, in lower case.
"""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store as Bucket

from dsx.core.errors import DSXError, StorageFull, Unavailable

log = logging.getLogger(__name__)

_QUICK = {"timeout": timedelta(seconds=10), "connect_timeout": timedelta(seconds=3)}
_PATIENT = {
    "timeout": timedelta(days=1),
    "read_timeout": timedelta(seconds=30),
    "connect_timeout": timedelta(seconds=3),
}
"""No total timeout for a body while data keeps arriving."""
_FULL = ("QuotaExceeded", "InsufficientCapacity", "StorageFull", "507 Insufficient Storage")
_OPTIONS = {
    "endpoint",
    "endpoint_url",
    "region",
    "access_key_id",
    "secret_access_key",
    "session_token",
    "virtual_hosted_style_request",
    "skip_signature",
    "unsigned_payload",
}


class Clients:
    """Two clients of one bucket: *quick* for metadata, which others may wait for, and *bulk*."""

    def __init__(self, url: str) -> None:
        """Configure access to the bucket of *url*, without I/O. `ValueError` for a bad URL."""
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc:
            raise ValueError("DSX_STORAGE_URL must be s3://bucket or s3://bucket/prefix")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        if unknown := options.keys() - _OPTIONS:
            known = ", ".join(sorted(_OPTIONS))
            raise ValueError(
                f"DSX_STORAGE_URL: unknown option {min(unknown)!r}; the options are {known}"
            )
        self.name = parts.netloc
        self.prefix = unquote(parts.path).strip("/")
        self.quick = self._client(options, _QUICK, seconds=10)
        self.bulk = self._client(options, _PATIENT, seconds=60)

    def _client(self, options: dict[str, str], limits: dict[str, Any], *, seconds: int) -> Bucket:
        endpoint = options.get("endpoint") or options.get("endpoint_url") or _endpoint()
        retries: Any = {"max_retries": 4, "retry_timeout": timedelta(seconds=seconds)}
        limits = limits | {"allow_http": endpoint.startswith("http://")}
        config: Any = options
        return Bucket(
            self.name,
            prefix=self.prefix or None,
            config=config,
            client_options=limits,  # type: ignore[arg-type]
            retry_config=retries,
        )


def designed(error: BaseError | FileNotFoundError, doing: str) -> DSXError:
    """Return the failure for the engine's *error*; the engine's message is logged."""
    log.warning("%s failed: %s", doing, words(error))
    return meaning(error)


def meaning(error: BaseError | FileNotFoundError) -> DSXError:
    """Return the failure for the engine's *error*."""
    if any(sign in str(error) for sign in _FULL):
        return StorageFull("The object store is full.")
    if isinstance(error, FileNotFoundError) or "NoSuchBucket" in str(error):
        return Unavailable("The object store's bucket does not exist.")
    refused = isinstance(error, (PermissionDeniedError, UnauthenticatedError))
    if refused or "403 Forbidden" in str(error):
        return Unavailable("The object store rejected the hub's credentials.")
    return Unavailable("The object store is not responding.")


def words(error: BaseError | FileNotFoundError) -> str:
    """Return the engine's message, for the operator, without headers and signatures."""
    return str(error).partition("\n")[0][:500]


def _endpoint() -> str:
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    return next((os.environ[name] for name in names if os.environ.get(name)), "")
