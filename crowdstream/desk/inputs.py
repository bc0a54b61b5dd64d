"""Writing frames to the ring of a live input, with marks of the time at which they were captured.

The ring has one writer, a capture process or an offline render, and one reader, the engine. Frame
f of a stream lies at index f modulo `INPUT_FRAMES`. A writer never waits: the engine follows at a
fraction of the ring's length.
"""

from __future__ import annotations

import math

import numpy as np

from crowdstream.desk.atomics import fence, store_release
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import INPUT_FRAMES
from crowdstream.desk.dtypes import CAPTURE
from crowdstream.desk.layout import REGIONS
from crowdstream.desk.opcodes import CAPTURE_DEVICE, CAPTURE_FILE, CAPTURE_NONE

_CAPTURES = REGIONS["captures"].offset
_FIELDS = CAPTURE.fields
assert _FIELDS is not None
_STAMP, _HEAD = _FIELDS["stamp"][1], _FIELDS["head"][1]

# The loops that smooth the times of blocks, here and in the engine. They begin fast and become
# slower with their age: the jitter of a callback is a thousand times the drift of a clock.
START_HERTZ, LOOP_HERTZ = 1.0, 0.02  # bandwidth at first, and in the end
START_SHARE = 0.5  # the bandwidth is this divided by the seconds since the start
LOOP_DAMPING = math.sqrt(2.0)  # twice the damping ratio of a Butterworth response
# A block that is so late has waited somewhere, and says nothing about the clock. If blocks are late
# for longer than the patience, frames were lost, and the clock begins again.
JUMP_SECONDS, PATIENCE_SECONDS = 0.02, 0.5
DECAY_SECONDS = 0.005  # in which a step in the captured signal decays
MAX_SAMPLE = 4.0  # +12 dB: a sample beyond is a fault of the device


class SteadyClock:
    """The times of a device's blocks, without their jitter: a delay-locked loop.

    After F. Adriaensen, "Using a DLL to filter time" (Linux Audio Conference 2005). `ns` is the
    smoothed monotonic time at which the latest block arrived, `period` the nanoseconds per frame.
    """

    def __init__(self, rate: float) -> None:
        self.period = 1e9 / rate
        self.ns = 0.0
        self._seconds = self._astray = 0.0

    def restart(self) -> None:
        """Begin again with the next block, at the rate that is known: frames were lost."""
        self.ns = 0.0

    def advance(self, frames: int, now_ns: float) -> None:
        """Follow a block of `frames` frames that arrived at `now_ns` (monotonic)."""
        predicted = self.ns + frames * self.period
        error = now_ns - predicted
        seconds = frames * self.period * 1e-9
        self._seconds += seconds
        self._astray = self._astray + seconds if abs(error) > JUMP_SECONDS * 1e9 else 0.0
        if self.ns == 0.0 or self._astray > PATIENCE_SECONDS:
            self.ns, self._seconds, self._astray = now_ns, 0.0, 0.0
            return
        if self._astray:
            self.ns = predicted
            return
        hertz = min(START_HERTZ, max(LOOP_HERTZ, START_SHARE / self._seconds))
        step = min(2.0 * math.pi * hertz * seconds, 0.5)
        self.ns = predicted + LOOP_DAMPING * step * error
        self.period += step * step * error / frames


class InputWriter:
    """Writes the frames of one input; `number` counts from 0.

    For one thread. `configure` must have been called before anything plays.
    """

    def __init__(self, desk: Desk, number: int) -> None:
        self._desk = desk
        self._record = desk.captures[number : number + 1]
        self._ring = desk.input_rings[number]
        at = desk.address + _CAPTURES + CAPTURE.itemsize * number
        self._head_at, self._stamp_at = at + _HEAD, at + _STAMP
        self._head = 0
        self._clock = SteadyClock(1.0)
        self._fall = np.zeros((0, 1), np.float32)
        self._last = np.zeros(2, np.float32)
        self._step = np.zeros(2, np.float32)
        self._falling = 0

    @staticmethod
    def configure(desk: Desk, count: int) -> None:
        """Give the desk `count` inputs, before anything plays. They are silent at first."""
        desk.captures["configured"][:count] = 1

    def start(self, rate: float, block: int) -> None:
        """Begin a new stream of a device at `rate` Hz, in blocks of about `block` frames."""
        self.stop()
        self._clock = SteadyClock(rate)
        frames = max(1, round(DECAY_SECONDS * rate))
        self._fall = np.linspace(1.0, 0.0, frames, endpoint=False, dtype=np.float32)[:, None]
        self._last[:] = 0.0
        self._falling = 0
        self._begin(rate, block, CAPTURE_DEVICE)

    def start_file(self, rate: float, origin: int) -> None:
        """Begin a file at the mix's `rate`, whose first frame is due at frame `origin` of it."""
        self.stop()
        self._record["origin"] = origin
        self._begin(rate, 0, CAPTURE_FILE)

    def _begin(self, rate: float, block: int, source: int) -> None:
        record = self._record
        self._head = 0
        store_release(self._head_at, 0)
        self._mark(0, 0.0, 0.0)
        record["rate"], record["block"] = rate, block
        record["serial"] += 1
        fence()  # the engine sees the source last
        record["source"] = source

    def stop(self) -> None:
        """End the stream: the engine fades the input out."""
        self._record["source"] = CAPTURE_NONE
        fence()

    @property
    def head(self) -> int:
        """Frames written since the start of the stream."""
        return self._head

    def write(self, frames: np.ndarray, now_ns: float, lost: bool = False) -> None:
        """Add a block that arrived at `now_ns` (monotonic): float32 `(frames, 2)`, changed.

        Samples that are not finite become 0. `lost`: the device has lost frames before this block;
        the step that they leave is turned into a decay.
        """
        count = len(frames)
        if count == 0:
            return
        np.nan_to_num(frames, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        np.clip(frames, -MAX_SAMPLE, MAX_SAMPLE, out=frames)
        if lost:
            self._record["overflows"] += 1
            self._step[:] = self._last - frames[0]
            self._falling = len(self._fall)
            self._clock.restart()
        if self._falling:
            done = len(self._fall) - self._falling
            some = min(self._falling, count)
            frames[:some] += self._step * self._fall[done : done + some]
            self._falling -= some
        self._last[:] = frames[-1]
        self._copy(frames)
        self._clock.advance(count, now_ns)
        self._mark(self._head, self._clock.ns, self._clock.period)

    def write_file(self, frames: np.ndarray) -> None:
        """Add frames of a file: float32 `(frames, 2)`."""
        self._copy(frames)

    def _copy(self, frames: np.ndarray) -> None:
        for begin in range(0, len(frames), INPUT_FRAMES):
            part = frames[begin : begin + INPUT_FRAMES]
            place = self._head % INPUT_FRAMES
            straight = min(len(part), INPUT_FRAMES - place)
            self._ring[place : place + straight] = part[:straight]
            self._ring[: len(part) - straight] = part[straight:]
            self._head += len(part)
        store_release(self._head_at, self._head)

    def _mark(self, frame: int, ns: float, period: float) -> None:
        record = self._record
        stamp = int(record["stamp"][0]) | 1  # odd, also if a writer died in here
        store_release(self._stamp_at, stamp)
        fence()
        record["mark_frame"], record["mark_ns"], record["mark_period"] = frame, ns, period
        store_release(self._stamp_at, stamp + 1)
