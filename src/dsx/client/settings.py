"""Checks the arguments of a client: raises `Invalid`, with no secret in the message."""

from __future__ import annotations

import os
import re
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from dsx.client.errors import Invalid
from dsx.client.paths import local
from dsx.core.running import CA_FILE

Timeout = tuple[float, float]
Credential = str | tuple[str, str]
"""An API key or a token, or the name and password of an account."""
_UNFIT = re.compile(r"[\x00-\x1f\x7f]|[^\x00-\xff]")  # for a header field
_EXAMPLE = "for example http://hub.example.org:8000"


def base_url(given: object) -> str:
    """Return the server's URL without a trailing slash. Errors do not quote it: it may be a key."""
    if not isinstance(given, str):
        raise Invalid(f"The server's URL must be a string, not {_kind(given)}: {_EXAMPLE}.")
    text = given.strip()
    scheme, mark, _ = text.partition("://")
    if not mark or scheme.lower() not in {"http", "https"}:
        raise Invalid(f"The server's URL must begin with http:// or https://: {_EXAMPLE}.")
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise Invalid(f"The server's URL has no valid host and port: {_EXAMPLE}.") from None
    if not host or re.search(r"[\s\x00-\x1f\x7f]", text):
        raise Invalid(f"The server's URL has no valid host: {_EXAMPLE}.")
    if "@" in parts.netloc:
        raise Invalid(
            "The server's URL must not contain credentials: use api_key=(name, password)."
        )
    if parts.query or parts.fragment or text.endswith(("?", "#")):
        raise Invalid(f"The server's URL must not contain ? or #: {_EXAMPLE}.")
    return text.rstrip("/")


def credential(given: object) -> Credential | None:
    """Return the key or token, stripped of whitespace, or the pair of name and password."""
    if isinstance(given, (tuple, list)):
        if len(given) != 2 or not all(isinstance(part, str) for part in given):  # noqa: PLR2004
            raise Invalid("api_key must be a string, or a pair of strings: name and password.")
        return str(given[0]), str(given[1])
    if isinstance(given, bytes):
        given = given.decode("latin-1")
    if given is not None and not isinstance(given, str):
        raise Invalid(
            f"api_key must be a string, or a pair of name and password, not {_kind(given)}."
        )
    text = (given or "").strip()
    if _UNFIT.search(text):
        raise Invalid(
            "api_key is not a key: it contains line breaks or other invalid characters. "
            "Was it read from the right file?"
        )
    return text or None


def timeouts(given: object) -> Timeout:
    """Return the seconds to connect and to wait for bytes; one number is used for both."""
    pair = given if isinstance(given, (tuple, list)) else (given, given)
    if len(pair) != 2 or not all(_is_number(part) and part > 0 for part in pair):  # noqa: PLR2004
        raise Invalid("timeout must be a pair of seconds: to connect, and to wait for bytes.")
    return float(pair[0]), float(pair[1])


def count(name: str, given: object, least: int) -> int:
    """Return *given* if it is an integer and at least *least*."""
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        raise Invalid(f"{name} must be an integer of at least {least}.")
    return given


def seconds(name: str, given: object) -> float:
    """Return *given* as a number of seconds, which may be 0."""
    if not _is_number(given) or not given >= 0:  # type: ignore[operator]
        raise Invalid(f"{name} must be a number of seconds, 0 or more.")
    return float(given)  # type: ignore[arg-type]


def directory(name: str, given: object) -> Path:
    """Return *given* as a local path."""
    if not isinstance(given, (str, os.PathLike)):
        raise Invalid(f"{name} must be a path, not {_kind(given)}.")
    return local(given)


def ca_file(given: str | Path | None) -> str | None:
    """Return the CA file: *given*, or that in ``DSX_CA_FILE``; None if neither is set."""
    name = "ca_file" if given else CA_FILE
    given = given or os.environ.get(CA_FILE) or None
    if given is None:
        return None
    path = local(given)
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise Invalid(f"{name}: {path} contains no certificates in PEM format.") from None
    except OSError as error:
        raise Invalid(f"{name}: {path} cannot be read: {error.strerror}.") from None
    return str(path)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _kind(value: object) -> str:
    return type(value).__name__
