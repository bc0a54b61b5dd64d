"""Beats at a frame: those of the clock, and those of the deck that leads the mix.

Everything is read from the desk; no other process takes part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import DECKS
from crowdstream.desk.opcodes import CURVE_ADDITIVE, CURVE_CUT, CURVE_POWER
from crowdstream.desk.ramps import (
    RAMP_CROSSFADER,
    RAMP_CURVE,
    RAMP_LEFT,
    RAMP_RIGHT,
    deck_level_ramp,
)
from crowdstream.desk.snapshot import DeskSnapshot, read_snapshot

CUT_WIDTH = 0.04  # as in engine/mixer/fader.py
# A deck takes over when it is this many times louder: in the middle of a crossfade nothing flaps.
TAKEOVER_RATIO = 1.25
MIN_GAIN = 1e-3  # -60 dB: a softer deck leads nothing
CLOCK = -1  # in place of a deck: the clock itself


@dataclass(frozen=True)
class Beat:
    """The beat at a frame.

    `deck` leads the mix: 0 to 3, or `CLOCK` if no deck with a beat grid is audible. `voice` is that
    deck's voice (-1: none) and `second` its position in the file. `playing`: any voice plays.
    """

    beat: float
    bpm: float
    deck: int
    voice: int
    second: float
    playing: bool


class BeatReader:
    """Reads the beat at frames near the audible one. For one thread per process."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._leader = CLOCK

    def at(self, frame: float) -> Beat:
        """Return the beat at a frame, which may lie up to a few seconds ahead.

        Positions are extrapolated at the present speeds; an active loop is followed. A jump, a
        start or a change of tempo that is still to come is not known.
        """
        moment = read_snapshot(self._desk)
        voices = self._deck_voices(moment)
        self._leader = self._choose(voices)
        ahead = frame - moment.frame
        if self._leader == CLOCK:
            beat = moment.beat + moment.bpm / 60.0 * ahead / self._desk.sample_rate
            return Beat(beat, moment.bpm, CLOCK, -1, 0.0, any(moment.playing))
        voice = voices[self._leader][1]
        speed = moment.speeds[voice]
        place = self._place(voice, moment.positions[voice] + speed * ahead)
        beat, per_frame = grid_beat(self._desk.grids[int(self._desk.voices[voice]["grid"])], place)
        rate = self._desk.sample_rate
        bpm = 60.0 * rate * per_frame * abs(speed)
        return Beat(beat, bpm, self._leader, voice, place / rate, True)

    def _deck_voices(self, moment: DeskSnapshot) -> dict[int, tuple[float, int]]:
        # Gain and voice of each deck that plays a track with a grid; of two voices, the newer one.
        gains = deck_gains(self._desk)
        found: dict[int, tuple[float, int]] = {}
        serials: dict[int, int] = {}
        for voice, playing in enumerate(moment.playing):
            one = self._desk.voices[voice]
            deck, grid, serial = int(one["deck"]), int(one["grid"]), int(one["serial"])
            if not playing or not 0 <= deck < DECKS or grid < 0 or moment.speeds[voice] == 0.0:
                continue
            if int(self._desk.grids[grid]["count"]) < 2 or serial < serials.get(deck, serial):
                continue
            found[deck], serials[deck] = (gains[deck], voice), serial
        return {deck: one for deck, one in found.items() if one[0] >= MIN_GAIN}

    def _choose(self, voices: dict[int, tuple[float, int]]) -> int:
        if not voices:
            return CLOCK
        loudest = max(voices, key=lambda deck: voices[deck][0])
        known = voices.get(self._leader)
        if known is not None and voices[loudest][0] < TAKEOVER_RATIO * known[0]:
            return self._leader
        return loudest

    def _place(self, voice: int, place: float) -> float:
        # Follow the voice's loop, which a position ahead may have left.
        one = self._desk.voices[voice]
        begin, end = int(one["loop_in"]), int(one["loop_out"])
        if not one["loop"] or end <= begin:
            return place
        ahead = int(one["direction"]) > 0
        inside = begin <= int(one["position"]) < end
        if inside and ((ahead and place >= end) or (not ahead and place < begin)):
            return begin + (place - begin) % (end - begin)
        return place


def deck_gains(desk: Desk) -> list[float]:
    """Gain of each deck in the mix: level times crossfader, as in `engine/mixer/fader.py`."""
    values = desk.ramps["value"]
    place = min(max(float(values[RAMP_CROSSFADER]), 0.0), 1.0)
    weights = [float(values[RAMP_CURVE + curve]) for curve in range(3)]
    left, right = _side_gain(1.0 - place, weights), _side_gain(place, weights)
    gains = []
    for deck in range(DECKS):
        on_left, on_right = float(values[RAMP_LEFT + deck]), float(values[RAMP_RIGHT + deck])
        share = on_left * left + on_right * right + 1.0 - on_left - on_right
        gains.append(float(values[deck_level_ramp(deck)]) * share)
    return gains


def _side_gain(open_by: float, weights: list[float]) -> float:
    return (
        weights[CURVE_ADDITIVE] * min(1.0, 2.0 * open_by)
        + weights[CURVE_POWER] * math.sin(0.5 * math.pi * open_by)
        + weights[CURVE_CUT] * min(1.0, open_by / CUT_WIDTH)
    )


def grid_beat(grid: Any, place: float) -> tuple[float, float]:
    """Return the beat of a grid at a file frame, and the beats per file frame there.

    `grid` is a record of `desk.grids` with at least two pairs.
    """
    count = int(grid["count"])
    frames, beats = grid["frames"][:count], grid["beats"][:count]
    left = min(max(int(frames.searchsorted(place, "right")) - 1, 0), count - 2)
    slope = float(beats[left + 1] - beats[left]) / float(frames[left + 1] - frames[left])
    return float(beats[left]) + (place - float(frames[left])) * slope, slope
