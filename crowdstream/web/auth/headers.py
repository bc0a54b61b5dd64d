"""Security headers: they grant a page of this server only what it needs.

The policies also make the page isolated (`crossOriginIsolated`), which is a precondition of the
SharedArrayBuffer that the audio player uses.

Check the `Host` and `Origin` headers: the names of this machine, and pages of this server.

A page of another site can have its own host name resolve to this machine (DNS rebinding), and then
has the same origin as far as the browser knows. The server therefore answers only requests whose
`Host` header is a name of this machine. A numeric address cannot be rebound.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, urlencode

_POLICY = "; ".join((
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:",
    "connect-src 'self'{sockets}", "worker-src 'self'", "font-src 'self'", "manifest-src 'self'",
    "base-uri 'none'", "form-action {forms}", "frame-ancestors 'none'",
))  # fmt: skip

_FEATURES = (
    "accelerometer", "browsing-topics", "camera", "display-capture", "geolocation", "gyroscope",
    "magnetometer", "microphone", "payment", "usb",
)  # fmt: skip

# WebMIDI: a page may use the controllers of its own machine, if the user agrees.
_PERMISSIONS = ", ".join(("midi=(self)", *(f"{name}=()" for name in _FEATURES)))

_FIXED = (
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-embedder-policy", b"require-corp"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", _PERMISSIONS.encode()),
)


def security_headers(host: str, path: str = "/") -> list[tuple[bytes, bytes]]:
    """The security headers of every response. `host`: the verified `Host` of the request, or empty.

    Older browsers do not count WebSockets among 'self', so the policy names them. The only form is
    the search of the documentation, which opens another of its own pages.
    """
    sockets = f" ws://{host} wss://{host}" if host else ""
    forms = "'self'" if path.startswith("/docs/") else "'none'"
    policy = _POLICY.format(sockets=sockets, forms=forms).encode("latin-1")
    return [(b"content-security-policy", policy), *_FIXED]


def without_token(path: str, query: str) -> str:
    """The URL path and query without `token`, for a redirect."""
    rest = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != "token"]
    # Exactly one slash: two would make the rest the name of another server.
    return "/" + quote(path.lstrip("/\\"), safe="/") + (f"?{urlencode(rest)}" if rest else "")


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
