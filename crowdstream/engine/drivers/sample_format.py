"""Output formats: float32, 32, 24 or 16 bits, and any number of channels.

The engine renders two channels of float32, or four with the cue bus. `OutputFormat.pack` converts a
block to the device's bytes in preallocated buffers. In 16 bits, samples between two steps get
triangular dither (TPDF, one step to either side); with rounding alone, the end of a fade would be
distorted. Samples exactly on a step are unchanged, so silence remains digital silence.
"""

from __future__ import annotations

from typing import Any

import numpy as np

FLOAT32, INT32, INT24, INT16 = "float32", "int32", "int24", "int16"
FORMATS = (FLOAT32, INT32, INT24, INT16)
"""In order of preference."""
PORTAUDIO = {FLOAT32: "paFloat32", INT32: "paInt32", INT24: "paInt24", INT16: "paInt16"}
"""PortAudio's constants."""
CODES = {"paFloat32": 1, "paInt32": 2, "paInt24": 4, "paInt16": 8}
BYTES = {FLOAT32: 4, INT32: 4, INT24: 3, INT16: 2}
TEXTS = {FLOAT32: "32-bit float", INT32: "32 bits", INT24: "24 bits", INT16: "16 bits"}
# Full scale. The engine's samples have 24 significant bits; for 32 bits they are shifted.
_SCALES = {INT32: 2.0**23, INT24: 2.0**23, INT16: 2.0**15}
DITHER_FRAMES = 1 << 15  # 0.7 s: at its level the repetition is inaudible


class OutputFormat:
    """One format and number of channels, for blocks of at most `most` frames.

    One channel plays (L+R)/2. Two channels are left and right. With more, the cue bus (from a block
    of four channels) follows on 3 and 4, and the rest is silent.
    """

    def __init__(self, form: str, channels: int, most: int) -> None:
        self.form = form
        self.channels = channels
        self._most = most
        self._mixed = np.zeros((most, channels), np.float32)
        self._scaled = np.zeros((most, channels), np.float64)
        self._rounded = np.zeros((most, channels), np.float64)
        self._between = np.zeros((most, channels), bool)
        self._whole = np.zeros((most, channels), "<i4")
        self._short = np.zeros((most, channels), "<i2")
        self._packed = np.zeros((most, 3 * channels), np.uint8)
        self._dither = _triangular(DITHER_FRAMES + most, channels) if form == INT16 else None
        self._at = 0

    def pack(self, block: np.ndarray) -> Any:
        """Convert a float32 block `(frames, 2 or 4)` for the device; valid until the next call."""
        frames, given = block.shape
        if frames > self._most:  # no device requests so many; fewer frames would end its stream
            return bytes(frames * self.channels * BYTES[self.form])
        mixed = self._map(block, frames, given)
        return mixed if self.form == FLOAT32 else self._integers(mixed, frames)

    def _map(self, block: np.ndarray, frames: int, given: int) -> np.ndarray:
        if self.channels == given:
            return block
        mixed = self._mixed[:frames]
        if self.channels == 1:
            np.add(block[:, :1], block[:, 1:2], out=mixed)
            np.multiply(mixed, np.float32(0.5), out=mixed)
        else:
            kept = min(given, self.channels)
            mixed[:, :kept] = block[:, :kept]
        return mixed

    def _integers(self, mixed: np.ndarray, frames: int) -> np.ndarray:
        scaled, rounded = self._scaled[:frames], self._rounded[:frames]
        scale = _SCALES[self.form]
        np.multiply(mixed, scale, out=scaled, dtype=np.float64)
        np.rint(scaled, out=rounded)
        if self._dither is not None:
            between = self._between[:frames]
            np.not_equal(rounded, scaled, out=between)
            noise = self._dither[self._at : self._at + frames]
            self._at = (self._at + frames) % DITHER_FRAMES
            np.add(scaled, noise, out=scaled, where=between)
            np.rint(scaled, out=rounded)
        np.clip(rounded, -scale, scale - 1.0, out=rounded)
        if self.form == INT16:
            short = self._short[:frames]
            np.copyto(short, rounded, casting="unsafe")
            return short
        if self.form == INT32:
            np.multiply(rounded, 256.0, out=rounded)
        whole = self._whole[:frames]
        np.copyto(whole, rounded, casting="unsafe")
        if self.form == INT32:
            return whole
        packed = self._packed[:frames]
        shape = (frames, self.channels)
        packed.reshape(*shape, 3)[:] = whole.view(np.uint8).reshape(*shape, 4)[:, :, :3]
        return packed


def _triangular(frames: int, channels: int) -> np.ndarray:
    dice = np.random.default_rng(1)
    shape = (DITHER_FRAMES, channels)
    noise = dice.random(shape) - dice.random(shape)
    repeated: np.ndarray = np.resize(noise, (frames, channels))
    return repeated
