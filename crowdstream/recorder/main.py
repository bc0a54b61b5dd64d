"""The recorder process: taps in, files out. A slow disk holds up nobody else.

Control writes requests as JSON lines to standard input; events go out the same way on standard
output. When standard input closes, what is recorded is finished and the process ends.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import queue
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

from crowdstream.desk.block import Desk
from crowdstream.recorder.recording import NoRoom, Say
from crowdstream.recorder.session import Session

READ_SECONDS = 0.05  # between two looks at the taps, whose rings hold more than a second
REPORT_SECONDS = 0.25  # between reports on how far it is
FINISH_SECONDS = 8.0  # for slow disks, when the server ends
NICENESS = 5

_REASONS = {
    errno.EEXIST: "it exists, and a recording never overwrites: choose another name",
    errno.ENOENT: "there is no such folder: make it first",
    errno.EXDEV: "it lies outside the folders for recordings",
    errno.ELOOP: "the folder was changed meanwhile",
    errno.EACCES: "this user may not write there: change the folder's permissions",
}


class Recorder:
    """Carries out requests; `say` is told what comes of them, from any thread."""

    def __init__(self, desk: Desk, say: Say) -> None:
        self._desk = desk
        self._say = say
        self._sessions: list[Session] = []
        self._report_at = 0.0

    @property
    def busy(self) -> bool:
        """Whether anything is recorded or still written."""
        return bool(self._sessions)

    def handle(self, request: dict[str, Any]) -> None:
        """Carry out one request of control."""
        if request["do"] == "start":
            self._start(request)
        elif request["do"] == "stop":
            for session in self._sessions:
                if session.number == request["id"]:
                    session.stop(int(request["frame"]), bool(request["at_once"]))
        elif request["do"] == "inventory":
            self._tell_all()

    def _start(self, request: dict[str, Any]) -> None:
        number = int(request["id"])
        files = [(int(tap), Path(path)) for tap, path in request["files"]]
        try:
            session = Session(
                self._desk, number, int(request["frame"]), files, request["format"], self._say,
                roots=[Path(root) for root in request["roots"]], reserve=int(request["reserve"]),
            )
        except NoRoom as error:
            self._say({"event": "refused", "id": number, "reason": str(error.strerror)})
        except OSError as error:
            code = error.errno or 0
            reason = _REASONS.get(code) or os.strerror(code)
            path = error.filename or files[0][1]
            self._say({"event": "refused", "id": number, "reason": f"{path}: {reason}"})
        else:
            self._sessions.append(session)
            self._say({"event": "opened", "id": number})

    def _tell_all(self) -> None:
        # For a control that has lost what was said before.
        for session in self._sessions:
            self._say({"event": "opened", "id": session.number})
        sessions = [session.number for session in self._sessions]
        self._say({"event": "inventory", "sessions": sessions})

    def work(self) -> None:
        """Look at all taps once."""
        for session in list(self._sessions):
            session.work()
            if session.closed:
                self._sessions.remove(session)
        if time.monotonic() >= self._report_at:
            self._report_at = time.monotonic() + REPORT_SECONDS
            for session in self._sessions:
                self._say(
                    {"event": "at", "id": session.number, "frames": session.recorded,
                     "lost": session.lost}
                )

    def finish(self) -> None:
        """Close all files."""
        deadline = time.monotonic() + FINISH_SECONDS
        for session in self._sessions:
            session.finish(deadline)


class RecorderProcess:
    """The recorder between its two pipes."""

    def __init__(self, desk: Desk) -> None:
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._recorder = Recorder(desk, self._events.put)
        self._rest = b""

    def run(self) -> None:
        """Work until standard input closes."""
        try:
            while True:
                wait = READ_SECONDS if self._recorder.busy else None
                if select.select([0], [], [], wait)[0] and not self._hear():
                    break
                self._recorder.work()
                self._tell()
        finally:
            self._recorder.finish()
        self._tell()

    def _hear(self) -> bool:
        data = os.read(0, 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):  # a control that died in the middle of it
                self._recorder.handle(json.loads(line))
        return bool(data)

    def _tell(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                sys.stdout.write(json.dumps(self._events.get_nowait()) + "\n")
                sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Run until standard input closes. `arguments`: the desk's descriptor."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    with contextlib.suppress(BrokenPipeError):  # control is gone
        RecorderProcess(Desk(int(arguments[0]))).run()
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # a thread that hangs in a write must not hold up the end
