"""Client addresses, normalized so that failures of one client are counted together."""

from __future__ import annotations

import ipaddress

_MAX_TEXT = 64
_OF_ONE = 64
"""Bits of an IPv6 address that a client cannot choose: one network belongs to one client."""


def source_of(address: str) -> str:
    """Return the key under which failures from *address* are counted: the IPv4, or the IPv6 /64.

    Anything else (local sockets, or whatever a proxy reports) is used as it is, truncated.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:_MAX_TEXT]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, _OF_ONE), strict=False))
