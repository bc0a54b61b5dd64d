"""The loader process: reads files into pages, at a lower priority than everything that plays.

Control writes requests as JSON lines to standard input; replies and events are written to
standard output in the same format. Invalid lines are ignored. The process exits when standard
input closes.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import select
import signal
import sys
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any

import crowdstream.loader.tempo_check  # noqa: F401  (no page may wait for its import later)
from crowdstream.audiofile.beatgrid import describe_track
from crowdstream.audiofile.codec_messages import mute_c_libraries
from crowdstream.desk.block import Desk
from crowdstream.library.deck_grids import look_up_grid
from crowdstream.loader.loader import Loader
from crowdstream.loader.metadata import Describer
from crowdstream.system.process import send_to_parent
from crowdstream.system.sandbox import confine

WATCH_SECONDS = 0.05  # between two looks at the playheads of streamed tracks
IDLE_SECONDS = 1.0  # the same while all loaded tracks are in memory
RETRY_SECONDS = 0.01  # while a page is requested and none is free
STATUS_SECONDS = 0.25  # between two reports on the budget, if it has changed
TRIM_SECONDS = 30.0  # between two returns of free memory to the system
NICENESS = 5
# Longest time that a thread reading tags may delay the one that fills pages while both are busy.
# Python's default of 5 ms would be added to every call into a decoder.
SWITCH_SECONDS = 0.0005


class LoaderProcess:
    """Runs the loader and queues its requests."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._requests: deque[dict[str, Any]] = deque()
        self._incomplete_line = b""
        self._reported: dict[str, Any] = {}
        self._report_at = 0.0
        self._libc = ctypes.CDLL(None)
        self._trim_heap_at = time.monotonic() + TRIM_SECONDS

    def run(self) -> None:
        """Work until standard input closes."""
        wait = 0.0
        while True:
            if select.select([0], [], [], wait)[0] and not self._receive():
                return
            handled = self._handle_next()
            worked = self._loader.work()
            idle = not (handled or worked or self._requests)
            measured = idle and (self._loader.measure() or self._loader.check_tempo())
            self._report()
            if handled or worked or measured:
                wait = 0.0
            elif self._requests or self._loader.opening:
                wait = RETRY_SECONDS
            else:
                self._trim_heap()
                wait = WATCH_SECONDS if self._loader.watching() else IDLE_SECONDS

    def _trim_heap(self) -> None:
        # Mixed decoders fragment the heap, by tens of megabytes in a night. Trim it now that
        # nothing is requested. Only glibc has malloc_trim.
        now = time.monotonic()
        if now >= self._trim_heap_at:
            self._trim_heap_at = now + TRIM_SECONDS
            with contextlib.suppress(AttributeError):
                self._libc.malloc_trim(0)

    def _receive(self) -> bool:
        data = os.read(0, 1 << 16)
        *lines, self._incomplete_line = (self._incomplete_line + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                request = json.loads(line)
                if request["do"] == "ping":  # answered immediately, whatever else is queued
                    send_to_parent({"event": "pong"})
                else:
                    self._requests.append(request)
        return bool(data)

    def _handle_next(self) -> bool:
        # Files are opened one at a time, and none while an urgent page is missing: opening may
        # take a second. Other requests wait while the tags are read.
        if not self._requests or self._loader.opening:
            return False
        if self._requests[0]["do"] == "load" and self._loader.urgent():
            return False
        request = self._requests.popleft()
        try:
            self._loader.handle(request)
        except (ValueError, KeyError, TypeError) as error:
            send_to_parent({"event": "odd", "reason": f"{request!r:.200}: {error!r:.200}"})
        return True

    def _report(self) -> None:
        now = time.monotonic()
        if now < self._report_at:
            return
        self._report_at = now + STATUS_SECONDS
        status = self._loader.status()
        if status != self._reported:
            self._reported = status
            send_to_parent(status)


def main(arguments: list[str]) -> int:
    """Run until standard input closes; returns the exit status.

    `arguments`: JSON of `fd` (the desk's descriptor), `roots`, and `read_ahead` and `max_preload`
    in seconds (null: no limit).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    mute_c_libraries()
    sys.setswitchinterval(SWITCH_SECONDS)
    request = json.loads(arguments[0])
    most = request["max_preload"]
    roots = [Path(root) for root in request["roots"]]
    confine(roots)
    loader = Loader(
        Desk(int(request["fd"])),
        send_to_parent,
        read_ahead=float(request["read_ahead"]),
        max_preload=math.inf if most is None else float(most),
        roots=roots,
        describe=Describer(partial(describe_track, analysed=look_up_grid)),
        waits=False,
    )
    with contextlib.suppress(BrokenPipeError):  # control is gone
        send_to_parent({"event": "up"})
        LoaderProcess(loader).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
