"""Who can send commands, and is the port free?"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

from crowdstream.doctor.check import FAIL, OK, WARN, Check, Machine
from crowdstream.settings import Settings

INODE = 9  # column of /proc/net/udp


def exposure(settings: Settings) -> Check:
    """From where the port can be reached."""
    name, host = "network", settings.osc_host
    allowed = [str(one) for one in getattr(settings, "osc_allow", ())]
    data = {"host": host, "allow": allowed}
    if _loopback(host):
        return Check(name, OK, f"{host}: only programs of this machine can send", data=data)
    if allowed:
        return Check(name, OK, f"{host}: senders of {', '.join(allowed)}", data=data)
    return Check(name, WARN, f"{host}: whoever reaches this machine can send commands",
                 "--osc-allow with the senders' addresses, such as 192.168.1.0/24; or without "
                 "--osc-host", data)


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def port(machine: Machine, settings: Settings) -> Check:
    """Whether the port can be had, and if not, who has it."""
    name, number = "port", settings.port
    data: dict[str, object] = {"port": number}
    if number == 0:
        return Check(name, OK, "any free one", data=data)
    family = socket.AF_INET6 if ":" in settings.osc_host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as trial:
        try:
            trial.bind((settings.osc_host, number))
        except (OSError, OverflowError) as error:
            if getattr(error, "errno", None) == errno.EADDRINUSE:
                holders = held_by(machine, number)
                data["held_by"] = holders
                who = ", ".join(holders) or "another user's program"
                return Check(name, WARN, f"UDP {number} is in use by {who}", "if that is no "
                             "CrowdStream server, end it or choose another --port", data)
            reason = getattr(error, "strerror", None) or str(error)
            return Check(name, FAIL, f"UDP {number} on {settings.osc_host}: {reason}",
                         "choose another --port or --osc-host", data)
    return Check(name, OK, f"UDP {number} is free", data=data)


def held_by(machine: Machine, number: int) -> list[str]:
    """The processes that have a UDP port open, as far as this user may see them."""
    inodes = set()
    for table in ("udp", "udp6"):
        for line in (machine.read(f"/proc/net/{table}") or "").splitlines()[1:]:
            words = line.split()
            if len(words) > INODE and int(words[1].rpartition(":")[2], 16) == number:
                inodes.add(f"socket:[{words[INODE]}]")
    found = []
    for folder in machine.glob("/proc/[0-9]*/fd"):
        if inodes & set(_links(folder)):
            text = machine.read(f"/proc/{folder.parent.name}/cmdline") or "?"
            shown = re.sub(r"[\s\0]+", " ", text)[:60]
            found.append(f"process {folder.parent.name} ({shown})")
    return found


def _links(folder: Path) -> Iterator[str]:
    """Where the links of a folder lead, as far as this user may see them."""
    with contextlib.suppress(OSError):
        for link in folder.iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                yield os.readlink(link)
