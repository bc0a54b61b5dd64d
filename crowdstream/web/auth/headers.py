"""Security headers: they grant a page of this server only what it needs.

The policies also make the page isolated (`crossOriginIsolated`), which is a precondition of the
SharedArrayBuffer that the audio player uses.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlencode

_POLICY = "; ".join((
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:",
    "connect-src 'self'{sockets}", "worker-src 'self'", "font-src 'self'", "manifest-src 'self'",
    "base-uri 'none'", "form-action {forms}", "frame-ancestors 'none'",
))  # fmt: skip

_FEATURES = (
    "accelerometer", "browsing-topics", "camera", "display-capture", "geolocation", "gyroscope",
    "magnetometer", "microphone", "midi", "payment", "usb",
)  # fmt: skip

_FIXED = (
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-embedder-policy", b"require-corp"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", ", ".join(f"{name}=()" for name in _FEATURES).encode()),
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
