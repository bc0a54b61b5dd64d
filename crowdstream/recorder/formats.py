"""Formats of recordings, and quantization with dither.

The engine's samples are float32. 24 bits represent them better than any converter can resolve, so
they are rounded to the nearest step. 16 bits do not: with plain rounding, the tail of a reverb
would end in distortion. Samples between two steps therefore get triangular dither (TPDF, one step
to either side: Lipshitz, Wannamaker and Vanderkooy, "Quantization and Dither", JAES 1992), which
turns that distortion into steady noise at -93 dBFS. Samples exactly on a step are written
unchanged: a 16-bit file played at gain 1 is recorded bit for bit, and silence stays silent. The
dither depends on the frame number alone, so that the same audio results in the same file, however
it is divided into blocks.
"""

from __future__ import annotations

from functools import cache
from pathlib import PurePath

import numpy as np

WAV16, WAV24, FLOAT, FLAC = "wav16", "wav24", "float", "flac"
FORMATS = (WAV16, WAV24, FLOAT, FLAC)
SAMPLE_BYTES = {WAV16: 2, WAV24: 3, FLOAT: 4}
EXTENSIONS = {WAV16: ".wav", WAV24: ".wav", FLOAT: ".wav", FLAC: ".flac"}
DEFAULTS = {"": WAV24, ".wav": WAV24, ".flac": FLAC}

DITHER_FRAMES = 1 << 17  # 3 s: at this level the repetition is inaudible


class FormatError(ValueError):
    """A format that does not match a file's name."""


def format_of(path: PurePath, chosen: str = "") -> str:
    """The format `chosen`, or the one for the file's extension. Raises `FormatError`."""
    extension = path.suffix.lower()
    if extension not in DEFAULTS:
        raise FormatError(f"recordings end in .wav or .flac, not in {path.suffix}")
    form = chosen or DEFAULTS[extension]
    if extension and EXTENSIONS[form] != extension:
        raise FormatError(f"a {form} recording ends in {EXTENSIONS[form]}, not in {path.suffix}")
    return form


@cache
def dither() -> np.ndarray:
    """Triangular noise between -1 and 1 step: float32 of shape `(DITHER_FRAMES, 2)`."""
    raw = np.random.PCG64(1).random_raw(2 * DITHER_FRAMES)
    low, high = raw & 0xFFFFFFFF, raw >> 32
    noise: np.ndarray = ((low.astype(np.float64) - high) / 2.0**32).astype(np.float32)
    return noise.reshape(DITHER_FRAMES, 2)


def _bounded(frames: np.ndarray) -> np.ndarray:
    # Clip at full scale; replace NaN by silence.
    bounded: np.ndarray = np.clip(np.nan_to_num(frames), np.float32(-1.0), np.float32(1.0))
    return bounded


def to_int16(frames: np.ndarray, at: int) -> np.ndarray:
    """Quantize float32 `(count, channels)` to int16; `at`: number of the first frame in the file.

    Samples between two steps are dithered.
    """
    scaled = _bounded(frames) * np.float32(32768.0)
    table = dither()
    places = np.arange(at, at + len(frames)) % DITHER_FRAMES
    channels = np.arange(frames.shape[1]) % 2
    near = np.rint(scaled + table[places[:, None], channels])
    steps = np.where(np.rint(scaled) == scaled, scaled, near)
    whole: np.ndarray = np.clip(steps, -32768, 32767).astype(np.int16)
    return whole


def to_int24(frames: np.ndarray) -> np.ndarray:
    """Quantize float32 samples to int32 in the 24-bit range, rounded to the nearest step."""
    scaled = np.rint(_bounded(frames) * np.float32(8388608.0))
    whole: np.ndarray = np.clip(scaled, -8388608, 8388607).astype(np.int32)
    return whole


def packed(frames: np.ndarray, form: str, at: int) -> bytes:
    """Encode float32 frames as the bytes of a WAV file's data; `at` as in `to_int16`."""
    if form == WAV16:
        return to_int16(frames, at).astype("<i2").tobytes()
    if form == WAV24:
        wide = to_int24(frames).astype("<i4")
        return wide.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    return frames.astype("<f4").tobytes()
