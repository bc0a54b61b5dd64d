"""An upgrade while music plays: which installation is current, and the way back.

`crowdstream upgrade` checks an installation and sends it to the supervisor, which alone decides:
a broken version must not be able to prevent its own removal. The supervisor ends control and starts
the new version's, as after a crash; that one replaces the other processes one by one and hands the
engine over. Then the new version is on trial: if one of its processes dies, or the frames do not
advance, the previous version's control returns and replaces everything in the same way.

The supervisor itself stays. It is replaced when the server is started the next time.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from crowdstream.system.installation import Installation
from crowdstream.system.starvation import StarvationMonitor

PROTOCOL = 1
"""Version of everything that processes of two installations exchange: the descriptors in the store
and their notes, the state log, the messages between control and its children, and the lease. It
changes with every change that the other side does not understand."""

TRIAL_SECONDS = 60.0  # from the last replaced process until the old version is given up
MIN_TRIAL_SECONDS, MAX_TRIAL_SECONDS = 1.0, 3600.0
ROLLOUT_SECONDS = 90.0  # for replacing all processes, without the time spent waiting
YIELD_SECONDS = 3.0  # for control to handle what it has received, and to exit
STANDSTILL_SECONDS = 2.0  # without a new frame, after which the new version has failed
MAX_TICK_SECONDS = 1.0  # between two ticks; more is a pause of the machine, which does not count
OBSERVE_SECONDS = 0.5  # without a new frame, after which its engines are observed
STARVED_SECONDS = 10.0  # the same if an engine gets no processor meanwhile
MAX_MESSAGE_BYTES = 1 << 16
MAX_CLIENTS = 8
DESCRIBED = ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "TMPDIR", "PATH", "LANG")
"""Variables of the server that decide where an installation keeps its kernels."""

Kept = dict[str, tuple[bytes, list[int]]]


def address_of(port: int) -> str:
    """The address of the supervisor whose server has this OSC port: an abstract Unix socket."""
    return f"\0crowdstream-{port}"


def peer_of(connection: socket.socket) -> tuple[int, int, int]:
    """Process, user and group ID of the process at the other end of a Unix socket."""
    size = struct.calcsize("3i")
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    pid, uid, gid = struct.unpack("3i", data)
    return pid, uid, gid


def _process_name(name: str) -> str:
    return name.partition("/")[0].replace("-", " ")


class FrameCounter:
    """Reads the frame that the engine has reached, from the desk, without its layout.

    `at` is its offset in bytes.
    """

    def __init__(self, fd: int, at: int) -> None:
        self._at = at % mmap.ALLOCATIONGRANULARITY
        begin = at - self._at
        self._map = mmap.mmap(
            fd, self._at + 8, mmap.MAP_SHARED, mmap.PROT_READ, offset=begin
        )

    def read(self) -> int:
        """Return the frame."""
        return int(struct.unpack_from("<q", self._map, self._at)[0])

    def close(self) -> None:
        """Release the memory."""
        self._map.close()


@dataclass
class Rollout:
    """An upgrade in progress. `stage`: waiting, yielding, rollout, trial or rollback.

    `live`: the desk and the protocol of both versions are the same, so all state is handed over.
    Otherwise the server is started again, at a moment when nothing is audible.
    """

    target: Installation
    before: Installation
    live: bool
    at_once: bool = False
    trial: float = TRIAL_SECONDS
    stage: str = "yielding"
    text: str = ""
    reason: str = ""  # why it failed
    until: float = 0.0  # monotonic seconds at which the stage ends
    frame: int = -1
    frame_at: float = 0.0  # monotonic seconds at which that frame was seen first
    clients: list[socket.socket] = field(default_factory=list)

    def to_note(self) -> dict[str, Any]:
        """The upgrade as sent to control, as JSON values."""
        return {
            "stage": self.stage, "from": self.before.version, "to": self.target.version,
            "root": self.target.root, "reason": self.reason, "at_once": self.at_once,
        }  # fmt: skip


class Upgrades:
    """The supervisor's side: receives requests, and decides between two installations.

    `send` sends a message to the control process; `kill` kills it. `observe` makes the observer of
    an engine with a process ID.
    """

    def __init__(
        self,
        send: Callable[[dict[str, Any]], None],
        kill: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
        observe: Callable[[int], StarvationMonitor] = StarvationMonitor,
    ) -> None:
        self.current = self.started = Installation.own()
        self.rollout: Rollout | None = None
        self.waits_for_device = False
        """Whether playback waits for its sound device: until then no frame is rendered."""
        self._send = send
        self._kill = kill
        self._monotonic = monotonic
        self._port = 0
        self._layout = ""
        self._frame_offset = 0
        self._frames: FrameCounter | None = None
        self._listener: socket.socket | None = None
        self._clients: list[socket.socket] = []
        self._observe = observe
        self._observed: list[StarvationMonitor] = []  # engines while no frame is rendered
        self._ticked = 0.0  # monotonic seconds of the latest tick, or of the beginning of the stage
        self._ended: set[str] = set()  # names of processes that were dead at the latest check

    # Requests ------------------------------------------------------------------------------

    def control_ready(self, message: dict[str, Any], kept: Kept) -> None:
        """Listen for requests: control is ready. Its message describes the server."""
        self._layout = str(message.get("layout", ""))
        offset = int(message.get("frame_at", 0))
        self._forget_frames()
        if self.rollout is not None:
            self.rollout.frame, self.rollout.frame_at = -1, self._monotonic()
        if "desk" in kept and offset:
            self._frames = FrameCounter(kept["desk"][1][0], offset)
        port = int(message.get("port", 0))
        if port and port != self._port:
            self.close()
            self._port = port
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                listener.bind(address_of(port))
                listener.listen()
                listener.setblocking(False)
            except OSError:  # another program has it: this server can't be upgraded, but plays
                listener.close()
                return
            self._listener = listener

    def _forget_frames(self) -> None:
        if self._frames is not None:
            self._frames.close()
            self._frames = None

    def filenos(self) -> list[int]:
        """The descriptors to wait for."""
        there = [self._listener] if self._listener is not None else []
        return [one.fileno() for one in (*there, *self._clients)]

    def receive(self) -> None:
        """Accept clients and handle their requests."""
        if self._listener is None:
            return
        with contextlib.suppress(OSError):
            for _ in range(MAX_CLIENTS):  # more of them must not keep control's heartbeats waiting
                self._accept(self._listener.accept()[0])
        for client in list(self._clients):
            try:
                data = client.recv(MAX_MESSAGE_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                self._forget(client)
                continue
            try:
                request = json.loads(data)["upgrade"]
                target = Installation(*map(str, request["installation"]))
                made = Rollout(
                    target, self.current, bool(request["live"]), bool(request["now"]),
                    float(request["trial"]), clients=[client],
                )  # fmt: skip
                if not MIN_TRIAL_SECONDS <= made.trial <= MAX_TRIAL_SECONDS:
                    raise ValueError("trial")
            except (ValueError, KeyError, TypeError):
                self._answer(client, {"refused": "this server does not understand the request"})
                continue
            self._begin(client, made)

    def _accept(self, client: socket.socket) -> None:
        _pid, uid, _gid = peer_of(client)
        client.setblocking(False)
        if uid not in (0, os.getuid()):
            self._answer(client, {"refused": "only the server's user and root may upgrade it"})
            client.close()
            return
        if len(self._clients) >= MAX_CLIENTS:
            client.close()
            return
        self._clients.append(client)
        self._answer(
            client,
            {
                "running": self.current, "started": self.started, "protocol": PROTOCOL,
                "layout": self._layout, "pid": os.getpid(), "busy": self._busy(),
                "service": "INVOCATION_ID" in os.environ,
                "environment": {
                    name: os.environ[name] for name in DESCRIBED if name in os.environ
                },
            },
        )  # fmt: skip

    def _busy(self) -> str:
        one = self.rollout
        if one is None or one.stage == "waiting":  # which may never end, and has changed nothing
            return ""
        left = max(0.0, one.until - self._monotonic())
        when = f" for another {left:.0f} s" if one.stage == "trial" else ""
        return (
            f"an upgrade to version {one.target.version} in {one.target.root} is in progress "
            f"({one.stage}{when}): wait until it has ended"
        )

    def _begin(self, client: socket.socket, made: Rollout) -> None:
        busy = self._busy()
        if busy:
            self._answer(client, {"refused": busy})
            return
        if self.rollout is not None:
            self._end({"failed": "another upgrade was requested", "running": self.current})
        one = self.rollout = made
        if made.live or made.at_once:
            self._yield()
        else:
            self._set_stage(
                "waiting",
                "the mixer's memory differs between the versions: the server is restarted as soon "
                "as nothing is audible",
            )
            one.until = float("inf")
            self._send({"wait_for_silence": True})

    def _yield(self) -> None:
        one = self.rollout
        assert one is not None
        self._set_stage("yielding", "control is being replaced")
        one.until = self._monotonic() + YIELD_SECONDS
        self._send({"yield": True})

    # Progress ------------------------------------------------------------------------------

    def control_reports(self, message: dict[str, Any]) -> None:
        """Handle control's report about the replacement of its children."""
        one = self.rollout
        if one is None:
            return
        if "silent" in message and one.stage == "waiting":
            self._yield()
        elif "step" in message:
            before, one.text = one.text, str(message["step"])
            if message.get("waits"):  # the time spent waiting does not count
                one.until = self._monotonic() + ROLLOUT_SECONDS
            if one.text != before:  # a step that waits is reported many times a second
                self._tell({"stage": one.stage, "text": one.text})
        elif "failed" in message:
            self.fail(str(message["failed"]))
        elif "done" in message and one.stage == "rollout":
            self._set_stage(
                "trial",
                f"version {one.target.version} plays; the previous one is kept for "
                f"{one.trial:.0f} s",
            )
            one.until = self._monotonic() + one.trial
        elif "done" in message and one.stage == "rollback":
            self._end({"failed": one.reason, "running": self.current})

    def tick(self, kept: Kept) -> None:
        """Check the version on trial; call this often while `rollout` is set."""
        one = self.rollout
        if one is None:
            return
        now = self._monotonic()
        # After a pause of the machine, no other process had the time to do anything either.
        paused = max(0.0, now - self._ticked - MAX_TICK_SECONDS)
        one.frame_at, one.until = min(now, one.frame_at + paused), one.until + paused
        self._ticked = now
        if one.stage == "yielding":
            if now > one.until:
                self._kill()
        elif one.stage in ("rollout", "trial"):
            dead = self._dead(kept)
            if dead:
                self.fail(f"its {dead} process has died")
            elif self._stands_still(now, kept):
                self._kill_engines(kept)
                self.fail(f"no frame was rendered for {STANDSTILL_SECONDS:g} s")
            elif now > one.until and one.stage == "rollout":
                self.fail(f"not ready after {ROLLOUT_SECONDS:.0f} s: {one.text}")
            elif now > one.until:
                self._send({"trial_passed": True})
                self._end({"done": True, "running": self.current})
        elif one.stage == "rollback" and now > one.until:
            self._end({"failed": one.reason, "running": self.current})

    def child_died(self, name: str, note: bytes) -> None:
        """Handle control's report that a process in the store has died."""
        one = self.rollout
        if one is not None and json.loads(note).get("root") == one.target.root:
            self.fail(f"its {_process_name(name)} process has died")

    def _dead(self, kept: Kept) -> str:
        # The name of a dead process of the version on trial that control has not reported, in two
        # checks in a row: control may have ended it, which it reports at the same time.
        assert self.rollout is not None
        dead = set()
        for name, (note, fds) in kept.items():
            about = json.loads(note)
            if about.get("root") == self.rollout.target.root and "pid" in about:
                ended = select.poll()
                ended.register(fds[-1], select.POLLIN)
                if ended.poll(0):
                    dead.add(name)
        again, self._ended = dead & self._ended, dead
        return _process_name(min(again)) if again else ""

    def _kill_engines(self, kept: Kept) -> None:
        # The engine of the previous version stands by, and takes over as soon as this one is dead.
        assert self.rollout is not None
        for name, (note, fds) in kept.items():
            about = json.loads(note)
            if name.startswith("engine/") and about.get("root") == self.rollout.target.root:
                with contextlib.suppress(ProcessLookupError, OSError):
                    signal.pidfd_send_signal(fds[-1], signal.SIGKILL)

    def _stands_still(self, now: float, kept: Kept) -> bool:
        one = self.rollout
        assert one is not None
        if self._frames is None:
            return False
        frame = self._frames.read()
        if frame != one.frame or self.waits_for_device:
            one.frame, one.frame_at = frame, now
            self._observed = []
        stale = now - one.frame_at
        if stale > OBSERVE_SECONDS and not self._observed:
            self._observed = [self._observe(pid) for pid in self._engine_pids(kept)]
            for each in self._observed:
                each.begin()
        if stale <= STANDSTILL_SECONDS:
            return False
        starved = any(each.is_starved(OBSERVE_SECONDS) for each in self._observed)
        return not starved or stale > STARVED_SECONDS

    @staticmethod
    def _engine_pids(kept: Kept) -> list[int]:
        notes = [json.loads(note) for name, (note, _fds) in kept.items()
                 if name.startswith("engine/")]  # fmt: skip
        return [int(note["pid"]) for note in notes if "pid" in note]

    def fail(self, reason: str) -> None:
        """Give up the version on trial, if there is one."""
        one = self.rollout
        if one is None or one.stage not in ("rollout", "trial"):
            return
        # The first reason is the cause: until control has ended, it may report that an engine has
        # died which was killed on this account.
        one.reason = one.reason or reason
        self._kill()  # `control_ended` starts the previous version's

    # The control process -------------------------------------------------------------------

    def control_ended(self, how: str) -> bool:
        """Decide which version's control is started next; return whether this was planned.

        `how` describes how control has ended: it did not report an intended exit of the server.
        """
        one = self.rollout
        if one is None:
            return False
        now = self._monotonic()
        if one.stage == "yielding":
            self.current = one.target
            one.frame, one.frame_at = -1, now
            if not one.live:  # until the new version is ready, there is no desk whose frames count
                self._forget_frames()
            one.until = now + ROLLOUT_SECONDS
            self._set_stage("rollout", f"control of version {one.target.version} is starting")
            return True
        if one.stage in ("rollout", "trial"):
            one.reason = one.reason or f"its control process has died ({how})"
            self.current = one.before
            one.until = now + ROLLOUT_SECONDS
            self._set_stage("rollback", f"{one.reason}: the previous version returns")
            return True
        return False

    @property
    def starts_on_trial(self) -> bool:
        """Whether a control process that is not ready yet belongs to the version on trial."""
        return self.rollout is not None and self.rollout.stage == "rollout"

    @property
    def fresh(self) -> bool:
        """Whether the next control process starts from scratch."""
        one = self.rollout
        return one is not None and not one.live and one.stage in ("rollout", "rollback")

    def note(self) -> dict[str, Any] | None:
        """What the next control process has to know about an upgrade."""
        return self.rollout.to_note() if self.rollout is not None else None

    def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for client in list(self._clients):
            self._forget(client)

    # Answers -------------------------------------------------------------------------------

    def _set_stage(self, stage: str, text: str) -> None:
        one = self.rollout
        assert one is not None
        one.stage, one.text = stage, text
        self._ticked = self._monotonic()
        self._tell({"stage": stage, "text": text})

    def _end(self, message: dict[str, Any]) -> None:
        self._tell(message)
        self.rollout = None

    def _tell(self, message: dict[str, Any]) -> None:
        clients: Iterable[socket.socket] = self.rollout.clients if self.rollout else ()
        for client in list(clients):
            self._answer(client, message)

    def _answer(self, client: socket.socket, message: dict[str, Any]) -> None:
        try:
            client.send(json.dumps(message).encode())
        except OSError:  # it has ended, or does not read
            self._forget(client)

    def _forget(self, client: socket.socket) -> None:
        if client in self._clients:
            self._clients.remove(client)
        if self.rollout is not None and client in self.rollout.clients:
            self.rollout.clients.remove(client)
        client.close()
