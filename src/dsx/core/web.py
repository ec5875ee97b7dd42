"""Addresses as people write them into settings, and proxies into fields: checked, in one form."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_SEGMENT = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@-]+")


def path_prefix(text: str) -> str:
    """*text* as a path with a slash at its beginning and none at its end; empty: the top.

    `ValueError` if it is no path, or one that a browser would read as something else.
    """
    path = text.strip().rstrip("/").removeprefix("/")
    parts = path.split("/") if path else []
    if any(part in {".", ".."} or not _SEGMENT.fullmatch(part) for part in parts):
        raise ValueError("it must be a path, such as /hub")
    return f"/{path}" if path else ""


def web_address(text: str) -> str:
    """*text* as a URL of the web, without a slash at its end; empty stays empty.

    `ValueError` unless it is of a host and a path, and of nothing else.
    """
    if not text:
        return text
    try:
        parts = urlsplit(text)
        whole = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or 1)
    except ValueError:
        whole = False
    if not whole or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("it must be a URL, such as https://lab.example/hub")
    return parts._replace(path=path_prefix(parts.path)).geturl()


def network(text: str) -> Network:
    """The network *text*, as ``10.0.0.0/8``, or the one of a single address; or `ValueError`."""
    return ipaddress.ip_network(text.strip(), strict=False)
