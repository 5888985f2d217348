"""Say what counts as one client: an IPv4 address, or an IPv6 /64, since who has one address of a /64 has all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TypeVar

__all__ = ["longest_of_most", "network_of"]

T = TypeVar("T")


def network_of(address: str) -> str:
    """The network that `address` stands for; what is no address stands for itself.

    >>> network_of("2001:db8::1:2:3:4")
    '2001:db8::/64'
    """
    if ":" not in address:
        return address
    try:
        known = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(known, IPv6Address) and known.ipv4_mapped is None:
        return str(ip_network((known, 64), strict=False))
    return address


def longest_of_most(waiting: Iterable[tuple[T, str, float]]) -> T | None:
    """Whose place goes first, among who keeps a server waiting: (who, address, since when).

    The network that does so most often loses first, and of it who does so longest.
    """
    known = [(who, network_of(address), since) for who, address, since in waiting]
    of_each = Counter(network for _, network, _ in known)
    first = max(known, key=lambda one: (of_each[one[1]], -one[2]), default=None)
    return None if first is None else first[0]
