"""A device's input beside an output, each on its own clock, in simulated time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import PAGE_BYTES
from crowdstream.desk.inputs import InputWriter
from crowdstream.desk.opcodes import FLAG_NONE
from crowdstream.engine.precompiled import kernels

BEGIN_NS = 1e12
Signal = Callable[[np.ndarray], np.ndarray]
"""Samples of a signal, `(frames,)`, at given times in seconds."""


class LiveInput:
    """An input that captures `signal`, and the mix of a desk that plays it.

    The mix runs at `rate` Hz, on a clock that is exact. The device runs nominally at `device_rate`;
    its clock is fast by `ppm`. Blocks arrive and are requested late, by up to `jitter` seconds,
    evenly distributed. `number`: of the input. Close it.
    """

    def __init__(
        self,
        signal: Signal,
        ppm: float = 0.0,
        *,
        rate: float = 44100.0,
        device_rate: float = 48000.0,
        block: int = 512,
        device_block: int = 480,
        jitter: float = 0.0,
        number: int = 0,
        seed: int = 1,
    ) -> None:
        self.desk = Desk.create(4 * PAGE_BYTES, rate)
        self.desk.header["block_frames"] = block
        self.desk.undo_log["off"] = 1
        InputWriter.configure(self.desk, number + 1)
        self.number = number
        self.writer = InputWriter(self.desk, number)
        self.writer.start(device_rate, device_block)
        self._signal = signal
        self._rate, self._block = rate, block
        self._device_rate = device_rate
        self._true_rate = device_rate * (1.0 + ppm * 1e-6)
        self._device_block = device_block
        self._jitter = jitter
        self._rng = np.random.default_rng(seed)
        self._captured = 0
        self._held_until = 0.0
        self._arrival = self._arrives()
        self._kernels = kernels()
        self._out = np.zeros((block, 2), np.float32)
        self.plugged = True
        self.stalled = 0.0
        """Seconds for which the output has stood still so far; increase it to let it stall."""
        self.lost = False
        """Set it to report the next block as one before which the device lost frames."""

    @property
    def state(self) -> np.void:
        """The engine's record of the input."""
        state: np.void = self.desk.inputs[self.number]
        return state

    def _late(self) -> float:
        return float(self._rng.uniform(0.0, self._jitter)) if self._jitter else 0.0

    def _arrives(self) -> float:
        return (self._captured + self._device_block) / self._true_rate + self._late()

    def hold(self, seconds: float) -> None:
        """Let the blocks of the next `seconds` arrive together at their end."""
        self._held_until = self.desk.frame / self._rate + self.stalled + seconds

    def skip(self, seconds: float) -> None:
        """Let the device lose its signal for a time."""
        self._captured += round(seconds * self._true_rate)
        self._arrival = self._arrives()

    def _capture(self, until: float) -> None:
        if until < self._held_until:
            return
        while self._arrival <= until:
            times = (self._captured + np.arange(self._device_block)) / self._true_rate
            self._captured += self._device_block
            if self.plugged:
                mono = self._signal(times).astype(np.float32)
                frames = np.stack([mono, mono], 1)
                arrived = max(self._arrival, self._held_until)
                self.writer.write(frames, BEGIN_NS + arrived * 1e9, self.lost)
                self.lost = False
            self._arrival = self._arrives()

    def play(self, seconds: float) -> np.ndarray:
        """Render the next blocks, at least `seconds` long: float32 `(frames,)`, the left side."""
        blocks = -(-round(seconds * self._rate) // self._block)
        out = np.zeros(blocks * self._block, np.float32)
        for number in range(blocks):
            now = self.desk.frame / self._rate + self.stalled + self._late()
            self._capture(now)
            ns = round(BEGIN_NS + now * 1e9)
            self._kernels.begin_block(self.desk.address, self._block, ns, FLAG_NONE)
            self._kernels.render_at(self.desk.address, self._out.ctypes.data, self._block)
            self._kernels.end_block(self.desk.address, self._block, 1000)
            out[number * self._block : (number + 1) * self._block] = self._out[:, 0]
        return out

    def close(self) -> None:
        """Free the desk."""
        del self.writer
        self.desk.close()
