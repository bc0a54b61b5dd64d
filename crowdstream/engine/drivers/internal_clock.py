"""The built-in clock: requests blocks in real time on a machine without a sound card."""

from __future__ import annotations

import os
import struct
import threading
import time
from pathlib import Path

from crowdstream.desk.stream_info import StreamInfo
from crowdstream.engine.drivers.callback import Callback

# Like a device with two periods: a block is due one period before it would be audible.
RESTART_PERIODS = 8  # after a stall of this length the clock restarts instead of catching up


# For tests and benchmarks of rooms: how many ppm the clock is fast, and a file to which its blocks
# are written, each after the time (ns, monotonic) at which it is heard and its number of frames.
ERROR_VARIABLE = "CROWDSTREAM_CLOCK_ERROR_PPM"
RECORDING_VARIABLE = "CROWDSTREAM_CLOCK_RECORDING"
BLOCK_HEAD = struct.Struct("<qq")


class InternalClockDriver:
    """Renders a block each period and discards it; counts deadlines like a device.

    `since`: the `time.monotonic()` at which another clock stopped. The blocks since then are
    rendered at once.
    """

    def __init__(
        self, callback: Callback, sample_rate: float, frames: int, since: float | None = None
    ) -> None:
        self._callback = callback
        self._rate = sample_rate
        self._frames = frames
        self._since = since
        self._error = float(os.environ.get(ERROR_VARIABLE, "0")) * 1e-6
        recording = os.environ.get(RECORDING_VARIABLE)
        self._recording = Path(recording).open("ab") if recording else None  # noqa: SIM115
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="null-driver", daemon=True)

    def start(self) -> StreamInfo:
        """Start the clock."""
        self._thread.start()
        latency = 2 * self._frames / self._rate
        return StreamInfo("null", "built-in clock", self._rate, self._frames, latency)

    def stop(self) -> None:
        """Stop the clock and wait for its thread."""
        self._stopping = True
        self._thread.join()

    def alive(self) -> bool:
        """Whether the clock is running."""
        return self._thread.is_alive()

    def _run(self) -> None:
        period = self._frames / (self._rate * (1.0 + self._error))
        begin = time.monotonic()
        if self._since is not None:
            begin = self._since + period
            while begin < time.monotonic() and not self._stopping:
                self._callback.fill(self._frames, False)
                begin += period
        block = 0
        missed = False
        fill, frames = self._callback.fill, self._frames
        while not self._stopping:
            wait = begin + block * period - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            heard = begin + (block + 2) * period
            out = fill(frames, missed, int(heard * 1e9))
            if self._recording is not None:
                self._recording.write(BLOCK_HEAD.pack(int(heard * 1e9), self._frames))
                self._recording.write(out[:, :2].tobytes())
            block += 1
            late = time.monotonic() - (begin + block * period)
            missed = late > 0
            if late > RESTART_PERIODS * period:
                begin = time.monotonic()
                block = 0
