"""The broadcast process: reads the master's tap, and sends it to all targets.

Control starts it with the first broadcast. Control's messages on standard input and the reports on
standard output are JSON lines; passwords arrive in these messages only. When standard input closes,
the process ends its broadcasts and exits.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import queue
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crowdstream.broadcast.outputs import Output
from crowdstream.broadcast.target import HLS, ICECAST, Target, TargetError, parse
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import TAP_MASTER
from crowdstream.desk.taps import BROADCAST, TapReader
from crowdstream.system.process import send_to_parent

if TYPE_CHECKING:
    from crowdstream.broadcast.stream import Stream

READ_SECONDS = 0.1  # between two reads of the tap, whose ring holds three seconds
REPORT_SECONDS = 1.0  # between two reports of the counters
SILENCE_SECONDS = 0.5  # without frames, from which silence is sent instead
FINISH_SECONDS = 0.4  # for the ends of all streams
NICENESS = 5

Report = Callable[[dict[str, Any]], None]


class Distributor:
    """Gives the master's frames to the outputs. For one thread."""

    def __init__(
        self, rate: float, report: Report, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.rate = rate
        self.lost = 0  # frames of the master that this process was too slow for
        self._report = report
        self._monotonic = monotonic
        self._outputs: dict[int, Output] = {}
        self._streams: dict[tuple[str, int], Stream] = {}
        self._title = ("", "")
        self._authorities = ""
        self._fed = monotonic()
        self._reported: dict[int, dict[str, Any]] = {}

    def handle(self, request: dict[str, Any]) -> None:
        """Carry out one message of control."""
        match request["do"]:
            case "start":
                self._start(request)
            case "all":
                self._replace(request["broadcasts"])
            case "stop":
                self._stop(int(request["id"]))
            case "authorities":  # for the next connections
                self._authorities = str(request["path"])
            case "title":
                self._set_title(str(request["artist"]), str(request["title"]))
            case "report":
                self._reported = {}

    def _replace(self, requests: list[dict[str, Any]]) -> None:
        # What control knows is right: its predecessor may have died before it saved a command.
        wanted = {int(one["id"]): one for one in requests}
        for number in [number for number in self._outputs if number not in wanted]:
            self._stop(number)
        for one in requests:
            self._start(one)
        self._reported = {}

    @property
    def idle(self) -> bool:
        """Whether there are no broadcasts."""
        return not self._outputs

    def resume(self) -> None:
        """Begin to feed again, after a time without broadcasts."""
        self._fed = self._monotonic()

    def _start(self, request: dict[str, Any]) -> None:
        number = int(request["id"])
        if number in self._outputs:
            return
        try:
            target = parse(request["url"])
            output = self._make(number, target, [Path(root) for root in request.get("roots", ())])
        except (TargetError, ImportError) as error:
            state = {"event": "state", "id": number, "state": "failed", "reason": str(error)}
            self._report({**state, "connections": 0, "sent": 0, "dropped": 0.0})
            return
        output.set_title(*self._title)
        self._outputs[number] = output
        output.start()

    def _make(self, number: int, target: Target, roots: list[Path]) -> Output:
        # Imported here: each part needs libraries that the others do not.
        if target.protocol == ICECAST:
            from crowdstream.broadcast.icecast import IcecastOutput
            from crowdstream.broadcast.stream import Stream

            key = target.format, target.bitrate
            if key not in self._streams:
                stream = self._streams[key] = Stream(*key, self.rate)
                stream.set_title(*self._title)
                stream.start()
            return IcecastOutput(
                number, target, self._streams[key], self._report, lambda: self._authorities
            )
        if target.protocol == HLS:
            from crowdstream.broadcast.hls import HlsOutput

            return HlsOutput(number, target, self.rate, self._report, roots)
        from crowdstream.broadcast.pcm import PcmOutput

        return PcmOutput(number, target, self.rate, self._report, roots)

    def _stop(self, number: int) -> None:
        output = self._outputs.pop(number, None)
        if output is None:
            return
        output.stop()
        self._reported.pop(number, None)
        used = {
            (one.target.format, one.target.bitrate)
            for one in self._outputs.values() if one.target.protocol == ICECAST
        }
        for key in [key for key in self._streams if key not in used]:
            self._streams.pop(key).stop()

    def _set_title(self, artist: str, title: str) -> None:
        self._title = (artist, title)
        for stream in self._streams.values():
            stream.set_title(artist, title)
        for output in self._outputs.values():
            output.set_title(artist, title)

    def feed(self, lost: int, frames: np.ndarray) -> None:
        """Distribute frames of the master. `lost` frames before them are replaced by silence.

        While the engine delivers none, silence takes their place, so that no receiver gives up.
        """
        now = self._monotonic()
        self.lost += lost
        if lost:
            frames = np.concatenate([np.zeros((lost, 2), np.float32), frames])
        if not len(frames):
            if now - self._fed < SILENCE_SECONDS:
                return
            frames = np.zeros((round((now - self._fed) * self.rate), 2), np.float32)
        self._fed = now
        for stream in self._streams.values():
            stream.queue.put(frames, len(frames))
        for output in self._outputs.values():
            if output.takes_frames:
                output.queue.put(frames, len(frames))

    def report_counters(self) -> None:
        """Send control all states that differ from the last ones."""
        for number, output in self._outputs.items():
            state = output.state()
            if state != self._reported.get(number):
                self._reported[number] = state
                self._report(state)

    def finish(self) -> None:
        """End all outputs."""
        for output in self._outputs.values():
            output.stop()
        for stream in self._streams.values():
            stream.stop()
        deadline = time.monotonic() + FINISH_SECONDS
        for output in self._outputs.values():
            output.join(deadline - time.monotonic())


class BroadcastProcess:
    """Connects the distributor with the desk and with control's pipes."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._distributor = Distributor(desk.sample_rate, self._events.put)
        self._incomplete_line = b""

    def run(self) -> None:
        """Work until standard input closes."""
        tap: TapReader | None = None
        report_at = 0.0
        try:
            while True:
                wait = None if tap is None else READ_SECONDS
                if select.select([0], [], [], wait)[0] and not self._receive():
                    break
                if self._distributor.idle:
                    if tap is not None:
                        tap.close()
                        tap = None
                elif tap is None:
                    tap = TapReader(self._desk, TAP_MASTER, BROADCAST)
                    self._distributor.resume()
                else:
                    self._distributor.feed(*tap.read())
                if time.monotonic() >= report_at:
                    report_at = time.monotonic() + REPORT_SECONDS
                    self._distributor.report_counters()
                self._write_events()
        finally:
            if tap is not None:
                tap.close()
            self._distributor.finish()

    def _receive(self) -> bool:
        data = os.read(0, 1 << 16)
        *lines, self._incomplete_line = (self._incomplete_line + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):  # incomplete: control died while writing it
                self._distributor.handle(json.loads(line))
        return bool(data)

    def _write_events(self) -> None:
        # A dead control has a successor, which asks for the states.
        with contextlib.suppress(queue.Empty, OSError):
            while True:
                send_to_parent(self._events.get_nowait())


def main(arguments: list[str]) -> int:
    """Run until standard input closes; returns the exit status. `arguments`: desk descriptor."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    process = BroadcastProcess(Desk(int(arguments[0])))
    gc.collect()
    gc.freeze()
    process.run()
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    os._exit(status)  # a thread that hangs in a write must not delay the exit
