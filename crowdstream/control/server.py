"""The control thread: one loop that receives, handles, publishes and supervises."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from crowdstream.control.dispatcher import Dispatcher
from crowdstream.control.engine_queue.request import Reply
from crowdstream.control.processes.child import Child, ControlThreadCaller, stop_all
from crowdstream.control.processes.event_loop import EventLoop
from crowdstream.control.processes.fork_server import ForkServer
from crowdstream.control.processes.recorder import start_recorder
from crowdstream.control.processes.web_process import WebProcess, start_web
from crowdstream.control.startup import Startup
from crowdstream.control.state.state_log import StateLog
from crowdstream.control.systemd import Notifier
from crowdstream.desk.stream_info import StreamInfo
from crowdstream.monitor.health import Processes
from crowdstream.monitor.watch import HealthMonitor
from crowdstream.osc.acl import exposure
from crowdstream.settings import Settings

log = logging.getLogger(__name__)

TICK_SECONDS = 0.01
PACKETS_A_TURN = 64  # handled between two polls of the socket


class Server:
    """The whole server: `start()` starts playback; `stop()` frees device, port and memory.

    Call `start` and `stop` from one thread; `call` and `run_command` from any.
    """

    core: Dispatcher

    def __init__(
        self,
        settings: Settings,
        notifier: Notifier | None = None,
        fork_server: ForkServer | None = None,
    ) -> None:
        """`notifier` reports to systemd; `fork_server` starts processes.

        A server inside a script has no `notifier`, and a fork server of its own.
        """
        self.settings = settings
        self._notifier = notifier or Notifier()
        self._fork_server = fork_server or ForkServer()
        self._store = self._fork_server.store
        self.error: BaseException | None = None
        self.port = 0
        self._stopping = False
        self._stopped = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self, cancelled: Callable[[], bool] = lambda: False) -> StreamInfo:
        """Open device and port; returns when the server is ready to play.

        `cancelled` is polled ten times a second and aborts the start when it returns True. Raises
        `PortTaken`, `DeviceError`, `DeskError`, `ChildError`, `SettingError` or `Cancelled`, and
        then leaves nothing running. If an earlier control process has left its parts in the
        store, they are taken over while they play on.
        """
        startup = Startup(self.settings, self._fork_server, cancelled, self._notifier.starting)
        parts = startup.adopt() if "desk" in self._store.kept else startup.run()
        self.osc, self.desk, self.until = parts.osc, parts.desk, parts.until
        self._engines, self._loader = parts.engines, parts.loader
        info = self._engines.info
        assert info is not None
        try:
            self.port = self.osc.port
            self._caller = ControlThreadCaller(self._thread)
            startup.add_undo(self._caller.close)
            pids = {"control": os.getpid(), "loader": self._loader.pid}
            processes = Processes({**pids, **self._engines.pids(), **self._fork_server.pids})
            self.core = Dispatcher(
                self.settings, self.desk, self.osc, self._loader.send, info, processes,
                notes=parts.notes,
            )
            self.core.reply_ports.own = self.port
            self.core.recordings.launch = partial(start_recorder, self._fork_server)
            self._health = HealthMonitor(
                self.desk, processes, self.settings.stats_interval, self.core.notify,
                self.core.storage_health.stall,
            )
            self.core.engine_readings = self._engines.readings
            self.core.resize = self._engines.resizing.begin
            self._engines.resizing.announce = partial(self.core.notify, "/buffer_size")
            self._engines.changed = self._engine_changed
            self._engines.lost = self._device_lost
            self._restore_state(parts.notes)
            self._web = self._make_web()
            self._thread.start()
        except BaseException:
            startup.undo()
            raise
        settings = self.settings
        exposed = exposure(settings.osc_host, settings.osc_allow, settings.media_root)
        for warning in filter(None, (info.note, exposed)):
            log.warning("%s", warning)
        log.info(
            "ready: %s, %s, %g Hz, %d frames, latency %.1f ms; OSC on %s:%d",
            info.driver, info.device, info.sample_rate, info.buffer_size, info.latency * 1000,
            self.settings.osc_host, self.port,
        )
        self._notifier.ready(self.desk.frame, self.core.status.line())
        return info

    def _restore_state(self, notes: StateLog | None) -> None:
        core, kept = self.core, self._store.kept
        if core.snapshotter is None or notes is None:
            core.apply_settings()
            return
        core.snapshotter.others = {
            "engines": self._engines, "loader": self._loader, "osc": self.osc,
        }  # fmt: skip
        if notes.values:
            self.osc.restore(notes.values["osc"])
            recorder = Child.adopt(self._fork_server, "recorder") if "recorder" in kept else None
            core.snapshotter.restore(recorder)
            core.adopted()
            self._engines.catch_up()
            core.restarted("control", self._store.deaths)
        else:
            core.apply_settings()
            core.snapshotter.begin()
        self._store.ready()

    def _make_web(self) -> WebProcess | None:
        settings, forks = self.settings, self._fork_server
        if not settings.http:
            return None
        child = Child.adopt(forks, "web") if "web" in self._store.kept else None
        return WebProcess(
            self.core, self.port, partial(start_web, forks, self.desk, settings), child
        )

    def stop(self) -> None:
        """Stop playback and all processes and close the port. May be called more than once."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("the server can't be stopped from within its own reply function")
        with self._stopped:
            if self._stopping or self._thread.ident is None:
                return
            self._stopping = True
            self._notifier.stopping()
            self._caller.close()  # wakes the control thread and fails pending calls
            self._thread.join()
            self._engines.close()
            web = self._web.child if self._web else None
            stop_all([*self._engines.children, self._loader.child, *filter(None, [web])])
            self.core.recordings.close()
            self._fork_server.close()
            self.osc.close()
            self._caller.free()
            if self.core.snapshotter:
                self.core.snapshotter.close()
            self.desk.close()

    def call(self, action: Callable[[], Any]) -> Any:
        """Run `action` on the control thread and return its result or raise its exception.

        Raises `ServerGone` when that thread has ended.
        """
        return self._caller.call(action)

    def run_command(self, address: str, arguments: tuple[Any, ...], reply: Reply) -> bool:
        """Carry out one command as if it had arrived by OSC; returns False if it failed.

        A later failure, such as an unreadable file, is reported to `reply` only.
        """
        failed = []
        returned = False

        def answer(said: str, *values: Any) -> None:
            if said == "/fail" and not returned:
                failed.append(values)
            try:
                reply(said, *values)
            except Exception:
                log.exception("the function that receives replies to %s failed", address)

        self.call(lambda: self.core.perform([(address, arguments, answer, None)]))
        returned = True
        return not failed

    @property
    def running(self) -> bool:
        """Whether the control thread is running."""
        return self._thread.is_alive()

    # The loop --------------------------------------------------------------------------

    def _run(self) -> None:
        self._event_loop = EventLoop()
        try:
            for fd in self.osc.filenos():
                self._event_loop.add_reader(fd, self.osc.drain)
            self._loader.listen(self._event_loop, self.core.loader_event)
            self._engines.listen(self._event_loop)
            if self._web:
                self._web.listen(self._event_loop)
            self._event_loop.add_reader(self._caller.reader, self._caller.run_waiting)
            self._loop()
        except BaseException as error:
            self.error = error
            log.exception("the control thread failed")
        finally:
            self._event_loop.close()
            self._caller.close()

    def _loop(self) -> None:
        next_tick = 0.0
        packet = self.core.handle_packet
        while not self._stopping and not self._child_died():
            wait = 0.0 if self.osc.ready else max(0.0, self._due(next_tick) - time.monotonic())
            self._event_loop.wait(wait)
            for data, sender in self.osc.take(PACKETS_A_TURN):
                packet(data, sender)
            self.core.midi_ticks.send()
            self.core.changes.tick()
            if self.core.snapshotter:
                self.core.snapshotter.save_if_due()
            self._store.send_heartbeat()
            if time.monotonic() >= next_tick:
                next_tick = time.monotonic() + TICK_SECONDS
                self.core.tick()
                self._loader.tick()
                self._engines.tick()
                self._fork_server.tick()
                if self._web:
                    self._web.tick()
                    self._health.processes.replace(("web",), self._web.pids)
                self._health.processes.replace(("engine", "standby"), self._engines.pids())
                self._health.processes.replace(("fork_server",), self._fork_server.pids)
                self._health.tick(self.core.status.control_readings)
                self._notifier.tick(self.desk.frame, self.core.status.line)

    def _due(self, next_tick: float) -> float:
        # MIDI clock ticks are sent when they are due, not with the next tick of the loop.
        due = self.core.midi_ticks.due()
        return next_tick if due is None else min(next_tick, due)

    def _child_died(self) -> bool:
        if self._engines.failed and not self._stopping:
            log.error("%s: the server is shutting down, start it again", self._engines.failed)
            return True
        return False

    def _engine_changed(self, info: StreamInfo, why: str) -> None:
        self.core.engine_changed(info, why)

    def _device_lost(self, why: str) -> None:
        self.core.device_lost(why)
