"""Rubber Band, both engines, in real-time mode, through its library's C interface."""

from __future__ import annotations

import ctypes
import time

import numpy as np

from benchmarks.stretchers import BLOCK, Absent, Stretched

REAL_TIME = 0x00000001  # options of rubberband-c.h
ENGINE_FINER = 0x20000000
_NAMES = ("librubberband.so.2", "librubberband.so.3", "librubberband.so", "librubberband.dylib")


def _load() -> ctypes.CDLL:
    for name in _NAMES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.rubberband_new.restype = ctypes.c_void_p
        library.rubberband_new.argtypes = (
            ctypes.c_uint, ctypes.c_uint, ctypes.c_int, ctypes.c_double, ctypes.c_double,
        )  # fmt: skip
        return library
    raise Absent("Rubber Band is not installed (on Debian: apt install librubberband2)")


class RubberBand:
    """`engine` 2 is the fast one, 3 the fine one."""

    def __init__(self, engine: int) -> None:
        self.name = f"Rubber Band R{engine}"
        self._options = REAL_TIME | (ENGINE_FINER if engine == 3 else 0)

    def check(self) -> None:
        """Raise `Absent` without the library."""
        _load()

    def stretch(self, samples: np.ndarray, tempo: float, sample_rate: int) -> Stretched:
        """See `Stretcher.stretch`. The start delay that it reports is cut off."""
        library = _load()
        channels = samples.shape[1]
        state = ctypes.c_void_p(
            library.rubberband_new(sample_rate, channels, self._options, 1.0 / tempo, 1.0)
        )
        library.rubberband_set_max_process_size(state, BLOCK)
        delay = library.rubberband_get_latency(state)
        lanes = ctypes.c_void_p * channels
        tail = np.zeros((sample_rate // 2, channels), np.float32)
        planar = np.ascontiguousarray(np.concatenate((samples, tail)).T, np.float32)
        buffer = np.zeros((channels, 8 * BLOCK), np.float32)
        receivers = lanes(*(lane.ctypes.data for lane in buffer))
        parts = []
        begin = time.process_time()
        for at in range(0, planar.shape[1] - BLOCK, BLOCK):
            senders = lanes(*(lane[at:].ctypes.data for lane in planar))
            library.rubberband_process(state, senders, BLOCK, 0)
            ready = library.rubberband_available(state)
            while ready > 0:
                got = library.rubberband_retrieve(state, receivers, min(ready, buffer.shape[1]))
                parts.append(buffer[:, :got].T.copy())
                ready -= got
        used = time.process_time() - begin
        library.rubberband_delete(state)
        sound = np.concatenate(parts)[delay:]
        return Stretched(sound, 1000.0 * delay / sample_rate, used)
