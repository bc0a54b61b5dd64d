"""The control thread: one loop that receives, handles, publishes and supervises."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from crowdstream import logs
from crowdstream.commands.errors import CommandError
from crowdstream.control.dispatcher import Dispatcher
from crowdstream.control.engine_queue.request import Reply, Request, discard_reply
from crowdstream.control.peers.broadcasts import broadcast_process, start_broadcast
from crowdstream.control.peers.jack_ports import start_jack
from crowdstream.control.peers.lights import lights_process, start_lights
from crowdstream.control.peers.link import link_process, start_link
from crowdstream.control.peers.midi import midi_process, start_midi
from crowdstream.control.peers.rooms import rooms_process, start_rooms
from crowdstream.control.processes.captures import capture_processes, start_capture
from crowdstream.control.processes.child import Child, ControlThreadCaller, stop_all
from crowdstream.control.processes.event_loop import EventLoop
from crowdstream.control.processes.fork_server import ForkServer
from crowdstream.control.processes.recorder import start_recorder
from crowdstream.control.processes.rollout import Rollout, SilenceDetector
from crowdstream.control.processes.storage_health import DiskWatch, WatchedDisk
from crowdstream.control.processes.supervised import SupervisedProcess
from crowdstream.control.processes.web_process import WebProcess, start_web
from crowdstream.control.publish.event_file import NAME as EVENT_FILE
from crowdstream.control.publish.event_file import EventFile
from crowdstream.control.publish.event_log import Event
from crowdstream.control.settings_reload import Reloaded, SettingsReload
from crowdstream.control.startup import Startup, desk_note
from crowdstream.control.state.state_log import StateLog
from crowdstream.control.systemd import Notifier
from crowdstream.desk.dtypes import CLOCK
from crowdstream.desk.layout import REGIONS, fingerprint
from crowdstream.desk.stream_info import StreamInfo
from crowdstream.monitor.health import Processes
from crowdstream.monitor.watch import HealthMonitor
from crowdstream.osc.acl import exposure
from crowdstream.settings import Settings, state_folder
from crowdstream.settings.schema import OPTIONS
from crowdstream.system.installation import Installation, record_path, write_record
from crowdstream.system.medium import MediumGuard

if TYPE_CHECKING:
    from crowdstream.control.publish.alerts import Alerts

log = logging.getLogger(__name__)

YIELD_SECONDS = 1.0  # for handling received packets before another version's control takes over
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
        read_settings: Callable[[], Settings] | None = None,
    ) -> None:
        """`notifier` reports to systemd; `fork_server` starts processes.

        `read_settings` reads the settings again, as at a start. A server inside a script has
        neither that nor a `notifier`, and a fork server of its own.
        """
        self.settings = settings
        self._notifier = notifier or Notifier()
        self._fork_server = fork_server or ForkServer()
        self._store = self._fork_server.store
        self._read_settings = read_settings
        self._reload_requested = False
        self.error: BaseException | None = None
        self.yielded = False
        """Whether this process has ended so that another version's takes over."""
        self._rollout: Rollout | None = None
        self._silence: SilenceDetector | None = None
        self.port = 0
        self._stopping = self._ended = False
        self._stopped = threading.Lock()
        self.on_end: Callable[[], None] = lambda: None
        """Called on the control thread when it ends, for whatever reason."""
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
                notes=parts.notes, tolerant=self._must_take_over(parts.notes),
            )
            self.core.reply_ports.own = self.port
            # The supervisor kills a control process that waits for a medium for 6 s.
            self.core.track_table.bound = MediumGuard().run
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
            self._keep_events(startup)
            self._restore_state(parts.notes)
            self._supervised = self._make_supervised()
            self._web = self._make_web()
            self._store.drop_rest()
            self._certificate = self._certificate_stamp()
            if self._read_settings is not None:
                self._reload = self._make_reload(self._read_settings)
                self.core.reload_settings = self._reload_settings
            self._begin_rollout()
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

    def _must_take_over(self, notes: StateLog | None) -> bool:
        # Whether the mix would end with this process, as it plays already. A version on trial must
        # not be lenient: the previous one returns instead.
        upgrade = self._store.upgrade
        on_trial = upgrade is not None and upgrade["stage"] == "rollout"
        return notes is not None and bool(notes.values) and not on_trial

    def _keep_events(self, startup: Startup) -> None:
        settings, events = self.settings, self.core.events
        self._event_file = EventFile(
            state_folder(os.environ) / EVENT_FILE, self.port,
            lambda reason: log.warning("event log: %s", reason),
        )
        startup.add_undo(self._event_file.close)
        events.add_receiver(self._event_file.write)
        self._alerts = self._make_alerts(settings)
        if self._alerts:
            startup.add_undo(self._alerts.close)
        events.add_receiver(self._post_alert)
        self._disks = DiskWatch(self._watched_disks, events.report)
        startup.add_undo(self._disks.close)
        self._disks.start()
        self._earlier_alerts = dict.fromkeys(("alerts_sent", "alerts_failed"), 0)
        events.counters = self._event_counters

    def _watched_disks(self) -> list[WatchedDisk]:
        settings = self.core.settings
        found = [WatchedDisk.of_state(state_folder(os.environ))]
        if settings.record_folder is not None:
            folder, reserve = settings.record_folder.expanduser(), settings.record_reserve << 20
            found.append(WatchedDisk.of_recordings(folder.absolute(), reserve))
        return found

    def _make_alerts(self, settings: Settings) -> Alerts | None:
        if not settings.alert_url:
            return None
        # Imported here: it takes some milliseconds and megabytes that few servers need.
        from crowdstream.control.publish.alerts import Alerts

        return Alerts(settings.alert_url, settings.alert_format, settings.alert_level, self.port)

    def _post_alert(self, event: Event) -> None:
        if self._alerts:
            self._alerts.receive(event)

    def _read_earlier_events(self) -> None:
        earlier = self._event_file.take_earlier()
        if earlier is not None:
            self.core.events.add_earlier(earlier)
            if self._alerts:
                self._alerts.count_earlier(earlier, time.time())

    def _event_counters(self) -> dict[str, int]:
        counts = {"alerts_sent": 0, "alerts_failed": 0, "alerts_waiting": 0}
        if self._alerts:
            counts = self._alerts.counters()
        for name, count in self._earlier_alerts.items():
            counts[name] += count
        return {"events_unwritten": self._event_file.unwritten, **counts}

    def _restore_state(self, notes: StateLog | None) -> None:
        core, kept = self.core, self._store.kept
        if core.snapshotter is None or notes is None:
            core.apply_settings()
            self._report_start()
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
            core.restarts = self._store.deaths
            if self._store.upgrade is None or self._store.upgrade["stage"] == "waiting":
                core.restarted("control", self._store.deaths)
            for text in core.unread:
                log.error("%s", text)
                core.events.report("settings", text)
        else:
            core.apply_settings()
            core.snapshotter.begin()
            self._report_start()
        frame_at = REGIONS["clock"].offset + dict(CLOCK.fields or {})["frame"][1]
        self._store.ready(port=self.port, frame_at=frame_at, layout=fingerprint())

    def _begin_rollout(self) -> None:
        note = self._store.upgrade
        if note is None:
            if not self._store.deaths:
                self._record_installation(False)
            # The earlier control may have died before the message that a trial was over.
            self._engines.remove_foreign()
        elif note["stage"] == "waiting":
            self._silence = SilenceDetector(self.desk)
        else:
            self._rollout = Rollout(
                note, self.desk, self._fork_server, self._engines, self._loader, self._web,
                self._supervised, self._store.report_upgrade,
            )
            if note["stage"] == "rollback":
                log.error("version %s has failed: %s", note["to"], note["reason"])
                self.core.events.report(
                    "upgrade_failed",
                    f"the upgrade to version {note['to']} has failed: {note['reason']}; version "
                    f"{note['from']} plays on",
                )

    def _record_installation(self, on: bool = True) -> None:
        # The DJ follows a server that was upgraded.
        if self._store.connected:
            path = record_path(state_folder(os.environ), self.port)
            write_record(path, Installation.own() if on else None)

    def _handle_supervisor(self) -> None:
        for message in self._store.messages():
            if "wait_for_silence" in message:
                log.warning(
                    "an upgrade waits until nothing is audible, and then restarts the server"
                )
                self._silence = SilenceDetector(self.desk)
            elif "yield" in message:
                self._yield()
            elif "trial_passed" in message and self._rollout is not None:
                note, self._rollout, self._store.upgrade = self._rollout.note, None, None
                self._engines.remove_foreign()
                log.info("upgraded from version %s to %s", note["from"], note["to"])
                self.core.events.report(
                    "upgraded", f"upgraded from version {note['from']} to {note['to']}"
                )

    def _yield(self) -> None:
        # End this process for its successor of another version. What has been read from the socket
        # is handled; what arrives from now on waits in the kernel.
        deadline = time.monotonic() + YIELD_SECONDS
        while self.osc.ready and time.monotonic() < deadline:
            for data, sender in self.osc.take(PACKETS_A_TURN):
                self.core.handle_packet(data, sender)
        if self.core.snapshotter:
            self.core.snapshotter.save()
        self.yielded = True

    def _report_start(self) -> None:
        info, report = self.core.info, self.core.events.report
        report(
            "started", f"the server has started: {info.driver}, {info.device}, OSC port {self.port}"
        )
        if info.driver == "null" and info.note:  # a device was wanted: the server is silent
            report("device_lost", info.note)

    def _make_supervised(self) -> list[SupervisedProcess]:
        # The processes of optional parts: what they are for plays on without them.
        settings, forks = self.settings, self._fork_server
        start = partial(start_capture, forks, self.desk, settings.buffer_size)
        made = capture_processes(self.desk, self.core.live_inputs, settings.input, start)
        made.append(
            self.core.jack.supervise(
                partial(start_jack, forks, self.desk), lambda: self.core.info
            )
        )
        broadcasts = self.core.broadcasts
        made.append(
            broadcast_process(self.desk, broadcasts, partial(start_broadcast, forks, self.desk))
        )
        link = self.core.link
        made.append(link_process(link, partial(start_link, forks, self.desk, link)))
        made.append(lights_process(self.core.lights, partial(start_lights, forks, self.desk)))
        made.append(rooms_process(self.core.rooms, partial(start_rooms, forks, self.desk)))
        made.append(midi_process(self.core.midi, partial(start_midi, forks, self.desk)))
        for one in made:
            if one.name in self._store.kept:
                one.adopt(Child.adopt(forks, one.name))
                if one.name == "midi":  # its values are subscribed to again
                    self.core.midi.process_started()
        broadcasts.started()  # a process that was taken over; another one is sent this later
        return made

    def _make_web(self) -> WebProcess | None:
        settings, forks = self.settings, self._fork_server
        if not settings.http:
            return None
        child = Child.adopt(forks, "web") if "web" in self._store.kept else None
        return WebProcess(
            self.core, self.port, partial(start_web, forks, self.desk, settings), child
        )

    # Settings --------------------------------------------------------------------------

    def request_reload(self) -> None:
        """Read the settings again soon; from any thread, signal handlers included."""
        self._reload_requested = True

    def _make_reload(self, read: Callable[[], Settings]) -> SettingsReload:
        made = SettingsReload(self.core, read)
        made.add_action(("osc_allow",), self._allow_senders)
        made.add_action(("stats_interval",), lambda new: self._health.set_stats_interval(
            new.stats_interval
        ))
        made.add_action(("log_level", "log_format", "log_file"), self._change_logs)
        made.add_action(("alert_url", "alert_format", "alert_level"), self._change_alerts)
        made.add_action([name for name in OPTIONS if name.startswith("http")], self._change_web)
        return made

    def _reload_settings(self, request: Request) -> Reloaded:
        before = self.core.settings
        self._notifier.reloading()
        status = ""
        try:
            reloaded = self._reload.run(request)
        except CommandError as error:
            status = f"settings were not changed: {error}"
            raise
        finally:
            self._notifier.reloaded(status or self.core.status.line())
        self.settings = self.core.settings
        if self.settings != before and self._store.connected:
            # The next control process continues with these.
            self._store.keep("desk", [self.desk.fd], desk_note(self.settings, self.until))
        if self._web and self._certificate != self._certificate_stamp():
            log.info("settings: the certificate has changed, the web process is restarted")
            self._change_web(self.settings)
        return reloaded

    def _allow_senders(self, settings: Settings) -> None:
        self.osc.allow(settings.osc_allow)
        exposed = exposure(settings.osc_host, settings.osc_allow, settings.media_root)
        if exposed:
            log.warning("%s", exposed)

    def _change_logs(self, settings: Settings) -> None:
        before = self.settings
        if (before.log_format, before.log_file) == (settings.log_format, settings.log_file):
            logging.getLogger().setLevel(settings.log_level.upper())
        else:  # in a thread: a pipe that is not read may delay the end of the earlier log
            threading.Thread(
                target=logs.set_up, args=(settings,), name="change log", daemon=True
            ).start()

    def _change_alerts(self, settings: Settings) -> None:
        earlier, self._alerts = self._alerts, self._make_alerts(settings)
        if self._alerts:
            self._alerts.count_earlier(self.core.events.latest(), time.time())
        if earlier is None:
            return
        counts = earlier.counters()
        for name in self._earlier_alerts:
            self._earlier_alerts[name] += counts[name]
        # In a thread: it posts what waits, for up to two seconds.
        threading.Thread(target=earlier.close, name="close alerts", daemon=True).start()

    def _change_web(self, settings: Settings) -> None:
        self._certificate = self._certificate_stamp(settings)
        start = partial(start_web, self._fork_server, self.desk, settings)
        if self._web is None:
            if settings.http:
                self._web = WebProcess(self.core, self.port, start)
                self._web.listen(self._event_loop)
            return
        same_port = settings.http_port == self.settings.http_port
        self._web.replace(start if settings.http else None, same_port)

    def _certificate_stamp(self, settings: Settings | None = None) -> list[tuple[int, int]]:
        # Size and time of the certificate's files: a renewed one takes effect with a reload.
        held = settings or self.settings
        found = []
        for path in (held.http_cert, held.http_key):
            with contextlib.suppress(OSError):
                if path is not None:
                    status = path.expanduser().stat()
                    found.append((status.st_size, status.st_mtime_ns))
        return found
    def release(self) -> None:
        """Write what waits for a disk or the network, once `yielded` is true."""
        self._event_file.close()
        if self._alerts:
            self._alerts.close()

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
            self.core.events.report("stopped", "the server has stopped")
            self._record_installation(False)
            self._engines.close()
            for one in self._supervised:
                one.close()
            web = self._web.child if self._web else None
            stop_all([*self._engines.children, self._loader.child, *filter(None, [web])])
            self.core.recordings.close()
            self._fork_server.close()
            self.osc.close()
            self._caller.free()
            if self.core.snapshotter:
                self.core.snapshotter.close()
            self.desk.close()
            self._event_file.close()
            self._disks.close()
            if self._alerts:
                self._alerts.close()

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
        return self._thread.is_alive() and not self._ended

    # The loop --------------------------------------------------------------------------

    def _run(self) -> None:
        self._event_loop = EventLoop()
        try:
            for fd in self.osc.filenos():
                self._event_loop.add_reader(fd, self.osc.drain)
            self._loader.listen(self._event_loop, self.core.loader_event)
            self._engines.listen(self._event_loop)
            for one in self._supervised:
                one.listen(self._event_loop)
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
            self._ended = True
            self.on_end()

    def _loop(self) -> None:
        packet = self.core.handle_packet
        while not self._stopping and not self._child_died():
            wait = 0.0 if self.osc.ready else max(0.0, self._due() - time.monotonic())
            self._event_loop.wait(wait)  # until then, or until a process or a sender has news
            for data, sender in self.osc.take(PACKETS_A_TURN):
                packet(data, sender)
            self.core.engine_events()
            self.core.midi_ticks.send()
            self.core.changes.tick()
            if self.core.snapshotter:
                self.core.snapshotter.save_if_due()
            self._store.send_heartbeat()
            self._handle_supervisor()
            if self.yielded:
                return  # the state is saved: what a tick carries out would be done twice
            if time.monotonic() >= self._tick_due():
                self.core.tick()
                if self._reload_requested:
                    self._reload_requested = False
                    self.core.perform([("/settings/reload", (), discard_reply, None)])
                self._read_earlier_events()
                self._disks.tick()
                self._loader.tick()
                self._engines.tick()
                self._fork_server.tick()
                if self._rollout and self._rollout.tick():
                    self._record_installation()
                if self._silence and self._silence.check():
                    self._silence = None
                    self._store.report_upgrade(silent=True)
                for one in self._supervised:
                    one.tick()
                    self._health.processes.replace((one.name,), one.pids)
                if self._web:
                    self._web.tick()
                    self._health.processes.replace(("web",), self._web.pids)
                self._health.processes.replace(("engine", "standby"), self._engines.pids())
                self._health.processes.replace(("fork_server",), self._fork_server.pids)
                self._health.tick(self.core.status.control_readings)
                waits = self._engines.waits_for_device
                self._store.report_waiting(waits)
                self._notifier.tick(self.desk.frame, self.core.status.line, waits)

    def _tick_due(self) -> float:
        web = self._web.due() if self._web else math.inf
        replaces = self._rollout is not None and self._rollout.busy
        busy = self._loader.waiting or replaces or self._silence
        return self.core.due(0.0 if busy else min([web, *(one.due() for one in self._supervised)]))

    def _due(self) -> float:
        # MIDI clock ticks, changes and saves do not wait for the next tick of the loop.
        due = min(self._tick_due(), self.core.midi_ticks.due(), self.core.changes.due())
        return min(due, self.core.snapshotter.wake_at()) if self.core.snapshotter else due

    def _child_died(self) -> bool:
        if self._engines.failed and not self._stopping:
            log.error("%s: the server is shutting down, start it again", self._engines.failed)
            self.core.events.report("failed", f"{self._engines.failed}: the server shuts down")
            return True
        return False

    def _engine_changed(self, info: StreamInfo, why: str) -> None:
        self.core.engine_changed(info, why)

    def _device_lost(self, why: str) -> None:
        self.core.device_lost(why)
