"""Starting: port first, so that nothing said meanwhile is lost; then engine and loader."""

from __future__ import annotations

import json
import logging
import select
import time
from typing import Any

from crowdstream.control.children import Child, ChildError
from crowdstream.control.osc import OscSocket
from crowdstream.desk.block import Desk
from crowdstream.desk.stream import DeviceError, StreamInfo
from crowdstream.library.loader import budget_pages
from crowdstream.desk.layout import PAGE_BYTES
from crowdstream.settings import Settings

log = logging.getLogger(__name__)

START_SECONDS = 180.0  # the first start of all compiles the kernels
QUIET_SECONDS = 3.0  # after which a word is said about why it takes so long


class Startup:
    """Brings up what a server is made of, or leaves nothing behind."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: list[Any] = []

    def run(self) -> tuple[OscSocket, Desk, Child, Child, StreamInfo]:
        """Socket, desk, engine and loader, both up. Raises what went wrong."""
        settings = self._settings
        osc = OscSocket(settings.osc_host, settings.port)
        self._made.append(osc.close)
        try:
            size = budget_pages(settings.memory_mb) * PAGE_BYTES
            desk = Desk.create(size, settings.sample_rate)
            self._made.append(desk.close)
            request = {
                "fd": desk.fd,
                "driver": settings.driver,
                "device": settings.device,
                "sample_rate": settings.sample_rate,
                "buffer_size": settings.buffer_size,
            }
            engine = Child("crowdstream.engine.process", json.dumps(request), desk.fd)
            self._made.append(engine.end)
            loader = Child("crowdstream.library.process", str(desk.fd), desk.fd)
            self._made.append(loader.end)
            answer = self._await(engine, osc)
            if "error" in answer:
                raise DeviceError(answer["error"])
            self._await(loader, osc)
        except BaseException:
            for undo in reversed(self._made):
                undo()
            raise
        info = StreamInfo(**answer["ready"])
        return osc, desk, engine, loader, info

    def _await(self, child: Child, osc: OscSocket) -> dict[str, Any]:
        begin = time.monotonic()
        told = False
        while True:
            select.select([child.out, osc.fileno()], [], [], 0.1)
            osc.drain()
            messages = child.read()
            if messages:
                return messages[0]
            if child.finished:
                raise ChildError(f"{child.module} ended while starting (status {child.status})")
            waited = time.monotonic() - begin
            if waited > QUIET_SECONDS and not told:
                told = True
                log.info("compiling kernels: this takes up to a minute, once")
            if waited > START_SECONDS:
                raise ChildError(f"{child.module} did not start within {START_SECONDS:g} s")
