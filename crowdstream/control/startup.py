"""Starting: port first, so that nothing said meanwhile is lost; then engine and loader."""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable
from typing import Any

from crowdstream.control.children import Child, ChildError, end_all
from crowdstream.control.engines import Engines
from crowdstream.control.leavings import remove_leavings
from crowdstream.control.loading import Loading, start_loader
from crowdstream.control.osc import OscSocket
from crowdstream.desk.block import Desk
from crowdstream.desk.sizes import PAGE_BYTES
from crowdstream.library.loader import budget_pages
from crowdstream.settings import Settings

log = logging.getLogger(__name__)

START_SECONDS = 180.0  # the first start of all compiles the kernels
QUIET_SECONDS = 3.0  # after which a word is said about why it takes so long


class Cancelled(Exception):
    """Whoever started the server does not want it any more."""


class Startup:
    """Brings up what a server is made of, or leaves nothing behind."""

    def __init__(
        self, settings: Settings, cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        self._settings = settings
        self._cancelled = cancelled
        self._children: list[Child] = []
        self._made: list[Callable[[], None]] = []

    def run(self) -> tuple[OscSocket, Desk, Engines, Loading]:
        """Socket, desk, an engine that plays, a loader. Raises what went wrong."""
        settings = self._settings
        remove_leavings()
        osc = OscSocket(settings.osc_host, settings.port, settings.osc_allow)
        self._made.append(osc.close)
        try:
            size = budget_pages(settings.memory_mb) * PAGE_BYTES
            desk = Desk.create(size, settings.sample_rate)
            self._made.append(desk.close)
            engines = Engines(desk, settings)
            engine = engines.launch()
            self._children.append(engine)
            loader = start_loader(desk, settings)
            self._children.append(loader)
            engines.started(self._await(engine, osc))
            self._await(loader, osc)
        except BaseException:
            self.undo()
            raise
        return osc, desk, engines, Loading(loader, desk, lambda: start_loader(desk, settings))

    def made(self, undo: Callable[[], None]) -> None:
        """Something else was made, which `undo` takes back."""
        self._made.append(undo)

    def undo(self) -> None:
        """Take back all that was made, the last first."""
        end_all(self._children)
        for undo in reversed(self._made):
            undo()

    def _await(self, child: Child, osc: OscSocket) -> dict[str, Any]:
        begin = time.monotonic()
        told = False
        poll = select.poll()  # not select.select: descriptors may be past its 1024
        poll.register(child.out, select.POLLIN)
        poll.register(osc.fileno(), select.POLLIN)
        while True:
            poll.poll(100)
            osc.drain()
            messages = child.read()
            if messages:
                return messages[0]
            if child.finished:
                raise ChildError(f"{child.module} ended while starting ({child.last_words})")
            if self._cancelled():
                raise Cancelled("the start was broken off")
            waited = time.monotonic() - begin
            if waited > QUIET_SECONDS and not told:
                told = True
                log.info("compiling kernels: this takes up to a minute, once")
            if waited > START_SECONDS:
                raise ChildError(f"{child.module} did not start within {START_SECONDS:g} s")
