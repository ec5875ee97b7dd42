"""Validates and normalizes addresses in settings and in proxies' header fields."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_SEGMENT = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@-]+")


def path_prefix(text: str) -> str:
    """Return *text* as a path with a leading and no trailing slash; empty: the top.

    `ValueError` if it is not a path, or one that browsers would interpret differently.
    """
    path = text.strip().rstrip("/").removeprefix("/")
    parts = path.split("/") if path else []
    if any(part in {".", ".."} or not _SEGMENT.fullmatch(part) for part in parts):
        raise ValueError("it must be a path, such as /hub")
    return f"/{path}" if path else ""


def web_address(text: str) -> str:
    """Return *text* as an http(s) URL without a trailing slash; empty stays empty.

    `ValueError` unless it has only a scheme, a host and a path.
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
    """Return the network *text*, as ``10.0.0.0/8``, or that of one address; or `ValueError`."""
    return ipaddress.ip_network(text.strip(), strict=False)
