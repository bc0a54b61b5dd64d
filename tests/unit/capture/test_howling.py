"""Howling without music: loops that build up are found, whistles, voices and hum are not."""

from __future__ import annotations

import numpy as np
import pytest

from crowdstream.capture.feedback import STEP_SECONDS, FeedbackDetector
from crowdstream.capture.howling import NO_TONE, Tone
from tests.unit.capture.test_feedback import DEVICE_RATE, RATE, music, voice

BLOCK = 480
RADIUS = 0.999  # of the room's poles: its resonance is 15 Hz wide
LIMIT = 0.5


class Loop:
    """A microphone that hears the loudspeaker it is played on, and a detector.

    `gain`: of the whole loop at `hertz`; a narrow resonance, as rooms have. The output is limited.
    """

    def __init__(self, gain: float, hertz: float = 900.0, seconds: float = 0.03) -> None:
        self.detector = FeedbackDetector(RATE, DEVICE_RATE)
        self.rng = np.random.default_rng(5)
        self.open = True  # the input's strip
        self.limit = 1.0
        blocks = round(seconds * DEVICE_RATE / BLOCK)
        self._gain = gain
        # The resonance is at the frequency that returns in phase, near the one wanted.
        turns = 2.0 * np.pi * np.arange(hertz - 20.0, hertz + 20.0, 0.1) / DEVICE_RATE
        phases = [self._tune(turn) * np.exp(-1j * turn * blocks * BLOCK) for turn in turns]
        self._tune(float(turns[np.argmin(np.abs(np.angle(phases)))]))
        self._state = [0.0, 0.0]
        self._air = [np.zeros(BLOCK, np.float64) for _ in range(blocks)]
        self.events: list[tuple[str, Tone]] = []

    def _tune(self, turn: float) -> complex:
        # Set the room's resonance, whose gain is 1, and return its response there.
        self._poles = 2.0 * RADIUS * float(np.cos(turn)), -(RADIUS**2)
        at = np.exp(-1j * turn)
        bottom = 1.0 - self._poles[0] * at - self._poles[1] * at * at
        self._scale = float(abs(bottom))
        return complex(self._scale / bottom)

    def run(self, seconds: float, external: np.ndarray | None = None, music: float = 0.0) -> None:
        """Let time pass. `external`: what is sung or played, at the device's rate."""
        for number in range(round(seconds * DEVICE_RATE / BLOCK)):
            self.block(number, external, music)
            if number % round(STEP_SECONDS * DEVICE_RATE / BLOCK) == 0:
                event = self.detector.howling(1.0, self.limit)
                self.open = {"suspected": False, "refuted": True}.get(event[0], self.open)
                if event[0]:
                    self.events.append(event)

    def block(self, number: int, external: np.ndarray | None, music: float) -> None:
        """Capture, filter and play 10 ms."""
        captured = self._air.pop(0) + 1e-4 * self.rng.standard_normal(BLOCK)
        if external is not None:
            captured += external[number * BLOCK : (number + 1) * BLOCK]
        self.detector.add_captured(np.repeat(captured[:, None], 2, 1).astype(np.float32))
        out = captured if self.open else np.zeros(BLOCK)
        peak = float(np.abs(out).max())
        self.limit = min(1.0, LIMIT / peak) if peak else 1.0
        self._air.append(self._room(self.limit * out))
        frames = round(BLOCK * RATE / DEVICE_RATE)
        noise = music * self.rng.standard_normal((frames, 2))
        self.detector.add_music(noise.astype(np.float32))

    def _room(self, out: np.ndarray) -> np.ndarray:
        returned = np.empty(BLOCK)
        first, second = self._state
        for at, sample in enumerate(out.tolist()):
            first, second = (
                self._scale * sample + self._poles[0] * first + self._poles[1] * second, first
            )  # fmt: skip
            returned[at] = first
        self._state = [first, second]
        return self._gain * returned

    def kinds(self) -> list[str]:
        """The kinds of the events so far."""
        return [kind for kind, _tone in self.events]


def whistle(seconds: float, hertz: float = 1500.0, rise: float = 0.0) -> np.ndarray:
    """A pure tone, which grows by `rise` dB/s from -40 dB, up to -12 dB."""
    times = np.arange(round(seconds * DEVICE_RATE)) / DEVICE_RATE
    levels = np.minimum(-40.0 + rise * times, -12.0) if rise else np.full(len(times), -12.0)
    tone: np.ndarray = 10.0 ** (levels / 20.0) * np.sin(2.0 * np.pi * hertz * times)
    return tone


@pytest.mark.parametrize("gain", [1.1, 1.5, 4.0])
def test_a_loop_that_builds_up_is_muted_and_proved_by_its_end(gain: float) -> None:
    loop = Loop(gain)
    loop.run(12.0)
    assert loop.kinds() == ["suspected", "confirmed"]
    assert loop.events[0][1].hertz == pytest.approx(900.0, abs=40.0)
    assert not loop.open


def test_a_loop_that_does_not_build_up_is_left_alone() -> None:
    loop = Loop(0.7)
    loop.run(8.0)
    assert loop.kinds() == []


def test_a_whistle_is_refuted_at_once_and_then_left_alone() -> None:
    loop = Loop(0.0)
    loop.run(8.0, whistle(8.0, rise=12.0))
    assert loop.kinds() == ["suspected", "refuted"]
    assert loop.open
    loop.run(6.0, whistle(6.0, rise=12.0))
    assert loop.kinds() == ["suspected", "refuted"], "the same tone"


def test_steady_tones_voices_and_silence_are_not_suspected() -> None:
    for external in (whistle(6.0), 3.0 * whistle(6.0, 50.0), voice(6.0), None):
        loop = Loop(0.0)
        loop.run(6.0, external)
        assert loop.kinds() == []


def test_while_music_plays_the_comparison_with_it_decides() -> None:
    loop = Loop(0.0)
    loop.run(8.0, whistle(8.0, rise=12.0), music=0.05)
    assert loop.kinds() == []


def test_a_quiet_tone_does_no_harm() -> None:
    detector = FeedbackDetector(RATE, DEVICE_RATE)
    tone = whistle(2.0, rise=12.0)
    for begin in range(0, len(tone), 4800):
        block = np.repeat(tone[begin : begin + 4800, None], 2, 1).astype(np.float32)
        detector.add_captured(block)
        assert detector.howling(1e-3, 1.0) == ("", NO_TONE)
    assert detector.howling(1.0, 1.0)[0] == "suspected"


def test_music_from_outside_is_not_suspected() -> None:
    loop = Loop(0.0)
    loop.run(6.0, music(6.0, rate=DEVICE_RATE))
    assert loop.kinds() == []
