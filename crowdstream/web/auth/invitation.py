"""What the server says of its page in the terminal: the addresses, and a code for phones."""

from __future__ import annotations

import io
import ipaddress
import socket
from typing import Any
from urllib.parse import quote

import psutil

from crowdstream.system.network_address import is_everywhere, is_loopback


def own_addresses(host: str) -> list[str]:
    """The addresses under which other machines may reach this one, the likeliest first.

    `host`: what is listened on. With `0.0.0.0` or `::` these are the addresses of all network
    interfaces, but for those of this machine alone and of links without a router.
    """
    if not is_everywhere(host):
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
    # Those of the house before those of the world, IPv4 before IPv6.
    found.sort(key=lambda one: (one.version, not one.is_private))
    return [str(one) for one in found]


def page_url(settings: Any, host: str = "", port: int = 0, token: str | None = None) -> str:
    """The page's address. `host`: one of `own_addresses`; this machine's own view without it."""
    host = host or settings.http_host
    if is_everywhere(host):
        host = "localhost"
    name = f"[{host}]" if ":" in host else host
    scheme, usual = ("https", 443) if settings.http_cert else ("http", 80)
    place = "" if port == usual else f":{port}"
    return f"{scheme}://{name}{place}/" + (f"?token={quote(token)}" if token else "")


def invitation(settings: Any, token: str, port: int) -> str:
    """Lines that say where the page is, with the token that lets one change things.

    Empty where only this machine can see it, and no token is asked for.
    """
    addresses = own_addresses(settings.http_host)
    if not addresses and not token:
        return ""
    urls = [page_url(settings, one, port, token) for one in addresses]
    urls = urls or [page_url(settings, "", port, token)]
    return "\n".join(["the page, with the right to change things:", *(f"  {one}" for one in urls)])


def qr_code(settings: Any, token: str, port: int) -> str:
    """The first of these addresses as a QR code, two rows of it to a line; empty without one.

    Half blocks on the terminal's own colours: it is read light on dark and dark on light.
    """
    addresses = own_addresses(settings.http_host)
    if not addresses:
        return ""
    import segno  # where only this machine sees the page it would be a megabyte for nothing

    out = io.StringIO()
    code = segno.make(page_url(settings, addresses[0], port, token), error="l", micro=False)
    code.terminal(out, compact=True)
    return out.getvalue().rstrip("\n")
