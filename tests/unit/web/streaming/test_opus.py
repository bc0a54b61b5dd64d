"""Decoded Opus: content and frame numbers."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import pytest

from crowdstream.web.streaming.encoding import HEAD, PACKET, RATE, Chunk, Encoder

BITS = 128_000
SECONDS = 2.0


def sweep(seconds: np.ndarray) -> np.ndarray:
    """A sweep from 200 Hz to 4 kHz: every position in it is unique."""
    phase = 2 * np.pi * (200.0 * seconds + 0.5 * 3800.0 / SECONDS * seconds**2)
    sound: np.ndarray = 0.5 * np.sin(phase)
    return sound


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
def test_each_packet_decodes_to_the_frames_that_it_names(rate: int) -> None:
    encoder = Encoder(rate, BITS)
    decoder: Any = av.CodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout = RATE, "stereo"
    size = rate // 50
    checked = 0
    for start in range(0, int(SECONDS * rate), size):
        samples = sweep(np.arange(start, start + size) / rate)
        stereo = np.stack([samples, 0.5 * samples], 1).astype(np.float32)
        data = encoder.encode(Chunk(stereo, start, rate, 5.0 + start / rate))
        if data is None:
            continue
        frame, at = HEAD.unpack_from(data)[-2:]
        [heard] = decoder.decode(av.Packet(data[HEAD.size :]))
        left = heard.to_ndarray().reshape(-1, 2)[:, 0].astype(float)
        if heard.format.name == "s16":
            left /= 32768.0
        assert len(left) == PACKET
        assert at == pytest.approx(5.0 + frame / rate, abs=1e-3)
        if frame < rate // 10:  # the codec settles first
            continue
        meant = sweep(frame / rate + np.arange(PACKET) / RATE)
        # Same wave, same position: at 4 kHz an offset of one frame would leave half of it.
        left_over = float(np.std(left - meant) / np.std(meant))
        assert left_over < 0.25, frame
        checked += 1
    assert checked > 0.8 * SECONDS * 50
