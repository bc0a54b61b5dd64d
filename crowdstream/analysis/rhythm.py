"""The beat grid of a track, from its onsets: tempo, beats, downbeat, and how sure each is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crowdstream.analysis import attacks, grid, meter, moving, tempo, weights
from crowdstream.analysis.features import ATTACK_RATE, FRAME_RATE, Features
from crowdstream.analysis.grid import Beats
from crowdstream.analysis.tempo import Candidate, Floats

LEAST_REGULAR = 0.1  # repetition below which there is no beat, of a minute of sound
FEW_SECONDS = 15.0  # shorter sounds repeat themselves by chance
LOOP_SECONDS = 20.0  # up to which a file may be a loop, whole bars long
LOOP_PULL = 0.003  # share by which a loop's tempo may be off what is measured
WHOLE_DRIFT = 0.004  # s: a tempo this close to a whole number at the track's end is that number
BEFORE_SOUND = 0.06  # s: the first downbeat may lie so far before the first sound
CUT, MOVING_CUT = 0.004, 0.02  # s: and so far before the file
HEARD = 1e-4  # of the loudest power: the first sound


@dataclass(frozen=True)
class Rhythm:
    """`beats`: beat 0 is the first downbeat. Confidences from 0 to 1."""

    beats: Beats
    bpm: float
    steady: bool
    confidence: float
    downbeat: float


def find_rhythm(features: Features, lines: Floats) -> Rhythm | None:
    """The rhythm of a track, None where nothing repeats. `lines`: its `tempo.pulses`."""
    found = tempo.candidates(lines)
    if not found:
        return None
    regular = tempo.regularity(lines, found)
    needed = LEAST_REGULAR * (1 + FEW_SECONDS / max(features.seconds, 1.0)) ** 0.5
    if regular < needed:
        return None
    chances = weights.OCTAVE.chances(np.array([candidate.traits for candidate in found]))
    best = int(np.argmax(chances))
    beats, steady = _rough(lines, found[best])
    beats = beats.shifted(meter.sixteenth_offset(lines, beats))
    phases = weights.BAR.chances(meter.bar_traits(features, lines, beats))
    beats = beats.shifted(int(np.argmax(phases)) / 4)
    if steady:
        beats = attacks.settle_steady(features.attacks, beats, features.seconds)
        beats = _whole_tempo(beats, features.seconds)
    else:
        beats = attacks.settle_moving(features.attacks, beats, features.seconds)
    beats = _from_first_downbeat(features, beats)
    sure = min(1.0, (regular - needed) / 0.2 + 0.3)
    return Rhythm(
        beats=beats,
        bpm=_bpm(beats, features.seconds),
        steady=steady,
        confidence=round(float(chances[best]) * sure, 3),
        downbeat=round(float(phases.max()), 3),
    )


def _rough(lines: Floats, candidate: Candidate) -> tuple[Beats, bool]:
    even = Beats.even(grid.steady_tempo(lines, candidate.hertz))
    together = grid.coherence(lines, even)
    if together >= grid.STEADY or len(lines) < 3 * moving.WINDOW * FRAME_RATE:
        return even, True
    followed = moving.moving_tempo(lines, candidate.hertz)
    if grid.coherence(lines, followed) < together + grid.GAIN:
        return even, True
    return followed, False


def _whole_tempo(beats: Beats, seconds: float) -> Beats:
    # A loop has whole bars; most tracks are made at a whole number of beats a minute.
    bpm = 60.0 / float(np.diff(beats.time(np.array([0.0, 1.0])))[0])
    count = seconds * bpm / 60
    bars = round(count / 4)
    goal = bpm
    if seconds <= LOOP_SECONDS and bars and abs(4 * bars / count - 1) < LOOP_PULL:
        goal = 240 * bars / seconds
    elif abs(round(bpm) / bpm - 1) * seconds < WHOLE_DRIFT:
        goal = float(round(bpm))
    if goal == bpm:
        return beats
    middle = float(np.round(beats.beat(np.array([seconds / 2]))[0]))
    centre = float(beats.time(np.array([middle]))[0])
    numbers = np.array([middle, middle + 1])
    return Beats(numbers, np.array([centre, centre + 60 / goal]))


def _from_first_downbeat(features: Features, beats: Beats) -> Beats:
    power = features.bands.sum(axis=1)
    level = features.attacks.sum(axis=1)
    heard = np.flatnonzero(level > HEARD * level.max(initial=0.0))
    begin = heard[0] / ATTACK_RATE if len(heard) and len(power) else 0.0
    first = float(beats.beat(np.array([max(0.0, begin - BEFORE_SOUND)]))[0])
    at = 4 * np.ceil(first / 4 - 1e-9)
    # Where the sound begins on a downbeat at the file's very beginning, that one counts. No beat
    # is before the file: a grid that moves begins there, an even one may be moved so little.
    before = float(beats.time(np.array([at - 4.0]))[0])
    moves = len(beats.numbers) > 2
    if begin - BEFORE_SOUND <= before and before > (-MOVING_CUT if moves else -CUT):
        at -= 4
    beats = beats.shifted(float(at))
    zero = float(beats.time(np.array([0.0]))[0])
    if zero >= 0:
        return beats
    if not moves:
        return Beats(beats.numbers, beats.times - zero)
    later = beats.numbers >= 1
    return Beats(np.append(0.0, beats.numbers[later]), np.append(0.0, beats.times[later]))


def _bpm(beats: Beats, seconds: float) -> float:
    whole = beats.whole(seconds)
    if len(whole) < 2:
        return 60.0 / float(np.diff(beats.time(np.array([0.0, 1.0])))[0])
    return 60.0 / float(np.median(np.diff(beats.time(whole))))
