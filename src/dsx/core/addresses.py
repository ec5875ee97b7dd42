"""Addresses of clients, as far as they tell one client from another."""

from __future__ import annotations

import ipaddress

_MAX_TEXT = 64
_OF_ONE = 64
"""Bits of an IPv6 address that a client cannot choose: whoever has one of a network has all."""


def source_of(address: str) -> str:
    """What failures from *address* are counted under: an IPv4 address, or an IPv6 /64.

    What is no address (of a local socket, or as a proxy says) is taken as it is, bounded.
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
