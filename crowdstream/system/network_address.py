"""Network addresses as sockets and people write them."""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SENDER_BITS = 64  # of an IPv6 address: one machine may own all addresses of a /64
_MAPPED_BITS = 96  # of ::ffff:0:0/96, IPv4-mapped IPv6 addresses


def parse_address(host: str) -> Address | None:
    """Parse an address as given by a socket, without its scope; IPv4-mapped becomes IPv4.

    Returns None for a host name.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def parse_network(text: str) -> Network:
    """Parse a network; an IPv4-mapped one becomes IPv4. Raises ValueError."""
    network = ipaddress.ip_network(text)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network


def is_loopback(host: str) -> bool:
    """Whether a host, an address or `localhost`, is the loopback interface."""
    address = parse_address(host)
    return host.lower().rstrip(".") == "localhost" if address is None else address.is_loopback


def is_any_address(host: str) -> bool:
    """Whether a host to listen on, such as `::`, means all addresses of this machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def sender_key(host: str) -> str:
    """The key under which a sender's address is counted: itself, or its IPv6 /64."""
    address = parse_address(host)
    if address is None:
        return host
    if address.version == 4 or address.is_loopback:
        return str(address)
    return str(ipaddress.ip_network((address, SENDER_BITS), strict=False))


def format_address(address: tuple[str, int]) -> str:
    """Format a socket address for people: 10.0.0.1:9000, or [fd00::1]:9000."""
    host = str(parse_address(address[0]) or address[0])
    return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"
