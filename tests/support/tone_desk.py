"""A desk whose taps are filled in real time with a tone, as by an engine, but without numba."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

import numpy as np

from crowdstream.desk.atomics import store_release
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import PAGE_BYTES, TAP_CUE, TAP_FRAMES, TAP_MASTER
from crowdstream.desk.dtypes import TAP
from crowdstream.desk.layout import REGIONS

assert TAP.fields is not None
_HEAD = TAP.fields["head"][1]
MAX_LATE_FRAMES = TAP_FRAMES // 8


class ToneDesk:
    """`desk` with sines: `hertz` by tap, with the amplitude `peak` on the left and half on the
    right.

    `write(frames)` makes the next block by hand; in a `with` block a thread does so in real time,
    `block` frames at a time. `skip(frames)` loses some, like an engine that died.
    """

    def __init__(self, rate: float = 44100.0, block: int = 256, peak: float = 0.25) -> None:
        self.desk = Desk.create(PAGE_BYTES, rate)
        self.rate = rate
        self.block = block
        self.peak = peak
        self.onset = 0  # the frame before which there is silence
        self.hertz = {TAP_MASTER: 1000.0, TAP_CUE: 440.0}
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def write(self, frames: int, at: float | None = None) -> None:
        """Write the next block, requested at the time `at` (monotonic seconds; default: now)."""
        with self._lock:
            self._write(frames, time.monotonic() if at is None else at)

    def skip(self, frames: int) -> None:
        """Let frames pass without writing them."""
        with self._lock:
            self.desk.clock["frame"] += frames
            for tap in self.hertz:
                self._publish(tap, int(self.desk.clock["frame"]), True)

    def set_rate(self, rate: float) -> None:
        """Change the sample rate from now on."""
        with self._lock:
            self.rate = rate
            self.desk.header["sample_rate"] = rate

    def tone(self, tap: int, first: int, frames: int) -> np.ndarray:
        """Return the contents of a tap from the frame `first` on, float32 `(frames, 2)`."""
        at = np.arange(first, first + frames)
        sine = self.peak * np.sin(2 * np.pi * self.hertz[tap] * at / self.rate)
        sine[at < self.onset] = 0.0
        return np.stack([sine, sine / 2], axis=1).astype(np.float32)

    def _write(self, frames: int, at: float) -> None:
        clock, first = self.desk.clock, int(self.desk.clock["frame"])
        clock["stamp"] += 1
        clock["callback_ns"], clock["callback_frame"] = round(at * 1e9), first
        clock["stamp"] += 1
        for tap in self.hertz:
            on = int(self.desk.taps[tap]["on"]) != 0
            if on:
                places = np.arange(first, first + frames) % TAP_FRAMES
                self.desk.tap_rings[tap, places] = self.tone(tap, first, frames)
            self._publish(tap, first + frames, not on)
        clock["frame"] = first + frames

    def _publish(self, tap: int, head: int, off: bool) -> None:
        if off:
            self.desk.taps[tap]["since"] = head
            if int(self.desk.taps[tap]["on"]) == 0:
                return
        address = self.desk.address + REGIONS["taps"].offset + TAP.itemsize * tap + _HEAD
        store_release(address, head)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self.write(self.block, due)
            # On a busy machine it catches up as far as the ring allows, and is late otherwise.
            most_late = MAX_LATE_FRAMES / self.rate
            due = max(due + self.block / self.rate, time.monotonic() - most_late)
            time.sleep(max(0.0, due - time.monotonic()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self.desk.close()
