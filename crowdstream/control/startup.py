"""Start-up: open the port first, so that early messages are kept; then start engine and loader."""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from crowdstream.control.processes.child import Child, ChildError, stop_all
from crowdstream.control.processes.engine_pool import EnginePool, start_engine
from crowdstream.control.processes.fork_server import MODULES, ForkServer
from crowdstream.control.processes.loader_client import LoaderClient, start_loader
from crowdstream.control.state.state_log import StateLog, create_state_log
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import PAGE_BYTES
from crowdstream.desk.inputs import InputWriter
from crowdstream.engine.jit.kernel_cache import StallTimeout
from crowdstream.loader.loader import budget_pages
from crowdstream.osc.socket import OscSocket
from crowdstream.settings import Settings
from crowdstream.supervisor.stale_files import remove_stale_files

log = logging.getLogger(__name__)

START_SECONDS = 180.0  # without progress: the very first start compiles the kernels


class Cancelled(Exception):
    """The start was cancelled by its caller."""


@dataclass(frozen=True)
class Parts:
    """The parts of a server. `until`: when to stop, in seconds of the monotonic clock."""

    osc: OscSocket
    desk: Desk
    engines: EnginePool
    loader: LoaderClient
    notes: StateLog | None
    until: float | None


def settings_as_json(settings: Settings) -> dict[str, Any]:
    """Settings as JSON values; `validate` converts them back."""

    def value(held: Any) -> Any:
        if isinstance(held, Path):
            return str(held)
        return [value(one) for one in held] if isinstance(held, tuple) else held

    return {one.name: value(getattr(settings, one.name)) for one in fields(settings)}


def desk_note(settings: Settings, until: float | None) -> dict[str, Any]:
    """What the supervisor keeps with the desk for the next control process."""
    return {"settings": settings_as_json(settings), "until": until}


class Startup:
    """Starts the parts of a server, or leaves nothing running."""

    def __init__(
        self,
        settings: Settings,
        fork_server: ForkServer,
        cancelled: Callable[[], bool] = lambda: False,
        waiting: Callable[[str, float], None] = lambda *_: None,
    ) -> None:
        """`waiting` receives a progress line and the seconds until the next one at the latest."""
        self._settings = settings
        self._fork_server, self._store = fork_server, fork_server.store
        self._cancelled = cancelled
        self._waiting = waiting
        self._children: list[Child] = []
        self._undo_steps: list[Callable[[], None]] = [fork_server.close]

    def run(self) -> Parts:
        """Start socket, desk, a playing engine and a loader; on failure undoes all and raises."""
        settings, store = self._settings, self._store
        remove_stale_files()
        osc = self._socket()
        self._undo_steps.append(osc.close)
        try:
            self._fork_server.begin(MODULES)
            store.keep("osc", osc.filenos(), {})
            size = budget_pages(settings.effective_cache_mb) * PAGE_BYTES
            desk = Desk.create(size, settings.sample_rate)
            InputWriter.configure(desk, len(settings.input))
            self._undo_steps.append(desk.close)
            self._fork_server.await_ready()
            engines = self._engines(desk)
            engine = engines.launch().child
            self._children.append(engine)
            loader = start_loader(self._fork_server, desk, settings)
            self._children.append(loader)
            engines.on_first_engine_ready(self._await(engine, osc))
            self._await(loader, osc)
            until = time.monotonic() + settings.duration if settings.duration else None
            notes = self._keep(desk, until)
        except BaseException:
            self.undo()
            raise
        return Parts(osc, desk, engines, self._loader_client(loader, desk), notes, until)

    def _socket(self) -> OscSocket:
        settings, kept = self._settings, self._store.kept.pop("osc", None)
        fds = kept.fds if kept else None
        return OscSocket(settings.osc_host, settings.port, settings.osc_allow, fds)

    def _engines(self, desk: Desk) -> EnginePool:
        return EnginePool(desk, self._settings, partial(start_engine, self._fork_server))

    def _loader_client(self, loader: Child, desk: Desk) -> LoaderClient:
        start = partial(start_loader, self._fork_server, desk, self._settings)
        return LoaderClient(loader, desk, start)

    def _keep(self, desk: Desk, until: float | None) -> StateLog | None:
        if not self._store.connected:
            return None
        notes = StateLog(create_state_log())
        self._undo_steps.append(notes.close)
        self._store.keep("notes", [notes.fd], {})
        self._store.keep("desk", [desk.fd], desk_note(self._settings, until))
        return notes

    def adopt(self) -> Parts:
        """Take over the parts that an earlier control process left, while they play on.

        Raises `ChildError`, `DeskError` or `KeyError` when that is impossible.
        """
        kept = self._store.kept
        self._fork_server.begin(MODULES)
        (fd,), about = kept.pop("desk")
        desk = Desk(fd)
        notes = StateLog(kept.pop("notes").fds[0])
        engines = self._engines(desk)
        engines.adopt(notes.values["engines"], self._fork_server)
        there = "loader" in kept  # else it had died and was not yet restarted
        if there:
            loader = Child.adopt(self._fork_server, "loader")
        else:
            loader = start_loader(self._fork_server, desk, self._settings)
        client = self._loader_client(loader, desk)
        client.restore(notes.values["loader"], fresh=not there)
        return Parts(self._socket(), desk, engines, client, notes, about["until"])

    def add_undo(self, undo: Callable[[], None]) -> None:
        """Register another part, which `undo` removes."""
        self._undo_steps.append(undo)

    def undo(self) -> None:
        """Undo the start in reverse order."""
        stop_all(self._children)
        for undo in reversed(self._undo_steps):
            undo()

    def _await(self, child: Child, osc: OscSocket) -> dict[str, Any]:
        patience = StallTimeout(START_SECONDS)
        poll = select.poll()  # not select.select: descriptors may be past its 1024
        poll.register(child.out, select.POLLIN)
        for fd in osc.filenos():
            poll.register(fd, select.POLLIN)
        while True:
            poll.poll(100)
            osc.drain()
            messages = child.read()
            if messages:
                return messages[0]
            if child.finished:
                raise ChildError(f"{child.module} ended while starting ({child.exit_description})")
            if self._cancelled():
                raise Cancelled("the start was cancelled")
            if patience.expired():
                raise ChildError(
                    f"{child.module} has not started, and made no progress for {START_SECONDS:g} s"
                )
            if news := patience.progress_line():
                log.info("%s", news)
                self._waiting(news, START_SECONDS)
