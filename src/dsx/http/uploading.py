"""What the upload protocols share: header fields read strictly, and where uploads are."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request

from dsx.core.errors import Invalid
from dsx.hub.begin import MAX_LENGTH

UPLOADS = "/uploads"
"""Where tus and the IETF protocol meet the uploads: one resource, told apart by its headers."""

_NUMBER = re.compile(r"[0-9]{1,19}")
_PATH = re.compile(r"(?P<root>.*)/uploads/(?P<id>[0-9A-Za-z-]{1,64})")


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


def location(request: Request, id_: str) -> str:
    """Where an upload is, as a path that holds behind a proxy that adds a prefix, too."""
    return f"{request.scope.get('root_path', '')}{UPLOADS}/{id_}"


def named_upload(request: Request, url: str) -> str:
    """The id of the upload that *url* names, which has to be one of this server."""
    parts = urlsplit(url)
    known = {request.headers.get("host"), request.headers.get("x-forwarded-host")}
    match = _PATH.fullmatch(parts.path)
    here = not parts.netloc or (parts.scheme in {"http", "https"} and parts.netloc in known)
    if match is None or not here or parts.query or parts.fragment or _climbs(parts.path):
        raise Invalid(f"{url[:200]!r} is no upload of this server.")
    return match["id"]


def _climbs(path: str) -> bool:
    return ".." in path.split("/") or "\\" in path or "%" in path
