"""Network exposure, and availability of the OSC port."""

from __future__ import annotations

import errno
import socket

from crowdstream.doctor.check import FAIL, OK, WARN, Check, Machine
from crowdstream.settings import Settings
from crowdstream.system.network_address import is_loopback
from crowdstream.system.port_holders import port_holders


def exposure(settings: Settings) -> Check:
    """Check which machines can reach the port."""
    name, host = "network", settings.osc_host
    allowed = [str(one) for one in getattr(settings, "osc_allow", ())]
    data = {"host": host, "allow": allowed}
    if is_loopback(host):
        return Check(name, OK, f"{host}: only programs on this machine can send", data=data)
    if allowed:
        return Check(name, OK, f"{host}: senders in {', '.join(allowed)}", data=data)
    return Check(name, WARN, f"{host}: anyone who can reach this machine can send commands",
                 "set --osc-allow to the senders' addresses, such as 192.168.1.0/24, or remove "
                 "--osc-host", data)


def port(machine: Machine, settings: Settings, service: bool = False) -> Check:
    """Check whether the port is free, and if not, which program uses it.

    `service`: the installed server is running, with these settings.
    """
    name, number = "port", settings.port
    data: dict[str, object] = {"port": number}
    if number == 0:
        return Check(name, OK, "any free port", data=data)
    family = socket.AF_INET6 if ":" in settings.osc_host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as trial:
        try:
            trial.bind((settings.osc_host, number))
        except (OSError, OverflowError) as error:
            if getattr(error, "errno", None) == errno.EADDRINUSE:
                if service:
                    return Check(name, OK, f"UDP {number} is in use by the service", data=data)
                holders = port_holders("udp", number, machine.root)
                data["held_by"] = holders
                who = ", ".join(holders) or "another user's program"
                return Check(name, WARN, f"UDP {number} is in use by {who}", "if that is not a "
                             "CrowdStream server, end it or choose another --port", data)
            reason = getattr(error, "strerror", None) or str(error)
            return Check(name, FAIL, f"UDP {number} on {settings.osc_host}: {reason}",
                         "choose another --port or --osc-host", data)
    return Check(name, OK, f"UDP {number} is free", data=data)
