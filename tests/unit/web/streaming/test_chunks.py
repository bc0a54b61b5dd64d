"""Encoded chunks: dither, mu-law, headers and Opus packets."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from crowdstream.web.streaming import encoding
from crowdstream.web.streaming.encoding import (
    FORM_MULAW,
    FORM_OPUS,
    FORM_PCM16,
    HEAD,
    Chunk,
    Dither,
    mulaw,
)


def _chunk(samples: np.ndarray, frame: int = 1000, rate: int = 44100) -> Chunk:
    return Chunk(samples.astype(np.float32), frame, rate, 5.0)


def test_dither_makes_the_error_independent_of_the_signal() -> None:
    # Without dither a tone of a third of a step would become silence or a square wave.
    angle = 2 * np.pi * 50 * np.arange(44100) / 44100
    sine = (np.sin(angle) / 3 / 32768).astype(np.float32)
    pcm = Dither(1).pcm16(sine).astype(float)
    found = 2 * np.mean(pcm * np.sin(angle))
    assert found == pytest.approx(1 / 3, abs=0.02)
    error = pcm - 32768.0 * sine
    # Error power of triangular noise and rounding: a quarter of a step squared.
    assert np.mean(error**2) == pytest.approx(0.25, rel=0.03)
    assert abs(np.mean(error)) < 0.02


def test_samples_beyond_full_scale_are_clipped() -> None:
    pcm = Dither(1).pcm16(np.array([[2.0, -2.0], [1.0, -1.0]], np.float32))
    assert pcm.dtype == np.dtype("<i2")
    assert pcm[:, 0].min() > 32760 and pcm[:, 1].max() < -32760


def test_mulaw_matches_g711() -> None:
    # ITU-T G.711, table 2: the code words of some 14-bit values.
    values = np.array([8031, 4191, 2079, 1023, 495, 231, 99, 33, 0, -99, -8031]) * 4 / 32768
    expected = [0x80, 0x8F, 0x9F, 0xAF, 0xBF, 0xCF, 0xDF, 0xEF, 0xFF, 0x5F, 0x00]
    assert mulaw(values.astype(np.float32)).tolist() == expected
    # The step size is proportional to the value.
    loud = np.linspace(-0.99, 0.99, 5001).astype(np.float32)
    bits = ~mulaw(loud).astype(int) & 0xFF
    size = (((bits & 15) * 2 + 33) << (bits >> 4 & 7)) - 33
    back = np.where(bits & 0x80, -size, size) * 4 / 32768
    assert np.abs(back - loud).max() <= 0.017


def test_a_header_describes_its_chunk_and_each_format_is_encoded_once() -> None:
    encoders = encoding.Encoders()
    stereo = np.tile([0.5, -0.25], (882, 1))
    chunk = _chunk(stereo)
    sizes = {"pcm16": 4 * 882, "mulaw": 2 * 882, "mulaw-mono": 882}
    for name, (form, channels) in {
        "pcm16": (FORM_PCM16, 2), "mulaw": (FORM_MULAW, 2), "mulaw-mono": (FORM_MULAW, 1),
    }.items():  # fmt: skip
        data = encoders.encode(name, chunk)
        assert data is not None
        assert encoders.encode(name, chunk) is data
        assert HEAD.unpack_from(data) == (form, channels, 882, 44100, 44100, 1000, 5.0)
        assert len(data) == HEAD.size + sizes[name]
    mono = encoders.encode("mulaw-mono", chunk)
    middle = mulaw(np.full(1, 0.125, np.float32)).tolist()
    assert mono is not None and set(mono[HEAD.size :]) == set(middle)


class FakeCodec:
    """Returns one packet per frame, like libopus."""

    def encode(self, frame: Any) -> list[bytes]:
        assert frame.samples.shape == (1, 2 * 960)
        return [np.float32(frame.samples[0, 0]).tobytes()]


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
def test_opus_packets_carry_their_frame_numbers(monkeypatch: pytest.MonkeyPatch, rate: int) -> None:
    frames = SimpleNamespace(from_ndarray=lambda samples, *_: SimpleNamespace(samples=samples))
    codec = SimpleNamespace(create=lambda *_: FakeCodec())
    fake = SimpleNamespace(CodecContext=codec, AudioFrame=frames)
    monkeypatch.setitem(sys.modules, "av", fake)
    encoders = encoding.Encoders()
    size = rate // 50
    # A ramp whose values are frame numbers: a packet's first sample gives its position.
    first = []
    for number in range(30):
        start = size * number + (5000 if number >= 15 else 0)
        ramp = np.repeat(np.arange(start, start + size)[:, None] * 1e-6, 2, axis=1)
        data = encoders.encode("opus", _chunk(ramp, start, rate))
        if data is not None:
            form, channels, count, own, stream, frame, at = HEAD.unpack_from(data)
            assert (form, channels, count, own, stream) == (FORM_OPUS, 2, 960, 48000, rate)
            assert at == pytest.approx(5.0 + (frame - start) / rate)
            value = float(np.frombuffer(data[HEAD.size :], np.float32)[0]) * 1e6
            first.append((frame, value))
    # Decoded audio lags by 312 frames at 48 kHz, so a packet's own samples are later by that.
    assert len(first) >= 27
    behind = [value - frame - 312 * rate / 48000 for frame, value in first]
    assert np.abs(behind[2:13] + behind[-10:]).max() < 2.0
    steps = np.diff([frame for frame, _ in first])
    assert np.count_nonzero(steps != size) == 1  # the gap, where the encoder was reset
