"""From samples to buckets: peaks and energies of three bands, encoded as in `peak_file`."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from crowdstream.web.waveforms.peak_file import BUCKET_BYTES, DECIBELS_PER_STEP, FACTOR, Shape

LOW_HZ = 200.0  # below: kick and bass
HIGH_HZ = 2500.0  # above: hats, consonants, air
CHUNK = 32768  # frames analysed together: fits the cache of a small processor

Buckets = npt.NDArray[np.uint8]  # shape (count, 4)
Energies = npt.NDArray[Any]  # mean squares, shape (count, 3)

_SINE = 0.5  # mean square of a full-scale sine
_LEAST = _SINE * 10 ** (-25.6 * DECIBELS_PER_STEP)

ENERGY = np.where(
    np.arange(256) > 0, _SINE * 10 ** ((np.arange(256) - 255) * DECIBELS_PER_STEP / 10), 0.0
).astype(np.float32)
"""Mean square of each value of a band's byte, shape (256,)."""


def encode(energies: Energies) -> Buckets:
    """Encode mean squares of any shape as bytes."""
    steps = np.log10(np.maximum(energies, _LEAST) / _SINE)
    steps *= 10.0 / DECIBELS_PER_STEP
    steps += 255.5
    np.clip(steps, 0.0, 255.0, out=steps)
    return steps.astype(np.uint8)


def merged(buckets: Buckets, count: int) -> Buckets:
    """Merge each `count` buckets into one: the largest peak and the mean energies."""
    groups = buckets.reshape(-1, count, BUCKET_BYTES)
    out = np.empty((len(groups), BUCKET_BYTES), np.uint8)
    out[:, 0] = groups[:, :, 0].max(axis=1)
    out[:, 1:] = encode(ENERGY[groups[:, :, 1:]].mean(axis=1))
    return out


def coarser(buckets: Buckets) -> Buckets:
    """The next coarser level."""
    whole = np.zeros((-(-len(buckets) // FACTOR) * FACTOR, BUCKET_BYTES), np.uint8)
    whole[: len(buckets)] = buckets
    return merged(whole, FACTOR)


class Analyser:
    """Computes buckets of level 0 from samples that the caller writes into `room`.

    The total energy is that of the bucket's own samples of all channels. Its distribution over the
    bands comes from a spectrum with a Hann window around the bucket. If the window is longer than a
    bucket, several buckets share a spectrum.
    """

    def __init__(self, shape: Shape, channels: int, dtype: Literal["int16", "float32"]) -> None:
        """`channels`: 1 or 2. `dtype`: of the samples that the reader delivers."""
        self._bucket, self._window, self._channels = shape.bucket, shape.window, channels
        self._whole = max(shape.bucket, shape.window)
        self._chunk = max(CHUNK, self._whole)
        self._sixteen = dtype == "int16"
        self._raw = np.zeros((self._chunk, channels), dtype)
        self._floats = np.zeros((self._chunk, channels), np.float32)
        self._windowed = np.zeros((self._chunk // self._window, self._window * channels), "f4")
        # No value is 0, so that a click at the border of two windows is not missed.
        hann = np.hanning(self._window + 2)[1:-1].astype(np.float32)
        self._hann = np.repeat(hann, channels)
        self._edges = [
            min(self._window // 2, int(edge * self._window / shape.rate) + 1)
            for edge in (LOW_HZ, HIGH_HZ)
        ]

    @property
    def chunk(self) -> int:
        """Frames that fit into the buffer."""
        return self._chunk

    def room(self, count: int) -> npt.NDArray[Any]:
        """The buffer for the next `count` frames, shape (count, channels)."""
        return self._raw[:count]

    def buckets(self, count: int) -> Buckets:
        """Compute the buckets of the `count` frames that were written into `room`."""
        wanted = -(-count // self._bucket)
        span = -(-count // self._whole) * self._whole
        raw, floats = self._raw[:span], self._floats[:span]
        raw[count:] = 0
        if self._sixteen:
            np.multiply(raw, np.float32(1 / 32768), out=floats, casting="unsafe")
        else:
            floats[:] = raw
        out = np.empty((span // self._bucket, BUCKET_BYTES), np.uint8)
        out[:, 0] = self._peaks(raw.reshape(-1, self._bucket * self._channels))
        out[:, 1:] = encode(self._bands(floats))
        return out[:wanted]

    def _peaks(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        high, low = rows.max(axis=1), rows.min(axis=1)
        peaks: npt.NDArray[Any]
        if self._sixteen:
            sixteenths = np.maximum(high.astype(np.int32), -low.astype(np.int32))
            peaks = (sixteenths * 255 + 32767) >> 15
        else:
            peaks = np.ceil(np.maximum(high, -low) * np.float64(255))
        peaks = np.minimum(peaks, 255)
        return peaks

    def _bands(self, floats: npt.NDArray[np.float32]) -> Energies:
        step = min(self._bucket, self._window)
        rows = floats.reshape(-1, step * self._channels)
        energy = np.einsum("ij,ij->i", rows, rows) / rows.shape[1]
        shares = self._shares(floats)
        if self._bucket < self._window:
            shares = np.repeat(shares, self._window // self._bucket, axis=0)
        bands: Energies = shares * energy[:, None]
        if self._bucket > self._window:
            bands = bands.reshape(-1, self._bucket // self._window, 3).mean(axis=1)
        return bands

    def _shares(self, floats: npt.NDArray[np.float32]) -> Energies:
        # Each band's share of the energy, shape (windows, 3).
        rows = floats.reshape(-1, self._window * self._channels)
        windowed = np.multiply(rows, self._hann, out=self._windowed[: len(rows)])
        low, high = self._edges
        window = self._window
        if self._channels == 1:
            lines = np.fft.rfft(windowed, axis=1)
            parts = [(0, low)], [(low, high)], [(high, window // 2 + 1)]
        else:
            # Left is the real and right the imaginary part: the powers at a frequency and at its
            # negative add up to those of both channels.
            lines = np.fft.fft(windowed.view(np.complex64), axis=1)
            parts = (
                [(0, low), (window - low + 1, window)],
                [(low, high), (window - high + 1, window - low + 1)],
                [(high, window - high + 1)],
            )
        numbers = lines.view(lines.real.dtype)
        shares = np.zeros((len(rows), 3), np.float32)
        for band, spans in enumerate(parts):
            for begin, end in spans:
                some = numbers[:, 2 * begin : 2 * end]
                shares[:, band] += np.einsum("ij,ij->i", some, some)
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), np.float32(1e-30))
        return shares
