"""The page and its OSC addresses, announced in the network (zeroconf), where others can reach it.

Programs that speak OSCQuery look for `_oscjson._tcp`, browsers of services for `_http._tcp`. It
needs the package `zeroconf`, which is not installed unless somebody wants this.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import socket
from collections.abc import Sequence
from typing import Any

from crowdstream.web.auth.invitation import own_addresses

log = logging.getLogger(__name__)

KINDS = ("_oscjson._tcp.local.", "_http._tcp.local.")
MAX_LABEL = 63  # bytes of a part of a name


class Announcement:
    """What is announced, until `close`. Nothing of it is needed for anything to work."""

    def __init__(self, zeroconf: Any, services: Sequence[Any]) -> None:
        self._zeroconf = zeroconf
        self._services = services

    async def close(self) -> None:
        """Take it back."""
        with contextlib.suppress(Exception):
            for service in self._services:
                await (await self._zeroconf.async_unregister_service(service))
        with contextlib.suppress(Exception):
            await self._zeroconf.async_close()


async def announce(
    settings: Any, port: int, version: str, interfaces: Sequence[str] | None = None
) -> Announcement | None:
    """Announce the server; None where only this machine can reach it or `zeroconf` is missing.

    `interfaces`: addresses of the interfaces that it is announced on; those that it listens on
    unless given.
    """
    addresses = list(interfaces) if interfaces else own_addresses(settings.http_host)
    if not addresses or settings.http_cert:  # OSCQuery knows no encryption
        return None
    try:
        plain, module = (importlib.import_module(f"zeroconf{part}") for part in ("", ".asyncio"))
    except ImportError:
        return None
    name = socket.gethostname().partition(".")[0] or "crowdstream"
    zeroconf = None
    services: list[Any] = []
    try:
        zeroconf = module.AsyncZeroconf(interfaces=addresses)
        for kind in KINDS:
            service = plain.ServiceInfo(
                kind, f"{_label(f'CrowdStream {name}')}.{kind}", port=port,
                parsed_addresses=addresses, server=f"{name}.local.",
                properties={"version": version, "path": "/"},
            )  # fmt: skip
            await (await zeroconf.async_register_service(service, allow_name_change=True))
            services.append(service)
    except Exception as error:
        # A network without multicast, another program on the port, ...: it is found by its address.
        log.warning("not announced in the network: %s", str(error) or type(error).__name__)
        if zeroconf is not None:
            await Announcement(zeroconf, services).close()
        return None
    return Announcement(zeroconf, services)


def _label(text: str) -> str:
    # A label is no more than so many bytes, and has no dots.
    return text.replace(".", "-").encode()[:MAX_LABEL].decode("utf-8", "ignore")
