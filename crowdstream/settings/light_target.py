"""Where beats and levels for lights are sent: the targets of `--lights`.

    os2l                             the OS2L program that mDNS finds in the network
    os2l://192.168.1.20:9996         an OS2L program
    sacn://multicast/1               sACN universe 1, by multicast
    sacn://192.168.1.21/1            the same to one receiver
    artnet://192.168.1.22/0          Art-Net universe 0; artnet://broadcast/0 to all receivers

Options follow a question mark: `channel` (first DMX channel, 1 to 497), `priority` (sACN, 0 to 200)
and `interface` (address of the network interface to send from).
"""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from dataclasses import dataclass

OS2L, SACN, ARTNET = KINDS = ("os2l", "sacn", "artnet")
PORTS = {OS2L: 9996, SACN: 5568, ARTNET: 6454}
UNIVERSES = {SACN: (1, 63999), ARTNET: (0, 32767)}
MULTICAST, BROADCAST = "multicast", "broadcast"
CHANNELS = 16  # of the map in `lights/channels.py`
MAX_CHANNEL = 512 - CHANNELS + 1
MAX_TARGETS = 8

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_OPTIONS = {
    OS2L: ("interface",), SACN: ("channel", "priority", "interface"),
    ARTNET: ("channel", "interface"),
}  # fmt: skip


@dataclass(frozen=True)
class LightTarget:
    """A target. `host`: empty to search by mDNS, or `MULTICAST` or `BROADCAST`.

    `text`: the target as it was written. `universe` and `channel` (from 1) have no meaning for
    OS2L. `interface`: address of the interface to send from, empty for the system's choice.
    """

    text: str
    kind: str
    host: str
    port: int
    universe: int = 0
    channel: int = 1
    priority: int = 100
    interface: str = ""


def parse_target(text: str) -> LightTarget:
    """Read a target. Raises `ValueError`, whose text names the fault."""
    text = text.strip()
    if not text.isascii() or not text.isprintable() or " " in text or len(text) > 300:
        raise ValueError("it must be one word of up to 300 ASCII characters")
    parts = urllib.parse.urlsplit(text if "://" in text else text.replace(OS2L, f"{OS2L}://", 1))
    kind = parts.scheme
    if kind not in KINDS:
        raise ValueError("it must begin with os2l, sacn:// or artnet://")
    try:
        port = parts.port
    except ValueError:
        raise ValueError("its port must be a number from 1 to 65535") from None
    if port == 0 or parts.username is not None or parts.fragment:
        raise ValueError("it must look like artnet://192.168.1.22/0")
    host = parts.hostname or ""
    words = {SACN: MULTICAST, ARTNET: BROADCAST}
    if not host and kind != OS2L:
        raise ValueError(f"the receiver is missing, such as {kind}://{words[kind]}/1")
    if host and not _is_host(host):
        raise ValueError("its receiver is neither an address nor a host name")
    universe = 0
    if kind == OS2L:
        if parts.path not in ("", "/"):
            raise ValueError("OS2L has no universes: end it after the port")
    else:
        low, high = UNIVERSES[kind]
        universe = _number(parts.path.removeprefix("/"), "universe", low, high)
    options = _options(kind, parts.query)
    return LightTarget(
        text, kind, host, port or PORTS[kind], universe,
        _number(options.get("channel", "1"), "channel", 1, MAX_CHANNEL),
        _number(options.get("priority", "100"), "priority", 0, 200), options.get("interface", ""),
    )  # fmt: skip


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(_HOST.fullmatch(host))
    return True


def _number(text: str, name: str, low: int, high: int) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not low <= int(text) <= high:
        raise ValueError(f"its {name} must be a whole number from {low} to {high}")
    return int(text)


def _options(kind: str, query: str) -> dict[str, str]:
    try:
        pairs = urllib.parse.parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise ValueError("its options must look like ?channel=17&priority=120") from None
    options = dict(pairs)
    for name in options:
        if name not in _OPTIONS[kind]:
            raise ValueError(f"its option {name} is not one of {', '.join(_OPTIONS[kind])}")
    if "interface" in options:
        try:
            ipaddress.ip_address(options["interface"])
        except ValueError:
            raise ValueError("its interface must be an IP address of this machine") from None
    return options
