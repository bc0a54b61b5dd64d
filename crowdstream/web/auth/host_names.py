"""Check the `Host` and `Origin` headers: the names of this machine, and pages of this server.

A page of another site can have its own host name resolve to this machine (DNS rebinding), and then
has the same origin as far as the browser knows. The server therefore answers only requests whose
`Host` header is a name of this machine. A numeric address cannot be rebound.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}"
_HOST = re.compile(rf"(\[[0-9A-Fa-f:.]{{2,45}}\]|{_NAME})(?::([0-9]{{1,5}}))?")
_ORIGIN = re.compile(r"(https?)://(.+)")
_PORTS = {"http": 80, "https": 443}


def own_names(extra: Iterable[str] = ()) -> frozenset[str]:
    """The host name with and without domain and `.local`, `localhost`, and the names in `extra`."""
    name = socket.gethostname().lower().rstrip(".")
    found = {"localhost", *(one.lower().rstrip(".") for one in extra)}
    if name:
        short = name.partition(".")[0]
        found |= {name, short, f"{short}.local"}
    return frozenset(found)


def split_host(text: str, port: int) -> tuple[str, int] | None:
    """Host (in lower case) and port of a `Host` header; None if it is malformed.

    `port`: the value if the header has no port.
    """
    found = _HOST.fullmatch(text)
    if found is None:
        return None
    number = int(found[2]) if found[2] else port
    return (found[1].lower().rstrip("."), number) if number < 65536 else None


def known_host(text: str, names: frozenset[str]) -> bool:
    """Whether a `Host` header names this machine, by one of `names` or by an address."""
    found = split_host(text, 0)
    if found is None:
        return False
    host = found[0]
    if host in names:
        return True
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def same_origin(origin: str, host: str) -> bool:
    """Whether an `Origin` header has the host and port of the `Host` header."""
    found = _ORIGIN.fullmatch(origin)
    if found is None:
        return False
    port = _PORTS[found[1]]
    there = split_host(found[2], port)
    return there is not None and there == split_host(host, port)
