"""Frames of beats, and the order of commands."""

from __future__ import annotations

import math

import pytest

from crowdstream.control.clock.clock import BeatClock
from crowdstream.offline.cues import Cue, Moment
from crowdstream.offline.timeline import NEVER, Timeline


def test_a_beat_is_at_the_first_frame_that_reaches_it() -> None:
    line = Timeline([], BeatClock(44100.0, 97.3, 4), 0)
    for beat in (0.5, 1.0, 3.3, 64.0, 1000.0):
        assert line.frame(Moment(beat, True), 0) == math.ceil(beat * 60 / 97.3 * 44100 - 1e-6)


def test_a_past_beat_is_due_now() -> None:
    line = Timeline([], BeatClock(44100.0, 120.0, 4), 0)
    assert line.frame(Moment(3.0, True), 500_000) == 500_000


def test_a_tempo_change_moves_the_beats() -> None:
    clock = BeatClock(44100.0, 120.0, 4)
    line = Timeline([], clock, 0)
    assert line.frame(Moment(8.0, True), 0) == 4 * 44100
    clock.set_tempo(60.0, 2 * 44100, 0, frames=1)
    assert line.frame(Moment(8.0, True), 0) == pytest.approx(6 * 44100, abs=1)


def cue(name: str, value: float, beats: bool = False) -> Cue:
    return Cue(Moment(value, beats), name, (), "")


def test_seconds_and_beats_are_ordered_by_frame() -> None:
    clock = BeatClock(1000.0, 60.0, 4)
    cues = [cue("c", 3), cue("b", 2, True), cue("a", 1), cue("d", 3, True), cue("e", 3)]
    line = Timeline(cues, clock, 0)
    assert line.last_frame(0) == 3000
    order = []
    now = 0
    while (now := line.next_frame(now)) != NEVER:
        while found := line.take(now):
            order.append((now, found.address))
    assert order == [(1000, "a"), (2000, "b"), (3000, "c"), (3000, "d"), (3000, "e")]
    assert line.last_frame(7) == 7
