"""What the upload protocols share: header fields read strictly, and where uploads are."""

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
"""Where tus and the IETF protocol meet the uploads: one resource, told apart by its headers."""

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
    """Raise `Invalid` if a field that says what an upload's bytes are is there more than once.

    Which of them counts would be anybody's guess: another server, or a proxy, may guess otherwise.
    """
    for name in _ONCE:
        if len(headers.getlist(name)) > 1:
            raise Invalid(f"{name} is there more than once.", {"field": name})


def number(headers: Headers, name: str) -> int | None:
    """A field that is a number of bytes; None if it is absent.

    `Invalid` if it is anything but decimal digits, too large, or there more than once.
    """
    values = headers.getlist(name)
    if not values:
        return None
    if len(values) > 1 or not _NUMBER.fullmatch(values[0]) or int(values[0]) > MAX_LENGTH:
        raise Invalid(f"{name} is one number of bytes in decimal digits.", {"field": name})
    return int(values[0])


def told_filename(headers: Headers) -> str | None:
    """The file name in Content-Disposition; None if there is none, `Invalid` if it is not UTF-8."""
    _, options = parse_options_header(headers.get("content-disposition"))
    try:
        return options.get(b"filename", b"").decode() or None
    except UnicodeDecodeError:
        raise Invalid("The file name in Content-Disposition is not UTF-8.") from None


def location(request: Request, id_: str) -> str:
    """Where an upload is, as the client calls this server; some clients take no mere path."""
    return url_of(request, f"{UPLOADS}/{id_}")


def named_upload(request: Request, url: str) -> str:
    """The id of the upload that *url* names, which has to be one of this server."""
    foreign = Invalid(f"{url[:200]!r} is no upload of this server.")
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that hold no address
        raise foreign from None
    match = _PATH.fullmatch(parts.path)
    here = is_here(request, parts) or not (parts.scheme or parts.netloc)
    if match is None or not here or parts.query or parts.fragment or _climbs(parts.path):
        raise foreign
    return match["id"]


def described(header: str) -> NewUpload:
    """What clients tell of a file in ``Upload-Metadata`` (tus, Creation), by convention.

    What has no meaning here is kept as metadata. `Invalid` if it is malformed.
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
    """Comma-separated pairs of a key and its value in Base64."""
    found: dict[str, str] = {}
    for pair in header.split(",") if header.strip() else ():
        key, _, value = pair.strip().partition(" ")
        if not _KEY.fullmatch(key) or key in found:
            raise Invalid("Upload-Metadata has keys of visible ASCII, each of them once.")
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
