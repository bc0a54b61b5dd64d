"""Announce the page and its OSC addresses by Zeroconf, if other machines can reach them.

OSCQuery programs search for `_oscjson._tcp`, service browsers for `_http._tcp`. The optional
package `zeroconf` is required.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import socket
from collections.abc import Sequence
from typing import Any

from crowdstream.web.auth.invitation import own_addresses

log = logging.getLogger(__name__)

KINDS = ("_oscjson._tcp.local.", "_http._tcp.local.")
MAX_LABEL = 63  # bytes in a label of a DNS name
WATCH_SECONDS = 30.0  # between two looks at the addresses of this machine


class Announcement:
    """The registered services, until `close`. The server works without them."""

    def __init__(self, zeroconf: Any, services: Sequence[Any]) -> None:
        self._zeroconf = zeroconf
        self._services = services

    async def close(self) -> None:
        """Unregister the services."""
        with contextlib.suppress(Exception):
            for service in self._services:
                await (await self._zeroconf.async_unregister_service(service))
        with contextlib.suppress(Exception):
            await self._zeroconf.async_close()


async def announce(
    settings: Any, port: int, version: str, interfaces: Sequence[str] | None = None
) -> Announcement | None:
    """Announce the server. Returns None if only this machine can reach it, or without `zeroconf`.

    `interfaces`: addresses of the interfaces to announce on; by default those that the server
    listens on.
    """
    addresses = list(interfaces) if interfaces else own_addresses(settings.http_host)
    if not addresses or settings.http_cert:  # OSCQuery has no encryption
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
        # For example no multicast, or another program on the port. The page's URL still works.
        log.warning("could not announce the server: %s", str(error) or type(error).__name__)
        if zeroconf is not None:
            await Announcement(zeroconf, services).close()
        return None
    return Announcement(zeroconf, services)


async def keep_announced(
    settings: Any, port: int, version: str, seconds: float = WATCH_SECONDS
) -> None:
    """Announce the server until cancelled, and again when the machine's addresses change.

    A server that starts at boot has often no address yet.
    """
    while True:
        addresses = own_addresses(settings.http_host)
        made = await announce(settings, port, version, addresses)
        try:
            same = True
            while same:
                await asyncio.sleep(seconds)
                with contextlib.suppress(OSError):  # the system could not list them
                    same = set(own_addresses(settings.http_host)) == set(addresses)
        finally:
            if made is not None:
                await made.close()


def _label(text: str) -> str:
    # A DNS label has a limited length and contains no dots.
    return text.replace(".", "-").encode()[:MAX_LABEL].decode("utf-8", "ignore")
