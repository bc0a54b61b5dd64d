"""A log handler that writes its lines in a thread of its own."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from crowdstream.logs.throttle import LogThrottle

MAX_WAITING = 2000  # lines: some seconds of a flood, and a few hundred kB
FLUSH_SECONDS = 1.0  # limit for writing queued lines when a process ends


class AsyncHandler(logging.Handler):
    """Formats records immediately and calls `write(line)` for them later, from one thread.

    `write` may block, which affects only that thread, and must not raise. While `MAX_WAITING`
    lines are queued, more are dropped and counted; the next line reports their number. `throttle`
    limits repeated lines.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        closed: Callable[[], None] | None = None,
        to_person: bool = False,
        to_file: bool = False,
        throttle: LogThrottle | None = None,
    ) -> None:
        """`closed` is called after the last line. `to_person` and `to_file` describe the reader
        and are kept as attributes."""
        super().__init__()
        self.to_person = to_person
        self.to_file = to_file
        self._write = write
        self._closed = closed
        self._throttle = throttle or LogThrottle()
        self._guard = threading.RLock()  # of the throttle, which the writing thread uses as well
        # SimpleQueue is reentrant: it may be filled from anywhere, signal handlers included.
        self._queue: queue.SimpleQueue[bytes | threading.Event | None] = queue.SimpleQueue()
        self._left_out = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record unless it is throttled; never waits for the target."""
        try:
            with self._guard:
                self._report()
                if not self._throttle.allows(record):
                    return
            if self._queue.qsize() >= MAX_WAITING:
                self._left_out += 1
                return
            if self._left_out:
                count, self._left_out = self._left_out, 0
                self._put(self._own(f"{count} lines were dropped: they could not be written"))
            self._put(record)
        except Exception:  # a message that does not fit its values must not stop the caller
            self.handleError(record)

    def report(self, text: str) -> None:
        """Log a message about the log itself, on this target only."""
        self.emit(self._own(text))

    def flush(self) -> None:
        """Wait until all lines so far are written, for at most `FLUSH_SECONDS`."""
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            done = threading.Event()
            self._queue.put(done)
            done.wait(FLUSH_SECONDS)

    def close(self) -> None:
        """Write queued lines within `FLUSH_SECONDS`, and end the thread."""
        if self._thread.is_alive():
            with self._guard:
                self._report(all_of_them=True)
            self._queue.put(None)
            self._thread.join(FLUSH_SECONDS)
        super().close()

    def _put(self, record: logging.LogRecord) -> None:
        line = self.format(record) + "\n"
        self._queue.put(line.encode("utf-8", "backslashreplace"))

    @staticmethod
    def _own(text: str) -> logging.LogRecord:
        return logging.LogRecord("crowdstream.logs", logging.WARNING, "", 0, text, None, None)

    def _report(self, all_of_them: bool = False) -> None:
        for record in self._throttle.reports(all_of_them):
            self._put(record)

    def _next(self) -> bytes | threading.Event | None:
        while True:
            with self._guard:
                due = self._throttle.due()
            try:
                return self._queue.get(timeout=None if due is None else max(0.0, due))
            except queue.Empty:
                with self._guard:
                    self._report()

    def _run(self) -> None:
        while (item := self._next()) is not None:
            if isinstance(item, bytes):
                self._write(item)
            else:
                item.set()
        if self._closed is not None:
            self._closed()
