"""Breaks in a recording are found, and what is faded is not one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.long_night import heard
from benchmarks.long_night.heard import Break

RATE = 44100


def tone(seconds: float = 3.0) -> np.ndarray:
    """A stereo tone of 441 Hz at -12 dB."""
    wave = 0.25 * np.sin(2 * np.pi * 441 * np.arange(round(seconds * RATE)) / RATE + 0.3)
    return np.repeat(wave[:, None], 2, 1).astype(np.float32)


@pytest.mark.parametrize("chunk", [1 << 20, 1000, 64])
def test_a_break_is_found_wherever_chunks_end(
    monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(heard, "CHUNK_FRAMES", chunk)
    samples = tone()
    assert list(heard.breaks(samples, RATE)) == []
    samples[20010:20266] = 0.0
    samples[63990:64050] = 0.0
    assert list(heard.breaks(samples, RATE)) == [Break(20010, 256), Break(63990, 60)]


def test_a_recording_that_falls_silent_is_a_break() -> None:
    samples = tone()
    samples[100_010:] = 0.0
    assert list(heard.breaks(samples, RATE)) == [Break(100_010, len(samples) - 100_010)]


def test_faded_stops_zero_crossings_and_one_silent_channel_are_no_breaks() -> None:
    samples = tone()
    fade = np.linspace(1.0, 0.0, 200, dtype=np.float32)[:, None]
    samples[30_000:30_200] *= fade
    samples[30_200:40_000] = 0.0
    samples[40_000:40_200] *= fade[::-1]
    samples[50_000:50_010] = 0.0  # shorter than a millisecond
    samples[60_000:70_000, 1] = 0.0
    assert list(heard.breaks(samples, RATE)) == []


def test_silence_from_the_beginning_is_no_break(tmp_path: Path) -> None:
    samples = np.concatenate([np.zeros((5000, 2), np.float32), tone()])
    file = tmp_path / "recording.f32"
    file.write_bytes(samples.tobytes() + b"odd")
    opened = heard.open_recording(file, 2)
    assert opened.shape == samples.shape
    assert list(heard.breaks(opened, RATE)) == []


def test_breaks_are_reconciled_with_the_ledger_and_the_kills() -> None:
    found = [{"at": 10.0, "ms": 5.0}, {"at": 50.0, "ms": 20.0}, {"at": 90.0, "ms": 3.0}]
    assert heard.unexplained(found, [9.2], [(50.5, 53.0)]) == [found[2]]
    assert heard.unexplained(found, [], []) == found
