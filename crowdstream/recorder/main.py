"""The recorder process: records taps to files, so that a slow disk blocks no other process.

Control writes requests as JSON lines to standard input; events are written to standard output in
the same format. When standard input closes, the process finishes its files and exits.
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
from crowdstream.recorder.recording import DiskAlmostFull, Send
from crowdstream.recorder.session import Session
from crowdstream.system.process import send_to_parent

READ_SECONDS = 0.05  # between two reads of the taps, whose rings hold more than a second
REPORT_SECONDS = 0.25  # between two progress reports
FINISH_SECONDS = 8.0  # for slow disks, when the server shuts down
NICENESS = 5

_REASONS = {
    errno.EEXIST: "it exists, and recordings never overwrite files: choose another name",
    errno.ENOENT: "there is no such folder: make it first",
    errno.EXDEV: "it lies outside the folders for recordings",
    errno.ELOOP: "the folder was changed meanwhile",
    errno.EACCES: "this user may not write there: change the folder's permissions",
}


class Recorder:
    """Carries out requests; calls `send` with the resulting events, from any thread."""

    def __init__(self, desk: Desk, send: Send) -> None:
        self._desk = desk
        self._send = send
        self._sessions: list[Session] = []
        self._report_at = 0.0

    @property
    def busy(self) -> bool:
        """Whether anything is being recorded or still being written."""
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
            self._send_inventory()

    def _start(self, request: dict[str, Any]) -> None:
        number = int(request["id"])
        files = [(int(tap), Path(path)) for tap, path in request["files"]]
        try:
            session = Session(
                self._desk, number, int(request["frame"]), files, request["format"], self._send,
                roots=[Path(root) for root in request["roots"]], reserve=int(request["reserve"]),
            )
        except DiskAlmostFull as error:
            reason = str(error.strerror)
            self._send({"event": "refused", "id": number, "reason": reason, "full": True})
        except OSError as error:
            code = error.errno or 0
            reason = _REASONS.get(code) or os.strerror(code)
            path = error.filename or files[0][1]
            full = code in (errno.ENOSPC, errno.EDQUOT)
            reason = f"{path}: {reason}"
            self._send({"event": "refused", "id": number, "reason": reason, "full": full})
        else:
            self._sessions.append(session)
            self._send({"event": "opened", "id": number})

    def _send_inventory(self) -> None:
        # For a control process whose predecessor may not have processed earlier events.
        for session in self._sessions:
            self._send({"event": "opened", "id": session.number})
        sessions = [session.number for session in self._sessions]
        self._send({"event": "inventory", "sessions": sessions})

    def work(self) -> None:
        """Read all taps once."""
        for session in list(self._sessions):
            session.work()
            if session.closed:
                self._sessions.remove(session)
        if time.monotonic() >= self._report_at:
            self._report_at = time.monotonic() + REPORT_SECONDS
            for session in self._sessions:
                self._send(
                    {"event": "at", "id": session.number, "frames": session.recorded,
                     "lost": session.lost}
                )

    def finish(self) -> None:
        """Close all files."""
        deadline = time.monotonic() + FINISH_SECONDS
        for session in self._sessions:
            session.finish(deadline)


class RecorderProcess:
    """Connects the recorder with its two pipes."""

    def __init__(self, desk: Desk) -> None:
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._recorder = Recorder(desk, self._events.put)
        self._incomplete_line = b""

    def run(self) -> None:
        """Work until standard input closes."""
        try:
            while True:
                wait = READ_SECONDS if self._recorder.busy else None
                if select.select([0], [], [], wait)[0] and not self._receive():
                    break
                self._recorder.work()
                self._write_events()
        finally:
            self._recorder.finish()
        self._write_events()

    def _receive(self) -> bool:
        data = os.read(0, 1 << 16)
        *lines, self._incomplete_line = (self._incomplete_line + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):  # incomplete: control died while writing it
                self._recorder.handle(json.loads(line))
        return bool(data)

    def _write_events(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                send_to_parent(self._events.get_nowait())


def main(arguments: list[str]) -> int:
    """Run until standard input closes; returns the exit status. `arguments`: desk descriptor."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    with contextlib.suppress(BrokenPipeError):  # control is gone
        RecorderProcess(Desk(int(arguments[0]))).run()
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    os._exit(status)  # a thread that hangs in a write must not delay the exit
