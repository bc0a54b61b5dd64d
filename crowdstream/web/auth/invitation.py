"""The page's addresses in the terminal, and a QR code for phones."""

from __future__ import annotations

import io
import ipaddress
import socket
from typing import Any
from urllib.parse import quote

import psutil

from crowdstream.system.network_address import is_any_address, is_loopback


def own_addresses(host: str) -> list[str]:
    """The addresses under which other machines may reach this one, the most likely first.

    `host`: the address that the server listens on. For `0.0.0.0` and `::` these are the addresses
    of all network interfaces, except for loopback and link-local ones.
    """
    if not is_any_address(host):
        return [] if is_loopback(host) else [host]
    families = {socket.AF_INET, socket.AF_INET6} if ":" in host else {socket.AF_INET}
    up = {name for name, one in psutil.net_if_stats().items() if one.isup}
    found = []
    for name, addresses in psutil.net_if_addrs().items():
        for one in addresses:
            if one.family in families and name in up:
                address = ipaddress.ip_address(one.address.partition("%")[0])
                if not address.is_loopback and not address.is_link_local:
                    found.append(address)
    # Private before public addresses, IPv4 before IPv6.
    found.sort(key=lambda one: (one.version, not one.is_private))
    return [str(one) for one in found]


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
