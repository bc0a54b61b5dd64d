"""SoundTouch, through its library's plain C interface."""

from __future__ import annotations

import ctypes
import ctypes.util
import time

import numpy as np

from benchmarks.stretchers import BLOCK, Absent, Stretched

INITIAL_LATENCY = 8  # number of that setting in SoundTouch.h; in frames
_NAMES = ("libSoundTouchDll.so.1", "libSoundTouchDll.so", "libSoundTouchDll.dylib")


def _load() -> ctypes.CDLL:
    for name in _NAMES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.soundtouch_createInstance.restype = ctypes.c_void_p
        return library
    raise Absent("SoundTouch is not installed (on Debian: apt install libsoundtouch-dev)")


class SoundTouch:
    """SoundTouch as a DJ program uses it: default settings, tempo changed."""

    name = "SoundTouch"

    def check(self) -> None:
        """Raise `Absent` without the library."""
        _load()

    def stretch(self, samples: np.ndarray, tempo: float, sample_rate: int) -> Stretched:
        """See `Stretcher.stretch`."""
        library = _load()
        channels = samples.shape[1]
        handle = ctypes.c_void_p(library.soundtouch_createInstance())
        library.soundtouch_setSampleRate(handle, sample_rate)
        library.soundtouch_setChannels(handle, channels)
        library.soundtouch_setTempo(handle, ctypes.c_float(tempo))
        latency = library.soundtouch_getSetting(handle, INITIAL_LATENCY)
        buffer = np.zeros((8 * BLOCK, channels), np.float32)
        parts = []
        samples = np.ascontiguousarray(samples, np.float32)
        begin = time.process_time()
        for at in range(0, len(samples) + BLOCK, BLOCK):
            block = samples[at : at + BLOCK]
            if len(block):
                library.soundtouch_putSamples(
                    handle, ctypes.c_void_p(block.ctypes.data), len(block)
                )
            else:
                library.soundtouch_flush(handle)
            while True:
                got = library.soundtouch_receiveSamples(
                    handle, ctypes.c_void_p(buffer.ctypes.data), len(buffer)
                )
                if got == 0:
                    break
                parts.append(buffer[:got].copy())
        used = time.process_time() - begin
        library.soundtouch_destroyInstance(handle)
        return Stretched(np.concatenate(parts), 1000.0 * latency / sample_rate, used)
