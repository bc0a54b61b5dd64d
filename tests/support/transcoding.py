"""Create files that have to be transcoded, and transcode without a separate process."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from crowdstream.audiofile import transcode
from crowdstream.audiofile.transcoder import serve

RATE = 44100


class InProcessTranscoder:
    """Stand-in for the transcoding process that does all its work when it is created."""

    stdin = None

    def __init__(self, request: str, _fd: int) -> None:
        readable, writable = os.pipe()
        self.stdout: io.FileIO = os.fdopen(readable, "rb", buffering=0)
        with os.fdopen(writable, "w", encoding="utf-8") as out:
            serve(request, lambda line: print(json.dumps(line), file=out))

    def kill(self) -> None:
        """Do nothing: the work is done."""

    def wait(self) -> int:
        """Return the exit status."""
        return 0


def transcode_here(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Path:
    """Transcode in this process; return the transcoding folder in the cache `cache`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(transcode, "launch", InProcessTranscoder)
    return transcode.default_cache()


def noise(frames: int, seed: int = 1) -> npt.NDArray[np.float32]:
    """Return noise that survives encoding at 256 kbit/s: (frames, 2), peak 0.5."""
    random = np.random.default_rng(seed).standard_normal((frames + 63, 2))
    smooth = np.stack([np.convolve(one, np.hanning(64), "valid") for one in random.T], axis=1)
    return np.asarray(0.5 * smooth / np.abs(smooth).max(), np.float32)


def encode(
    path: Path, codec: str, samples: npt.NDArray[Any], form: str = "fltp", rate: int = RATE,
    block: int = 1024,
) -> Path:  # fmt: skip
    """Write a file with one audio stream.

    samples: (frames, channels) in the sample format `form`.
    """
    with av.open(str(path), "w") as container:
        layout = "stereo" if samples.shape[1] == 2 else "mono"
        out: Any = container.add_stream(codec, rate=rate, layout=layout, format=form)
        if codec in ("aac", "wmav2"):
            out.bit_rate = 256_000
        for at in range(0, len(samples), block):
            part = samples[at : at + block]
            data = part.T if form.endswith("p") else part.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(data), format=form, layout=layout
            )
            frame.sample_rate, frame.pts = rate, at
            container.mux(out.encode(frame))
        container.mux(out.encode(None))
    return path


def lag(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> int:
    """Return by how many frames `one` lags behind `other`, according to their cross-correlation."""
    size = 1 << (len(one) + len(other)).bit_length()
    product = np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size))
    at = int(np.argmax(np.fft.irfft(product)))
    return at if at < size // 2 else at - size
