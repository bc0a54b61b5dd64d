"""The page's addresses in the terminal, and a QR code for phones."""

from __future__ import annotations

import contextlib
import fcntl
import io
import ipaddress
import os
import socket
import struct
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from crowdstream.system.network_address import is_any_address, is_loopback

SIOCGIFADDR = 0x8915  # linux/sockios.h
IPV6_TABLE = Path("/proc/net/if_inet6")


def own_addresses(host: str) -> list[str]:
    """The addresses under which other machines may reach this one, the most likely first.

    `host`: the address that the server listens on. For `0.0.0.0` and `::` these are the addresses
    of all network interfaces, except for loopback and link-local ones.
    """
    if not is_any_address(host):
        return [] if is_loopback(host) else [host]
    versions = {4, 6} if ":" in host else {4}
    up = [name for name, one in psutil.net_if_stats().items() if one.isup]
    found = []
    for text in _addresses(up):
        address = ipaddress.ip_address(text)
        if address.version in versions and not (address.is_loopback or address.is_link_local):
            found.append(address)
    # Private before public addresses, IPv4 before IPv6.
    found.sort(key=lambda one: (one.version, not one.is_private))
    return [str(one) for one in found]


def _addresses(names: Collection[str]) -> list[str]:
    # The addresses of these network interfaces.
    try:
        listed = psutil.net_if_addrs()
    except OSError:  # it uses netlink, which contrib/crowdstream.service does not permit
        return [*_first_addresses(names), *_addresses_of_version_6(names)]
    families = (socket.AF_INET, socket.AF_INET6)
    return [
        one.address.partition("%")[0]
        for name, found in listed.items() if name in names
        for one in found if one.family in families
    ]


def _first_addresses(names: Iterable[str]) -> Iterator[str]:
    # The first IPv4 address of each interface, see netdevice(7).
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for name in names:
            with contextlib.suppress(OSError):  # it has none
                request = struct.pack("256s", os.fsencode(name))
                yield socket.inet_ntoa(fcntl.ioctl(asked, SIOCGIFADDR, request)[20:24])


def _addresses_of_version_6(names: Collection[str]) -> Iterator[str]:
    with contextlib.suppress(OSError), IPV6_TABLE.open(encoding="utf-8") as lines:
        for line in lines:
            address, *_rest, name = line.split()
            if name in names:
                yield str(ipaddress.IPv6Address(int(address, 16)))


def page_url(settings: Any, host: str = "", port: int = 0, token: str | None = None) -> str:
    """The page's URL. `host`: one of `own_addresses`; empty: for a browser on this machine."""
    host = host or settings.http_host
    if is_any_address(host):
        host = "localhost"
    name = f"[{host}]" if ":" in host else host
    scheme, usual = ("https", 443) if settings.http_cert else ("http", 80)
    place = "" if port == usual else f":{port}"
    return f"{scheme}://{name}{place}/" + (f"?token={quote(token)}" if token else "")


def invitation(settings: Any, token: str, port: int) -> str:
    """Lines with the page's URLs, which contain the token.

    Empty if only this machine can reach the page and no token is required.
    """
    addresses = own_addresses(settings.http_host)
    if not addresses and not token:
        return ""
    urls = [page_url(settings, one, port, token) for one in addresses]
    urls = urls or [page_url(settings, "", port, token)]
    heading = "the page, with full control:"  # `demo.server` searches for "the page, with"
    return "\n".join([heading, *(f"  {one}" for one in urls)])


def qr_code(settings: Any, token: str, port: int) -> str:
    """The first of these URLs as a QR code, two rows of modules per line; empty without one.

    Half blocks in the terminal's own colours: scanners read it light on dark and dark on light.
    """
    addresses = own_addresses(settings.http_host)
    if not addresses:
        return ""
    import segno  # costs 1 MB, which a server for this machine alone need not spend

    out = io.StringIO()
    code = segno.make(page_url(settings, addresses[0], port, token), error="l", micro=False)
    code.terminal(out, compact=True)
    return out.getvalue().rstrip("\n")
