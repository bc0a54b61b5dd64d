"""Targets of broadcasts: URLs with a protocol, an address, a format and options.

    icecast://source:password@host:8000/mount.mp3?format=mp3&bitrate=192
    icecast+tls://source:password@host:8443/mount.mp3
    hls:/srv/www/live?format=aac&bitrate=192&segment=4
    snapcast://host:4953?rate=48000
    pipe:/tmp/snapfifo?rate=48000
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from crowdstream.system.text import mask_passwords

ICECAST, HLS, SNAPCAST, PIPE = PROTOCOLS = ("icecast", "hls", "snapcast", "pipe")
ICECAST_TLS = "icecast+tls"
"""The scheme of Icecast over TLS; its protocol is `ICECAST`."""
PORTS = {ICECAST: 8000, ICECAST_TLS: 8443, SNAPCAST: 4953}
"""Default ports by scheme: those of the examples of Icecast's and Snapcast's documentation."""

# Bit rates in kbit/s: lowest, highest, default. 0: the format has none.
BITRATES = {
    "mp3": (32, 320, 192), "opus": (32, 500, 128), "flac": (0, 0, 0), "aac": (64, 320, 192),
    "pcm": (0, 0, 0),
}  # fmt: skip
FORMATS = {
    ICECAST: ("mp3", "opus", "flac"), HLS: ("aac", "flac"), SNAPCAST: ("pcm",), PIPE: ("pcm",),
}  # fmt: skip
"""Formats of each protocol, the default first."""
_SUFFIXES = {".mp3": "mp3", ".opus": "opus", ".ogg": "opus", ".oga": "opus", ".flac": "flac"}

# Options that a URL may have after the question mark, with their lowest and highest values.
_NUMBERS = {"rate": (8000, 192000), "segment": (1, 30), "segments": (3, 1000), "public": (0, 1)}
_TEXTS = ("name", "description", "genre")
_OPTIONS = {
    ICECAST: ("name", "description", "genre", "public"), HLS: ("segment", "segments"),
    SNAPCAST: ("rate",), PIPE: ("rate",),
}  # fmt: skip
MAX_TEXT = 200  # characters of a text option: it becomes a header
MAX_URL = 2000


class TargetError(ValueError):
    """A URL that is no target of a broadcast. The message does not contain its password."""


@dataclass(frozen=True)
class Target:
    """Where a broadcast goes, and how.

    `path`: the mount with its slash, the folder, or the named pipe. `bitrate`: kbit/s, 0 for
    formats without one. `options`: the URL's other options; see `number`. `tls`: the connection is
    encrypted, and the server's certificate verified.
    """

    protocol: str
    host: str = ""
    port: int = 0
    user: str = ""
    password: str = ""
    path: str = ""
    format: str = ""
    bitrate: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    tls: bool = False

    @property
    def scheme(self) -> str:
        """The beginning of the URL."""
        return ICECAST_TLS if self.tls else self.protocol

    @property
    def place(self) -> str:
        """The URL without user, password and options: what no two broadcasts share."""
        if self.protocol in (HLS, PIPE):
            return f"{self.protocol}:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    @property
    def url(self) -> str:
        """The URL with everything, the password included."""
        query = {"format": self.format, **self.options}
        if self.bitrate:
            query["bitrate"] = str(self.bitrate)
        if self.protocol in (HLS, PIPE):
            return f"{self.protocol}:{quote(self.path)}?{urlencode(query)}"
        user = f"{quote(self.user, '')}:{quote(self.password, '')}@" if self.password else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (
            f"{self.scheme}://{user}{host}:{self.port}{quote(self.path)}?{urlencode(query)}"
        )

    def number(self, name: str, default: int) -> int:
        """Return a numeric option."""
        return int(self.options.get(name, default))


def parse(url: str, format: str = "", bitrate: int = 0) -> Target:
    """Read a URL; `format` and `bitrate` take precedence over its own. Raises `TargetError`."""
    shown = mask_passwords(url)[:200]
    if len(url) > MAX_URL or not url.isprintable() or any(c.isspace() for c in url):
        raise TargetError("the URL is too long, or contains spaces: write these as %20")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise TargetError(
            f"{shown} is no URL: in user and password, write : as %3A, / as %2F and @ as %40"
        ) from None
    scheme = parts.scheme
    tls = scheme == ICECAST_TLS
    protocol = ICECAST if tls else scheme
    if protocol not in PROTOCOLS:
        raise TargetError(
            f"{shown} must begin with icecast://, icecast+tls://, hls:/, snapcast:// or pipe:/"
        )
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    format = (format or options.pop("format", "") or _default_format(protocol, parts.path)).lower()
    options.pop("format", None)
    if format not in FORMATS[protocol]:
        known = ", ".join(FORMATS[protocol])
        raise TargetError(f"the format of {protocol} must be one of {known}, not {format[:40]!r}")
    rate = _bitrate(format, bitrate or options.pop("bitrate", ""))
    options.pop("bitrate", None)
    _check_options(protocol, options)
    path = unquote(parts.path)
    if protocol in (HLS, PIPE):
        if parts.netloc or not path.startswith("/") or "\0" in path:
            raise TargetError(f"{shown} needs an absolute path, such as {protocol}:/srv/live")
        return Target(protocol, path=path, format=format, bitrate=rate, options=options)
    host = parts.hostname or ""
    if not host or port == 0:
        raise TargetError(f"{shown} needs a host, such as {scheme}://localhost:{PORTS[scheme]}")
    if protocol == SNAPCAST:
        if path.strip("/") or parts.username or parts.password:
            raise TargetError(f"{shown} must have neither a path nor a user")
        return Target(protocol, host, port or PORTS[protocol], format=format, options=options)
    if len(path) < 2 or not path.isprintable():
        raise TargetError(f"{shown} needs a mount, such as /live.mp3")
    if not parts.password:
        raise TargetError(f"{shown} needs a password, such as {scheme}://source:PASSWORD@host/mount")
    user = unquote(parts.username or "") or "source"
    password = unquote(parts.password)
    if not (user + password).isprintable() or ":" in user:
        raise TargetError(f"{shown} has a user or password with characters that HTTP can't send")
    return Target(
        protocol, host, port or PORTS[scheme], user, password, path, format, rate, options, tls
    )


def _default_format(protocol: str, path: str) -> str:
    if protocol == ICECAST:
        for suffix, format in _SUFFIXES.items():
            if path.lower().endswith(suffix):
                return format
    return FORMATS[protocol][0]


def _bitrate(format: str, given: int | str) -> int:
    low, high, default = BITRATES[format]
    if not given:
        return default
    if not high:
        raise TargetError(f"{format} has no bitrate")
    text = str(given)
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise TargetError(f"the bitrate of {format} must be a number from {low} to {high} kbit/s")
    return int(text)


def _check_options(protocol: str, options: Mapping[str, str]) -> None:
    for name, value in options.items():
        if name not in _OPTIONS[protocol]:
            known = ", ".join(("format", "bitrate", *_OPTIONS[protocol]))
            raise TargetError(f"unknown option {name[:40]!r} of {protocol}; it has {known}")
        if name in _TEXTS:
            if len(value) > MAX_TEXT or not value.isprintable():
                raise TargetError(f"{name} must be printable, with up to {MAX_TEXT} characters")
            continue
        low, high = _NUMBERS[name]
        if not (value.isascii() and value.isdigit() and low <= int(value[:9]) <= high):
            raise TargetError(f"{name} must be a number from {low} to {high}")
