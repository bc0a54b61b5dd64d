"""The file of the event log, which is kept across restarts: JSON lines, limited in size.

A thread reads and writes it, so a stalled card does not delay control.
"""

from __future__ import annotations

import contextlib
import os
import queue
import stat
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from crowdstream.control.publish.event_log import MAX_EVENTS, Event, event_of, line_of
from crowdstream.logs.rotating_file import LogFile

NAME = "events.jsonl"
FILE_BYTES = 512 << 10  # some 2500 events
FILES = 2  # this one and the one before
MAX_WAITING = 500  # events that wait for the disk
END_SECONDS = 1.0  # to write waiting events when the server stops


class EventFile:
    """Reads the earlier events of the server on OSC port `port`, and appends new ones.

    `report(text)` is called once for each reason for which the file can't be written; that is in
    the file's thread. All servers of a user write to one file.
    """

    def __init__(self, path: Path, port: int, report: Callable[[str], None]) -> None:
        self._path = path
        self._port = port
        self._report = report
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._earlier: list[Event] | None = None
        self._dropped = 0  # by control
        self._failed = 0  # in the file's thread
        self._thread = threading.Thread(target=self._run, name="event file", daemon=True)
        self._thread.start()

    @property
    def unwritten(self) -> int:
        """Number of events that are missing in the file."""
        return self._dropped + self._failed

    def take_earlier(self) -> list[Event] | None:
        """Return the events of the file, once they are read; afterwards None."""
        earlier, self._earlier = self._earlier, None
        return earlier

    def write(self, event: Event) -> None:
        """Queue an event; never blocks. While the queue is full, it is dropped and counted."""
        if self._queue.qsize() >= MAX_WAITING:
            self._dropped += 1
        else:
            self._queue.put(event)

    def close(self, seconds: float = END_SECONDS) -> None:
        """Write what is queued, for up to `seconds`."""
        self._queue.put(None)
        self._thread.join(seconds)

    # In the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        file = LogFile(
            self._path, self._report, file_bytes=FILE_BYTES, files=FILES, min_free=0, mode=0o600
        )
        with contextlib.suppress(OSError):  # the first write reports it
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = (Path(f"{self._path}.{number}") for number in range(FILES - 1, 0, -1))
        earlier: deque[Event] = deque(maxlen=MAX_EVENTS)
        last = b"\n"
        for path in (*names, self._path):
            data = _tail(path)
            found = (event_of(line, self._port) for line in data.splitlines())
            earlier.extend(event for event in found if event)
            last = data[-1:]
        self._earlier = list(earlier)
        # The last line is incomplete after a power failure.
        begin = b"\n" if last not in (b"\n", b"") else b""
        while (event := self._queue.get()) is not None:
            if file.write(begin + line_of(event, self._port)):
                begin = b""
            else:
                self._failed += 1
        file.close()


def _tail(path: Path) -> bytes:
    # The end of a file; empty if it is missing or can't be read.
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return b""
        begin = max(0, status.st_size - FILE_BYTES)
        return os.pread(fd, FILE_BYTES, begin)
    except OSError:
        return b""
    finally:
        os.close(fd)
