"""Shared by the upload protocols: strict parsing of header fields, and upload URLs."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.requests import Request

from dsx.core.errors import Invalid
from dsx.core.transfers import ALGORITHMS, NewUpload
from dsx.http.public import is_here, url_of
from dsx.hub.transfers.creation import MAX_LENGTH

UPLOADS = "/uploads"
"""Path of uploads for tus and the IETF protocol, which their headers tell apart."""

_KEY = re.compile(r"[!-+\--~]+")  # visible ASCII without space and comma
_RESERVED = {"filename", "name", "relativePath", "filetype", "type", "category", "tags"}
_UNSAID = {"", "null", "undefined"}
_NUMBER = re.compile(r"[0-9]{1,19}")
_PATH = re.compile(r"(?P<root>.*)/uploads/(?P<id>[0-9A-Za-z-]{1,64})")


_ONCE = (
    "Content-Digest", "Content-Disposition", "Content-Range", "Content-Type", "Repr-Digest",
    "Tus-Resumable", "Upload-Checksum", "Upload-Complete", "Upload-Concat", "Upload-Defer-Length",
    "Upload-Draft-Interop-Version", "Upload-Length", "Upload-Offset", "X-HTTP-Method-Override",
)  # fmt: skip


def refuse_repeated(headers: Headers) -> None:
    """Raise `Invalid` if a field that describes an upload's bytes is repeated.

    A proxy or another server might choose a different one of the values.
    """
    for name in _ONCE:
        if len(headers.getlist(name)) > 1:
            raise Invalid(f"The header field {name} is repeated.", {"field": name})


def number(headers: Headers, name: str) -> int | None:
    """Parse a field that is a number of bytes; None if it is absent.

    Raises `Invalid` if it is not decimal digits, too large, or repeated.
    """
    values = headers.getlist(name)
    if not values:
        return None
    if len(values) > 1 or not _NUMBER.fullmatch(values[0]) or int(values[0]) > MAX_LENGTH:
        raise Invalid(f"{name} must be one number of bytes in decimal digits.", {"field": name})
    return int(values[0])


def told_filename(headers: Headers) -> str | None:
    """The file name in Content-Disposition, or None; raises `Invalid` if it is not UTF-8."""
    _, options = parse_options_header(headers.get("content-disposition"))
    try:
        return options.get(b"filename", b"").decode() or None
    except UnicodeDecodeError:
        raise Invalid("The file name in Content-Disposition is not UTF-8.") from None


def location(request: Request, id_: str) -> str:
    """The absolute URL of an upload: some clients do not accept a path."""
    return url_of(request, f"{UPLOADS}/{id_}")


def named_upload(request: Request, url: str) -> str:
    """The id of the upload at *url*, which must be on this server."""
    foreign = Invalid(f"{url[:200]!r} is not an upload on this server.")
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets without an address
        raise foreign from None
    match = _PATH.fullmatch(parts.path)
    here = is_here(request, parts) or not (parts.scheme or parts.netloc)
    if match is None or not here or parts.query or parts.fragment or _climbs(parts.path):
        raise foreign
    return match["id"]


def described(header: str) -> NewUpload:
    """Parse ``Upload-Metadata`` (tus, Creation) by the conventions of tus clients.

    Unknown keys are kept as metadata. Raises `Invalid` if the field is malformed.
    """
    said = _metadata(header)
    name = next(
        (said[key] for key in ("relativePath", "filename", "name") if _given(said, key)), None
    )
    kind = next((said[key] for key in ("filetype", "type") if "/" in said.get(key, "")), None)
    tags = [tag.strip() for tag in said.get("tags", "").split(",") if tag.strip()]
    kept = {
        key: value for key, value in said.items() if key not in _RESERVED and key not in ALGORITHMS
    }
    return NewUpload(
        name=name,
        category=said.get("category") or None,
        content_type=kind,
        metadata=kept,
        tags=tuple(tags),
        expected={key: said[key] for key in ALGORITHMS if _given(said, key)},
    )


def _metadata(header: str) -> dict[str, str]:
    """Parse comma-separated pairs of a key and its value in Base64."""
    found: dict[str, str] = {}
    for pair in header.split(",") if header.strip() else ():
        key, _, value = pair.strip().partition(" ")
        if not _KEY.fullmatch(key) or key in found:
            raise Invalid("Upload-Metadata keys must be unique and visible ASCII.")
        try:
            data = base64.b64decode(value.strip(), validate=True)
        except ValueError:
            raise Invalid(f"The value of {key!r} in Upload-Metadata is not Base64.") from None
        try:
            found[key] = data.decode()
        except UnicodeDecodeError:
            found[key] = value.strip()
    return found


def _given(said: Mapping[str, str], key: str) -> bool:
    return said.get(key, "") not in _UNSAID


def _climbs(path: str) -> bool:
    return ".." in path.split("/") or "\\" in path or "%" in path
