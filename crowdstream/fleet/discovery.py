"""Find servers in the local network, as they announce themselves by Zeroconf.

The announcement names the port of the page, whose OSCQuery description names that of OSC. Anyone
in the network can announce anything: servers that were found are shown and receive commands, but
no program of this machine is run for them, and only fields of the expected form are used.
"""

from __future__ import annotations

import asyncio
import http.client
import importlib
import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Any

from crowdstream.client.endpoint import DEFAULT_PORT
from crowdstream.fleet.members import FleetError, Member
from crowdstream.system.text import install_command, read_json

KIND = "_oscjson._tcp.local."
PREFIX = "CrowdStream "
INFO_SECONDS = 3.0
MAX_INFO_BYTES = 1 << 16
MAX_WAITING = 64  # announcements that are examined at the same time
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def osc_port(host: str, port: int) -> int:
    """Query the OSC port of the server whose page is at this address; blocks.

    The default port if the page requires a token. Raises `OSError` or `ValueError` for a program
    that is not a CrowdStream server.
    """
    connection = http.client.HTTPConnection(host, port, timeout=INFO_SECONDS)
    try:
        connection.request("GET", "/?HOST_INFO", headers={"Accept": "application/json"})
        response = connection.getresponse()
        body = response.read(MAX_INFO_BYTES)
    except http.client.HTTPException as error:
        raise ValueError(f"not HTTP: {error}") from None
    finally:
        connection.close()
    if response.status == 401:
        return DEFAULT_PORT
    info = read_json(body)
    found = info.get("OSC_PORT") if isinstance(info, dict) else None
    if type(found) is not int or not 1 <= found <= 65535:
        raise ValueError("no OSC port")
    return found


def found_member(name: str, host: str, port: int) -> Member:
    """Return the member for an announcement; its name has only harmless characters."""
    short = _NOT_IN_NAME.sub("-", name.removeprefix(PREFIX).removesuffix(f".{KIND}")).strip("-.")
    return Member((short or "server")[:60], host, port)


class Discovery:
    """Searches until `close`. `found(member)` is called in the event loop for each new server."""

    def __init__(self, browser: Any, zeroconf: Any, tasks: set[asyncio.Task[None]]) -> None:
        self._browser = browser
        self._zeroconf = zeroconf
        self._tasks = tasks

    async def close(self) -> None:
        """Stop searching."""
        for task in list(self._tasks):
            task.cancel()
        await self._browser.async_cancel()
        await self._zeroconf.async_close()


async def discover(
    found: Callable[[Member], object], interfaces: Sequence[str] | None = None
) -> Discovery:
    """Begin to search. Raises `FleetError` without the package or without a network.

    `interfaces`: addresses of the interfaces to search on; by default all.
    """
    try:
        plain, module = (importlib.import_module(f"zeroconf{part}") for part in ("", ".asyncio"))
    except ImportError:
        raise FleetError(
            f"searching needs the package zeroconf: {install_command('zeroconf')}"
        ) from None
    try:
        zeroconf = module.AsyncZeroconf(interfaces=list(interfaces)) if interfaces else (
            module.AsyncZeroconf()
        )  # fmt: skip
    except OSError as error:
        raise FleetError(f"cannot search: {error.strerror or error}") from None
    tasks: set[asyncio.Task[None]] = set()

    async def examine(kind: str, name: str) -> None:
        info = module.AsyncServiceInfo(kind, name)
        if not await info.async_request(zeroconf.zeroconf, INFO_SECONDS * 1000):
            return
        for host in info.parsed_addresses()[:4]:
            try:
                ipaddress.ip_address(host.partition("%")[0])
                port = await asyncio.to_thread(osc_port, host, int(info.port or 0))
            except (OSError, ValueError, OverflowError):
                continue
            found(found_member(name, host, port))
            return

    def on_change(zeroconf: Any, service_type: str, name: str, state_change: Any) -> None:
        added = state_change is plain.ServiceStateChange.Added
        if added and name.startswith(PREFIX) and len(tasks) < MAX_WAITING:
            task = asyncio.ensure_future(examine(service_type, name))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    browser = module.AsyncServiceBrowser(zeroconf.zeroconf, KIND, handlers=[on_change])
    return Discovery(browser, zeroconf, tasks)
