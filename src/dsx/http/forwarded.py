"""Reads the fields of proxies: ``X-Forwarded-*`` and ``Forwarded`` (RFC 7239).

Anyone can send these fields, so only those of trusted proxies count, and in a list only the
elements that such a proxy added. Malformed values count as absent.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from starlette.datastructures import Headers

from dsx.core.web import Network, network, path_prefix

HOST = re.compile(r"([A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")
"""``Host`` or its forwarded form: a name or an address, with an optional port."""

_PORT = re.compile(r":[0-9]+$")
_NODE = re.compile(r"\[(?P<six>[^\]]+)\](:\w+)?|(?P<four>[0-9.]+)(:\w+)?|(?P<bare>[0-9A-Fa-f:.]+)")
_PAIR = re.compile(r'\s*([!#$%&\'*+.^_`|~\w-]+)=("(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*(;|,|$)')
_SIGNS = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "via")
_MOST = 32  # list elements examined, from the right


@dataclass(frozen=True, slots=True)
class Told:
    """Values declared by trusted proxies. None, or an empty prefix: undeclared.

    Attributes:
        client: address of the outermost trusted proxy's client.
        scheme: ``http`` or ``https``, as used by that client.
        host: host that it requested, with the port if declared.
        prefix: path prefix that the proxies removed.
    """

    client: str | None = None
    scheme: str | None = None
    host: str | None = None
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Trust:
    """The trusted proxies."""

    networks: tuple[Network, ...]

    @classmethod
    def of(cls, cidrs: Sequence[str]) -> Self:
        """Trust *cidrs*, networks or addresses; raises `ValueError` if one is malformed."""
        return cls(tuple(network(cidr) for cidr in cidrs))

    def __contains__(self, address: str | None) -> bool:
        """Whether *address* is trusted; None, a Unix socket's peer, counts as 127.0.0.1."""
        found = _address(address or "127.0.0.1")
        return found is not None and any(found in network for network in self.networks)


def passed_on(headers: Headers) -> bool:
    """Whether the fields, trusted or not, show a proxy in between."""
    return any(name in headers for name in _SIGNS)


def told(headers: Headers, trust: Trust) -> Told:
    """Read *headers* received from a trusted proxy.

    ``Forwarded`` counts only without ``X-Forwarded-For``: many proxies pass on a client's.
    """
    nodes = _list(headers, "x-forwarded-for")
    if not nodes and "forwarded" in headers:
        return _by_rfc(headers, trust)
    client, place = _outermost(nodes, trust)

    def value(name: str) -> str | None:
        """The element that the outermost trusted proxy added.

        Proxies append on the right, so positions count from there. If only some of them append
        to this list, the element is that of the one nearest to the client.
        """
        found = _list(headers, name)
        if not found:
            return None
        return found[-min(max(len(nodes) - place, 1), len(found))]

    scheme = _scheme(value("x-forwarded-proto"))
    host, port = _host(value("x-forwarded-host")), value("x-forwarded-port")
    if port is not None:
        host = _with_port(host or _host(headers.get("host")), port, scheme)
    return Told(client, scheme, host, _prefix(headers))


def _by_rfc(headers: Headers, trust: Trust) -> Told:
    elements = _elements(",".join(headers.getlist("forwarded")))
    client, place = _outermost([one.get("for", "") for one in elements], trust)
    known = elements[place] if elements else {}
    return Told(client, _scheme(known.get("proto")), _host(known.get("host")), _prefix(headers))


def _prefix(headers: Headers) -> str:
    """The prefixes that successive proxies removed, joined."""
    parts = _list(headers, "x-forwarded-prefix")
    try:
        return path_prefix("".join(part.rstrip("/") for part in parts))
    except ValueError:
        return ""


def _elements(text: str) -> list[dict[str, str]]:
    """The elements of ``Forwarded`` (RFC 7239 §4); none if it is malformed."""
    found: list[dict[str, str]] = [{}]
    position = 0
    while position < len(text):
        pair = _PAIR.match(text, position)
        if pair is None:
            return []
        value = pair[2]
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        found[-1].setdefault(pair[1].lower(), value)
        position = pair.end()
        if pair[3] == ",":
            found.append({})
    return found[-_MOST:]


def _outermost(nodes: Sequence[str], trust: Trust) -> tuple[str | None, int]:
    """Return the client of the outermost trusted proxy, and its index in the list.

    Each proxy appends its own client: from the right, elements are credible up to and including
    the first that is not a trusted proxy.
    """
    client, place = None, len(nodes) - 1
    for index in range(len(nodes) - 1, -1, -1):
        address = _node(nodes[index])
        if address is None:
            break
        client, place = address, index
        if address not in trust:
            break
    return client, max(place, 0)


def _node(text: str) -> str | None:
    """The address in a node name (RFC 7239 §6), port removed; None if it is obfuscated."""
    node = _NODE.fullmatch(text.strip())
    address = node and _address(node["six"] or node["four"] or node["bare"])
    return str(address) if address else None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _list(headers: Headers, name: str) -> list[str]:
    values = ",".join(headers.getlist(name)).split(",")
    return [value.strip() for value in values if value.strip()][-_MOST:]


def _scheme(value: str | None) -> str | None:
    scheme = (value or "").lower()
    return scheme if scheme in {"http", "https"} else None


def _host(value: str | None) -> str | None:
    return value if value and HOST.fullmatch(value) else None


def _with_port(host: str | None, port: str, scheme: str | None) -> str | None:
    """*host* with *port*, unless it has one or *port* is the default."""
    needless = {"http": {"80"}, "https": {"443"}, None: {"80", "443"}}[scheme]
    fits = re.fullmatch(r"[0-9]{1,5}", port) and port not in needless
    return host if host is None or not fits or _PORT.search(host) else f"{host}:{port}"
