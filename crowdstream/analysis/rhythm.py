"""The beat grid of a track, from its onsets: tempo, beats, downbeat, and how sure each is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from crowdstream.analysis import (
    downbeat,
    grid,
    grid_checks,
    onsets,
    tempo,
    tempo_changes,
    variable_tempo,
    weights,
)
from crowdstream.analysis.features import ATTACK_RATE, FRAME_RATE, Features
from crowdstream.analysis.grid import Beats
from crowdstream.analysis.silences import find_silences
from crowdstream.analysis.tempo import Floats

MIN_REGULAR = 0.1  # repetition below which there is no beat, of a minute of sound
FEW_SECONDS = 15.0  # shorter sounds repeat themselves by chance
LOOP_SECONDS = 20.0  # up to which a file may be a loop, whole bars long
LOOP_DRIFT = 0.0016  # s at a loop's end: attacks measure its tempo so well
LOOP_TAIL = 0.06  # s by which a file may be longer than its bars: a tail, a codec's padding
LOOP_BEGINS = 6.0  # times as likely is a loop's beginning that of a bar as the sound says
LOOP_STEPS = (2, 4, 10)  # parts of a beat a minute at which loops are made, after whole numbers
WHOLE_DRIFT = 0.004  # s: a tempo this close to a whole number at the track's end is that number
BEFORE_SOUND = 0.06  # s: the first downbeat may lie so far before the first sound
CUT, MOVING_CUT = 0.004, 0.02  # s: and so far before the file
ABOUT = 0.2  # by which a grid of parts may keep to the onsets less than one that moves
NEAR_TAG = 0.02  # share by which a tag's tempo may be rounded, or off
SAID = 4.0  # times as likely is a tempo that a tag says, of two that the sound leaves open
PAUSE_SECONDS = 4.0  # of silence, after which the beat need not go on where it was
SAME_TEMPO = 0.001  # share by which parts of one tempo differ
DOUBTFUL = 0.4  # confidence of a grid that something speaks against, at most
HEARD = 1e-4  # of the loudest power: the first sound


@dataclass(frozen=True)
class Rhythm:
    """`beats`: beat 0 is the first downbeat. Confidences from 0 to 1.

    `doubt`: what speaks against this grid, in words; empty where nothing does.
    """

    beats: Beats
    bpm: float
    steady: bool
    confidence: float
    downbeat: float
    doubt: str = ""


def find_rhythm(features: Features, lines: Floats, said: float = 0.0) -> Rhythm | None:
    """The rhythm of a track, None where nothing repeats. `lines`: its `tempo.pulses`.

    `said`: beats a minute that its tags say, 0: none; of possible tempi that one is likelier.
    """
    found = _one_rhythm(features, lines, said=said)
    if found is None:
        return None
    kept = grid_checks.worst_stretch(lines, found.beats)
    if kept < grid_checks.FOLLOWED or not found.steady:
        # A grid that moves passes from one tempo to another; where both are steady, it need not.
        changed = _changing_rhythm(features, lines, found.steady)
        if changed is not None and grid_checks.worst_stretch(lines, changed.beats) > kept - ABOUT:
            return changed
    triple = grid_checks.triple_beat(lines, found.bpm / 60)
    if triple is not None:
        found = _one_rhythm(features, lines, triple) or found
        return _doubted(found, "its bars seem to have three beats, and are counted in fours")
    if kept < grid_checks.FOLLOWED:
        return _doubted(found, "parts of it do not keep to one tempo")
    return found


def _doubted(rhythm: Rhythm, doubt: str) -> Rhythm:
    return replace(rhythm, confidence=min(rhythm.confidence, DOUBTFUL), doubt=doubt)


def _changing_rhythm(features: Features, lines: Floats, any_part: bool) -> Rhythm | None:
    # Several tempi, one after the other; None where that is not what it is. `any_part`: also where
    # one of them moves.
    pauses = [end for begin, end in find_silences(features) if end - begin > PAUSE_SECONDS]
    inner = sorted({*tempo_changes.find_changes(lines), *pauses} - {features.seconds})
    edges = [0.0, *inner, features.seconds]
    parts: list[tempo_changes.Part] = []
    found: list[Rhythm] = []
    for begin, end in pairwise(edges):
        low = begin + tempo_changes.EDGE if begin else 0.0
        high = end - tempo_changes.EDGE if end < features.seconds else end
        cut = tempo_changes.part_of(features, low, high)
        own = tempo.pulses(cut.onsets)
        rhythm = _one_rhythm(cut, own)
        if rhythm is None:
            continue  # the part before goes on
        if not any_part and not _is_steady(own, rhythm):
            return None
        beats = Beats(rhythm.beats.numbers, rhythm.beats.times + low)
        parts.append(tempo_changes.Part(begin if parts else 0.0, beats))
        found.append(rhythm)
    if len(parts) < 2:
        return None
    beats = tempo_changes.joined(tempo_changes.refined(lines, parts))
    beats = _from_first_downbeat(features, beats)
    tempi = " to ".join(f"{rhythm.bpm:.4g}" for rhythm in found)
    whole = Rhythm(
        beats, _bpm(beats, features.seconds), False,
        min(rhythm.confidence for rhythm in found), min(rhythm.downbeat for rhythm in found),
    )  # fmt: skip
    low, high = min(rhythm.bpm for rhythm in found), max(rhythm.bpm for rhythm in found)
    if high / low - 1 < SAME_TEMPO:
        return whole  # it goes on at the same tempo, after a pause
    return _doubted(whole, f"its tempo changes from {tempi}")


def _is_steady(lines: Floats, rhythm: Rhythm) -> bool:
    # What is too short for a tempo that moves is not followed: it counts as steady unseen.
    return rhythm.steady and grid.coherence(lines, rhythm.beats) >= grid.STEADY


def _one_rhythm(
    features: Features, lines: Floats, hertz: float = 0.0, said: float = 0.0
) -> Rhythm | None:
    # One tempo, steady or moving. `hertz`: the tempo is known to be about this.
    found = tempo.candidates(lines)
    if not found:
        return None
    regular = tempo.regularity(lines, found)
    needed = MIN_REGULAR * (1 + FEW_SECONDS / max(features.seconds, 1.0)) ** 0.5
    if regular < needed:
        return None
    chances = weights.OCTAVE.chances(np.array([candidate.traits for candidate in found]))
    if said:
        near = [abs(60 * one.hertz / said - 1) < NEAR_TAG for one in found]
        chances = np.where(near, SAID * chances, chances)
        chances /= chances.sum()
    best = int(np.argmax(chances))
    chance = float(chances[best])
    beats, steady = _rough(lines, hertz or found[best].hertz)
    beats = beats.shifted(downbeat.sixteenth_offset(lines, beats))
    phases = weights.BAR.chances(downbeat.bar_traits(features, lines, beats))
    if steady and _is_loop(beats, features.seconds):
        # Loops are cut at bar lines.
        phases[int(np.rint(4 * beats.beat(np.array([0.0]))[0])) % downbeat.STEPS] *= LOOP_BEGINS
        phases /= phases.sum()
    beats = beats.shifted(int(np.argmax(phases)) / 4)
    if steady:
        beats = onsets.settle_steady(features.attacks, beats, features.seconds)
        beats = _whole_tempo(beats, features.seconds)
    else:
        beats = onsets.settle_moving(features.attacks, beats, features.seconds)
    beats = _from_first_downbeat(features, beats)
    sure = min(1.0, (regular - needed) / 0.2 + 0.3)
    return Rhythm(
        beats=beats,
        bpm=_bpm(beats, features.seconds),
        steady=steady,
        confidence=round(chance * sure, 3),
        downbeat=round(float(phases.max()), 3),
    )


def _rough(lines: Floats, hertz: float) -> tuple[Beats, bool]:
    even = Beats.even(grid.steady_tempo(lines, hertz))
    together = grid.coherence(lines, even)
    if together >= grid.STEADY or len(lines) < 3 * variable_tempo.WINDOW * FRAME_RATE:
        return even, True
    followed = variable_tempo.moving_tempo(lines, hertz)
    if grid.coherence(lines, followed) < together + grid.GAIN:
        return even, True
    return followed, False


def _whole_tempo(beats: Beats, seconds: float) -> Beats:
    # Most tracks are made at a whole number of beats a minute.
    bpm = 60.0 / float(np.diff(beats.time(np.array([0.0, 1.0])))[0])
    goal = _loop_tempo(bpm, seconds) if seconds <= LOOP_SECONDS else float(round(bpm))
    if goal == bpm or (seconds > LOOP_SECONDS and abs(goal / bpm - 1) * seconds >= WHOLE_DRIFT):
        return beats
    middle = float(np.round(beats.beat(np.array([seconds / 2]))[0]))
    centre = float(beats.time(np.array([middle]))[0])
    numbers = np.array([middle, middle + 1])
    return Beats(numbers, np.array([centre, centre + 60 / goal]))


def _is_loop(beats: Beats, seconds: float) -> bool:
    bar = float(np.diff(beats.time(np.array([0.0, 4.0])))[0])
    bars = round(seconds / bar)
    over = seconds - bars * bar
    return seconds <= LOOP_SECONDS and bars > 0 and -LOOP_TAIL / 10 < over < LOOP_TAIL


def _loop_tempo(bpm: float, seconds: float) -> float:
    # The likeliest tempo that fits the attacks: a whole number, what makes the file whole bars
    # long, or a round fraction. A reverb's tail or a codec's padding makes a file longer than its
    # bars, so its length alone says nothing.
    bars = round(seconds * bpm / 240)
    exact = [240 * bars / seconds] if bars else []
    for goal in (float(round(bpm)), *exact, *(round(bpm * part) / part for part in LOOP_STEPS)):
        if abs(goal / bpm - 1) * seconds < LOOP_DRIFT:
            return goal
    return bpm


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
