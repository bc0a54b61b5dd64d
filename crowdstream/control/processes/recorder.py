"""Recordings as seen by control: their files, taps and start frames.

The recorder process creates and writes the files; it starts with the first recording. Control
holds the taps itself from the moment of the command, so that no frame is missed while the
recorder starts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from crowdstream.commands.errors import Refused
from crowdstream.control.engine_queue.request import Request
from crowdstream.control.processes.child import Child, ChildError
from crowdstream.control.processes.fork_server import RECORDER_MODULE, ForkServer
from crowdstream.desk.block import Desk
from crowdstream.desk.taps import CONTROL, RECORDER, release_owner, release_tap, request_tap
from crowdstream.system.text import printable

log = logging.getLogger(__name__)

IDLE_END_SECONDS = 1.0  # for a recorder without a recording to exit
END_SECONDS = 10.0  # for the recorder to finish its files when the server shuts down
SAFE_DISTANCE = 1000  # between the numbers of an earlier control and of this one


class Process(Protocol):
    """The part of `Child` that is used of the recorder process."""

    finished: bool

    @property
    def is_foreign(self) -> bool:
        """Whether the process runs another installation than this one."""

    @property
    def exit_description(self) -> str:
        """How the process ended, for a log line."""

    def send(self, message: dict[str, Any]) -> None:
        """Queue one message."""

    def push(self) -> None:
        """Write queued messages."""

    def read(self) -> list[dict[str, Any]]:
        """Return the messages received."""

    def stop(self, seconds: float = END_SECONDS) -> None:
        """Stop the process."""


def start_recorder(fork_server: ForkServer, desk: Desk) -> Process:
    """Start the recorder process. Raises `ChildError`."""
    return Child(fork_server, RECORDER_MODULE, str(desk.fd), desk.fd, "recorder")


@dataclass(eq=False)
class Session:
    """Files that were started by one command. `taps`: taps of the files still open, by path.

    `parts`: continuation files, by the path of the first file: each full file with its length in
    frames, and last the file being written.
    """

    number: int
    request: Request
    taps: dict[str, int]
    wanted: int
    held: list[int]
    stop: int | None = None
    stoppers: list[Request] = field(default_factory=list)
    began: int | None = None
    frames: int = 0
    lost: int = 0
    failures: list[str] = field(default_factory=list)
    parts: dict[str, list[list[Any]]] = field(default_factory=dict)

    def current(self, path: str) -> str:
        """The file being written in the sequence that began with `path`."""
        return str(self.parts[path][-1][0]) if path in self.parts else path

    def to_state(self) -> dict[str, Any]:
        """State for JSON; see `from_state`."""
        return {
            "number": self.number,
            "request": self.request.to_state(),
            "taps": list(self.taps.items()),
            "wanted": self.wanted,
            "held": list(self.held),
            "stop": self.stop,
            "stoppers": [one.to_state() for one in self.stoppers],
            "began": self.began,
            "frames": self.frames,
            "lost": self.lost,
            "failures": list(self.failures),
            "parts": self.parts,
        }

    @classmethod
    def from_state(
        cls, note: dict[str, Any], request: Callable[[list[Any] | None], Request | None]
    ) -> Session:
        """Restore a session from saved state; `request` restores commands from theirs."""
        stoppers = [request(one) for one in note["stoppers"]]
        return cls(
            **{
                **note, "request": request(note["request"]), "taps": dict(note["taps"]),
                "stoppers": [one for one in stoppers if one],
            }
        )


class RecorderClient:
    """Starts and stops recordings and reports their progress. For the control thread."""

    def __init__(
        self,
        desk: Desk,
        notify: Callable[..., None],
        launch: Callable[[Desk], Process] | None = None,
    ) -> None:
        """`launch` starts a recorder process or raises `ChildError`; there is one by default."""
        self._desk = desk
        self._notify = notify
        self.report: Callable[[str, str], None] = lambda _kind, _text: None
        """Reports an event to the event log."""
        self.launch = launch or partial(start_recorder, ForkServer())
        self._process: Process | None = None
        self._sessions: dict[int, Session] = {}
        self._number = 0
        self._restored: set[int] = set()  # sessions of an earlier control, until the inventory

    def start(
        self,
        request: Request,
        files: list[tuple[int, Path]],
        form: str,
        frame: int,
        roots: Sequence[Path] = (),
        reserve: int = 0,
    ) -> None:
        """Record taps to files from frame `frame` on, inside `roots` if any are given.

        `reserve` is the disk space in bytes that stays free. Raises `Refused` while another
        recording runs that does not end at or before `frame`.
        """
        for session in self._sessions.values():
            if session.stop is None or session.stop > frame:
                first = printable(next(iter(session.taps), "a file"))
                raise Refused(f"{first} is being recorded: send /record/stop first")
        if self._process is None:
            try:
                self._process = self.launch(self._desk)
            except ChildError as error:
                raise Refused(str(error)) from error
        self._number += 1
        held = [tap for tap, _ in files]
        for tap in held:
            request_tap(self._desk, tap, CONTROL)
        self._sessions[self._number] = Session(
            self._number, request, {str(path): tap for tap, path in files}, frame, held
        )
        self._process.send(
            {
                "do": "start", "id": self._number, "frame": frame, "format": form,
                "files": [(tap, str(path)) for tap, path in files],
                "roots": [str(root.expanduser().absolute()) for root in roots],
                "reserve": reserve,
            }
        )

    def stop(self, request: Request, frame: int) -> None:
        """End the recording at `frame`. Raises `Refused` when nothing is being recorded."""
        session = self._latest()
        if session is None or self._process is None:
            raise Refused("nothing is being recorded")
        session.stop = frame
        session.stoppers.append(request)
        self._process.send(
            {"do": "stop", "id": session.number, "frame": frame, "at_once": not request.frame}
        )

    def readings(self) -> dict[str, Any]:
        """Number of files being recorded; seconds and lost frames of the latest recording."""
        session = self._latest()
        return {
            "recording": sum(len(one.taps) for one in self._sessions.values()),
            "record_seconds": session.frames / self._desk.sample_rate if session else 0.0,
            "record_lost": session.lost if session else 0,
        }

    @property
    def began(self) -> int | None:
        """First frame of the latest recording; None until it is known."""
        session = self._latest()
        return session.began if session else None

    def paths(self) -> list[str]:
        """The files being recorded."""
        return [session.current(path) for session in self._sessions.values()
                for path in session.taps]

    @property
    def pending(self) -> bool:
        """Whether the recorder's answer is awaited: a recording begins or ends."""
        return any(one.began is None or one.stop is not None for one in self._sessions.values())

    def tick(self) -> None:
        """Process the recorder's messages; call this often while something is `pending`."""
        if self._process is None:
            return
        self._process.push()
        for message in self._process.read():
            if message.get("event") == "inventory":
                self._take_inventory(message["sessions"])
            session = self._sessions.get(message.get("id", 0))
            if session is not None:
                getattr(self, f"_{message['event']}")(session, message)
        if self._process.finished:
            self._process_died(self._process)
        elif self._process.is_foreign and not self._sessions:
            # Another version's, whose recordings have ended: the next one starts a new recorder.
            self._process.stop(IDLE_END_SECONDS)
            self._process = None

    def close(self) -> None:
        """Finish all files and stop the recorder. The engine has ended, so no audio follows."""
        if self._process is not None:
            self._process.stop(END_SECONDS)
            self._process = None

    def _latest(self) -> Session | None:
        return next(reversed(self._sessions.values()), None)

    # Saved state ---------------------------------------------------------------------------

    def to_state(self) -> dict[str, Any]:
        """State for JSON; see `restore`."""
        sessions = [session.to_state() for session in self._sessions.values()]
        return {"number": self._number, "sessions": sessions}

    def restore(
        self,
        note: dict[str, Any],
        request: Callable[[list[Any] | None], Request | None],
        process: Process | None,
    ) -> None:
        """Resume recordings from saved state. `process`: the recorder, if it is running."""
        self._number, self._process = note["number"] + SAFE_DISTANCE, process
        for one in note["sessions"]:
            session = Session.from_state(one, request)
            self._sessions[session.number] = session
        self._restored = set(self._sessions)
        if process is not None:
            process.send({"do": "inventory"})
        else:
            for session in self._sessions.values():
                session.held = []  # `settle_taps` counts them: this may have been saved too early
            self._recorder_died("at the same time as control")

    def held_taps(self) -> list[int]:
        """Taps that control holds until the recorder holds them itself."""
        return [tap for session in self._sessions.values() for tap in session.held]

    def _take_inventory(self, open_sessions: list[int]) -> None:
        # An earlier control has begun sessions unknown to this one just before it died.
        for number in [one for one in open_sessions if one not in self._sessions]:
            text = "a recording that began as control died was ended: start it again"
            log.warning("%s", text)
            self.report("recording", text)
            if self._process is not None:
                self._process.send({"do": "stop", "id": number, "frame": 0, "at_once": True})
        # Sessions unknown to the recorder were finished while no control process ran. One that has
        # begun since is in its queue.
        finished, self._restored = self._restored.difference(open_sessions), set()
        for session in [one for one in self._sessions.values() if one.number in finished]:
            for path in list(session.taps):
                frames = session.frames - sum(frames for _, frames in session.parts.get(path, []))
                self._closed(
                    session, {"first": path, "path": session.current(path), "frames": frames}
                )

    # Messages of the recorder --------------------------------------------------------------

    def _opened(self, session: Session, _message: dict[str, Any]) -> None:
        for tap in session.held:  # the recorder holds the taps itself now
            release_tap(self._desk, tap, CONTROL)
        session.held = []

    def _refused(self, session: Session, message: dict[str, Any]) -> None:
        session.request.fail(message["reason"])
        if message.get("full"):
            self.report("disk_full", f"no recording was started: {message['reason']}")
        self._forget(session)

    def _began(self, session: Session, message: dict[str, Any]) -> None:
        session.began = int(message["frame"])
        late = session.began - session.wanted
        if session.request.frame and late > 0:
            session.request.report_late(late / self._desk.sample_rate)
        for path in session.taps:
            session.request.done(path, session.began)

    def _at(self, session: Session, message: dict[str, Any]) -> None:
        session.frames, session.lost = int(message["frames"]), int(message["lost"])

    def _lost(self, session: Session, message: dict[str, Any]) -> None:
        path, frames = message["path"], int(message["frames"])
        log.warning(
            "recording %.200s: the disk is too slow, %d frames were lost", printable(path), frames
        )
        self._notify("/record/lost", path, frames, to=session.request)

    def _failed(self, session: Session, message: dict[str, Any]) -> None:
        full = bool(message.get("full"))
        self._give_up(session, message["path"], message["reason"], full)
        for stopper in session.stoppers:
            stopper.fail(session.failures[-1])
        self._drop_file(session, message)

    def _continued(self, session: Session, message: dict[str, Any]) -> None:
        full, path, frames = message["full"], message["path"], int(message["frames"])
        parts = session.parts.setdefault(message["first"], [])
        parts[-1:] = [[full, frames], [path, 0]]
        log.warning(
            "recording %.200s has reached the maximum file size: it continues in %.200s",
            printable(full), printable(path),
        )
        self._notify("/record/continued", full, frames, path, to=session.request)

    def _closed(self, session: Session, message: dict[str, Any]) -> None:
        full = session.parts.get(_first(message), [])[:-1]
        for stopper in session.stoppers:
            for path, frames in full:
                stopper.done(path, frames)
            stopper.done(message["path"], int(message["frames"]))
        self._drop_file(session, message)

    def _ended(self, session: Session, message: dict[str, Any]) -> None:
        if session.stop is None or not session.stoppers[-1].frame:
            return
        late = int(message["frame"]) - session.stop
        if late > 0:
            session.stoppers[-1].report_late(late / self._desk.sample_rate)

    # ---------------------------------------------------------------------------------------

    def _give_up(self, session: Session, path: str, reason: str, full: bool = False) -> None:
        log.error("recording %.200s failed: %s", printable(path), reason)
        kind = "disk_full" if full else "recording"
        self.report(kind, f"a recording failed: {reason} ({path})")
        session.failures.append(f"{path}: {reason}")
        self._notify("/record/failed", path, reason, to=session.request)

    def _drop_file(self, session: Session, message: dict[str, Any]) -> None:
        session.taps.pop(_first(message), None)
        if not session.taps:
            self._forget(session)

    def _forget(self, session: Session) -> None:
        self._opened(session, {})
        del self._sessions[session.number]

    def _process_died(self, process: Process) -> None:
        self._recorder_died(process.exit_description)
        process.stop(0.0)
        self._process = None

    def _recorder_died(self, how: str) -> None:
        reason = f"the recorder has died ({how}): the last second may be missing"
        for session in list(self._sessions.values()):
            for path in list(session.taps):
                self._give_up(session, session.current(path), reason)
            for stopper in session.stoppers:
                stopper.fail(reason)
            self._forget(session)
        release_owner(self._desk, RECORDER)


def _first(message: dict[str, Any]) -> str:
    """The first file of a recording, by which it is identified."""
    return str(message.get("first", message["path"]))
