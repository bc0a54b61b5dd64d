"""Beat tracking: tempo, beats and downbeat of a track from its onsets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from itertools import pairwise

import numpy as np

from crowdstream.analysis import (
    downbeat,
    grid,
    onsets,
    tempo,
    variable_tempo,
)
from crowdstream.analysis.features import ATTACK_RATE, FRAME_RATE, Features
from crowdstream.analysis.grid import Beats
from crowdstream.analysis.models import weights
from crowdstream.analysis.models.linear import Model
from crowdstream.analysis.structure import find_silences
from crowdstream.analysis.tempo import Doubles, Floats

MIN_REGULAR = 0.1  # minimum pulse clarity of music with a beat, for long sounds
# A sound of this length needs a pulse clarity higher by the square root of 2: short sounds may
# repeat by chance.
FEW_SECONDS = 15.0
LOOP_SECONDS = 20.0  # a file up to this length may be a loop of whole bars
LOOP_DRIFT = 0.0016  # s: accuracy of a loop's grid at its end, as measured by its onsets
LOOP_TAIL = 0.06  # s: a loop may exceed its bars by this much, for a tail or a codec's padding
LOOP_DOWNBEAT_FACTOR = 6.0  # likelihood factor of a downbeat at the start of a loop
EMPTY_BEATS = 0.1  # of the strongest step of a beat: steps with weaker onsets are hardly beats
EMPTY_BASS = 0.1  # the same in the lowest band: kick drum and bass rarely leave out all beats
EMPTY_BEATS_FACTOR = 0.01  # likelihood factor of a downbeat on such a step
LOOP_STEPS = (2, 4, 10)  # loops have tempi in halves, quarters or tenths of a BPM
WHOLE_DRIFT = 0.016  # s: a tempo that drifts less from a whole number over the track is rounded
BEFORE_SOUND = 0.06  # s: the first downbeat may precede the first sound by this much
CUT, MOVING_CUT = 0.004, 0.02  # s: and the start of the file, in a steady and a variable grid
# Likely tempi in which a track is heard; the right one is among the first three in 98 %. Those that
# are much less likely than the first one are not worth the time.
MAX_READINGS, MIN_READING_SHARE = 3, 0.003
MIN_CHANCE = 1e-5
USUAL_METERS = (0.94, 0.03, 0.03)  # probabilities of `downbeat.METERS` where nothing is measured
MIN_READING_FIT = 0.45  # right grids of bars of three and four beats fit by at least 0.59 in 99 %
WRONG_READING_FACTOR = 0.05  # likelihood factor of a reading that fits worse
MAX_STRAY = 0.03  # relative difference of the median of a variable tempo from its candidate
MAX_FIT_LOSS = 0.2  # the fit of a grid of parts may be this much lower than that of a variable grid
TAG_TOLERANCE = 0.02  # relative tolerance of a tempo in a tag, which may be rounded or inaccurate
TAG_FACTOR = 4.0  # likelihood factor of the tempo in a tag
PAUSE_SECONDS = 4.0  # of silence, after which the beat may resume with another phase
SAME_TEMPO = 0.001  # relative difference below which parts have the same tempo
FIRST_SOUND = 1e-4  # of the loudest power: threshold of the first sound


@dataclass(frozen=True)
class Evidence:
    """What speaks for a rhythm; `confidence.py` derives probabilities from it.

    octave: probability of the tempo among the candidates, by the model.
    regular: pulse clarity, relative to the minimum for a track of this length.
    fit: of the grid in its worst passage, about 1 if no other tempo explains it better.
    meter, phase: probabilities of the meter and of the downbeat's position, by the models.
    """

    octave: float
    regular: float
    fit: float
    meter: float
    phase: float


@dataclass(frozen=True)
class Rhythm:
    """The beat grid of a track.

    beats: the grid; beat 0 is the first downbeat.
    bpm: beats per minute; the median of a variable tempo.
    meter: beats per bar.
    doubt: why the grid may be wrong, as text; empty if nothing suggests that it is.
    """

    beats: Beats
    bpm: float
    steady: bool
    evidence: Evidence
    meter: int = 4
    doubt: str = ""


def track_beats(features: Features, lines: Floats, said: float = 0.0) -> Rhythm | None:
    """Track the beats; return None if the track has no beat.

    `lines` is a result of `tempo.normalize_onsets`. `said` is the tempo in the track's tags in
    beats per minute, 0 if there is none; it makes its candidate more likely.
    """
    found = _one_rhythm(features, lines, said)
    if found is None:
        return None
    kept = found.evidence.fit
    if kept < grid.MIN_FIT or not found.steady:
        # A variable grid glides from one tempo to the next. If both are steady, a grid of parts
        # describes the track better.
        changed = _changing_rhythm(features, lines, found.steady)
        if changed is not None and changed.evidence.fit > kept - MAX_FIT_LOSS:
            return changed
    if kept < grid.MIN_FIT:
        return replace(found, doubt="parts of it do not keep to one tempo")
    return found


def _changing_rhythm(features: Features, lines: Floats, any_part: bool) -> Rhythm | None:
    # The rhythm of a track with several consecutive tempi; None if it is not such a track.
    # `any_part`: accept parts with a variable tempo, too.
    pauses = [end for begin, end in find_silences(features) if end - begin > PAUSE_SECONDS]
    inner = sorted({*variable_tempo.find_changes(lines), *pauses} - {features.seconds})
    edges = [0.0, *inner, features.seconds]
    parts: list[variable_tempo.Part] = []
    found: list[Rhythm] = []
    for begin, end in pairwise(edges):
        low = begin + variable_tempo.EDGE if begin else 0.0
        high = end - variable_tempo.EDGE if end < features.seconds else end
        cut = variable_tempo.part_of(features, low, high)
        own = tempo.normalize_onsets(cut.onsets)
        rhythm = _one_rhythm(cut, own)
        if rhythm is None:
            continue  # no beat: the previous part continues
        if not any_part and not _is_steady(own, rhythm):
            return None
        beats = Beats(rhythm.beats.numbers, rhythm.beats.times + low)
        parts.append(variable_tempo.Part(begin if parts else 0.0, beats))
        found.append(rhythm)
    if len(parts) < 2:
        return None
    beats = variable_tempo.join_parts(variable_tempo.refine_boundaries(lines, parts))
    meter = found[0].meter
    beats = _from_first_downbeat(features, beats, meter)
    tempi = " to ".join(f"{rhythm.bpm:.4g}" for rhythm in found)
    evidence = Evidence(*(min(values) for values in zip(
        *(astuple(rhythm.evidence) for rhythm in found), strict=True
    )))  # fmt: skip
    evidence = replace(evidence, fit=grid.worst_fit(lines, beats))
    whole = Rhythm(beats, _bpm(beats, features.seconds), False, evidence, meter)
    low, high = min(rhythm.bpm for rhythm in found), max(rhythm.bpm for rhythm in found)
    if high / low - 1 < SAME_TEMPO:
        return whole  # it resumes at the same tempo after a pause
    return replace(whole, doubt=f"its tempo changes from {tempi}")


def _is_steady(lines: Floats, rhythm: Rhythm) -> bool:
    # Passages that are too short for tracking a variable tempo are always reported as steady, so
    # check their coherence, too.
    return rhythm.steady and grid.coherence(lines, rhythm.beats) >= grid.STEADY


def _one_rhythm(features: Features, lines: Floats, said: float = 0.0) -> Rhythm | None:
    # The rhythm with a single steady or variable tempo. `said`: the tempo in the tags in BPM, else
    # 0.
    found = tempo.candidates(lines)
    if not found:
        return None
    regular = tempo.regularity(lines, found)
    needed = MIN_REGULAR * (1 + FEW_SECONDS / max(features.seconds, 1.0)) ** 0.5
    if regular < needed:
        return None
    chances = weights.OCTAVE.chances(np.array([candidate.traits for candidate in found]))
    tagged = np.ones(len(found))
    if said:
        near = [abs(60 * one.hertz / said - 1) < TAG_TOLERANCE for one in found]
        tagged = np.where(near, TAG_FACTOR, 1.0)
    prior = chances * tagged
    likely = np.argsort(-prior, kind="stable")[:MAX_READINGS]
    likely = likely[prior[likely] >= MIN_READING_SHARE * prior.max()]
    readings = [read_as(features, lines, found[at].hertz) for at in likely]
    heard = [
        interpret(reading, float(chances[at]), weights.METER, weights.BARS)
        for at, reading in zip(likely, readings, strict=True)
    ]
    whole = weights.READING.chances(np.array([one.traits for one in heard])) * tagged[likely]
    # The fit is measured in halves and quarters of the beat, so it says nothing of 6/8.
    wrong = [
        reading.fit < MIN_READING_FIT and one.meter != 2
        for reading, one in zip(readings, heard, strict=True)
    ]
    whole[wrong] *= WRONG_READING_FACTOR
    best = int(np.argmax(whole))
    beats, steady, meter = readings[best].beats, readings[best].steady, heard[best].meter
    phases = heard[best].phases.copy()
    if steady and _is_loop(beats, features.seconds, meter):
        # Loops are usually cut at bar lines.
        start = int(np.rint(downbeat.BEAT_STEPS * beats.beat(np.array([0.0]))[0]))
        phases[start % len(phases)] *= LOOP_DOWNBEAT_FACTOR
        phases /= phases.sum()
    beats = beats.shifted(int(np.argmax(phases)) / downbeat.BEAT_STEPS)
    if steady:
        beats = onsets.settle_steady(features.attacks, beats, features.seconds)
        beats = _whole_tempo(beats, features.seconds)
    else:
        beats = onsets.settle_moving(features.attacks, beats, features.seconds)
    beats = _from_first_downbeat(features, beats, meter)
    evidence = Evidence(
        octave=float(whole[best] / whole.sum()), regular=regular / needed,
        fit=grid.worst_fit(lines, beats),
        meter=float(heard[best].meters.max()), phase=float(phases.max()),
    )  # fmt: skip
    return Rhythm(beats, _bpm(beats, features.seconds), steady, evidence, meter)


@dataclass(frozen=True)
class Reading:
    """A track, heard in a candidate tempo.

    hertz: the tempo in beats per second.
    beats: a grid near it, whose sixteenths are in phase with the music.
    fit, coherence: of a steady grid, see `grid.worst_fit` and `grid.coherence`.
    strengths, meter_traits: see `downbeat.py`.
    bar_traits: by meter, see `downbeat.py`.
    """

    hertz: float
    beats: Beats
    steady: bool
    fit: float
    coherence: float
    strengths: Doubles
    meter_traits: Doubles
    bar_traits: Mapping[int, Doubles]


class _BarTraits(dict[int, Doubles]):
    # The traits of a meter, measured when they are asked for.

    def __init__(self, features: Features, lines: Floats, beats: Beats) -> None:
        super().__init__()
        self._given = features, lines, beats

    def __missing__(self, meter: int) -> Doubles:
        self[meter] = downbeat.bar_traits(*self._given, meter)
        return self[meter]


def read_as(features: Features, lines: Floats, hertz: float) -> Reading:
    """Hear a track in a candidate tempo, in beats per second."""
    beats, steady = rough_grid(lines, hertz)
    beats = beats.shifted(downbeat.sixteenth_offset(lines, beats))
    # A grid that moves fits better in any tempo.
    even = beats if steady else Beats.even(grid.steady_tempo(lines, hertz))
    return Reading(
        hertz, beats, steady, grid.worst_fit(lines, even), grid.coherence(lines, even),
        downbeat.beat_strengths(lines, beats, features.seconds),
        downbeat.meter_traits(features, lines, beats), _BarTraits(features, lines, beats),
    )  # fmt: skip


@dataclass(frozen=True)
class Interpretation:
    """The meter of a reading, and the probabilities of all meters and of all steps as downbeat.

    traits: what the choice between the readings of a track is made by, `(16,)`.
    """

    meter: int
    meters: Doubles
    phases: Doubles
    traits: Doubles


def interpret(
    reading: Reading, chance: float, meter_model: Model, bar_models: Mapping[int, Model]
) -> Interpretation:
    """Interpret a reading with models of meter and bar; `chance` is that of its tempo alone."""
    if reading.meter_traits.any():
        meters = meter_model.chances(reading.meter_traits)
    else:  # too short to tell
        meters = np.array(USUAL_METERS)
    meter = downbeat.METERS[int(np.argmax(meters))]
    phases = bar_models[meter].chances(reading.bar_traits[meter])
    # Music may stress the off-beat, but nearly always has some notes on the beat.
    empty = (reading.strengths < (EMPTY_BEATS, EMPTY_BASS)).any(axis=1)
    phases[np.tile(empty, meter)] *= EMPTY_BEATS_FACTOR
    phases /= phases.sum()
    on_beat = int(np.argmax(phases)) % downbeat.BEAT_STEPS
    off_beat = (on_beat + downbeat.BEAT_STEPS // 2) % downbeat.BEAT_STEPS
    octave = float(np.log2(60 * reading.hertz / tempo.CENTRE))
    traits = np.array([
        math.log(chance + MIN_CHANCE), math.log(float(meters.max())), math.log(float(phases.max())),
        reading.fit, reading.coherence, float(reading.steady),
        *reading.strengths[on_beat], *reading.strengths[off_beat],
        float(meter == 3), float(meter == 2), octave, octave**2,
        math.log(float(meters[0]) + MIN_CHANCE),
        downbeat.missing_bars(reading.meter_traits, meter),
    ])  # fmt: skip
    return Interpretation(meter, meters, phases, traits)


def rough_grid(lines: Floats, hertz: float) -> tuple[Beats, bool]:
    """Return a grid near a tempo in beats per second, and whether its tempo is steady."""
    even = Beats.even(grid.steady_tempo(lines, hertz))
    together = grid.coherence(lines, even)
    if together >= grid.STEADY or len(lines) < 3 * variable_tempo.WINDOW * FRAME_RATE:
        return even, True
    followed = variable_tempo.track_variable_tempo(lines, hertz)
    if grid.coherence(lines, followed) < together + grid.GAIN:
        return even, True
    # A grid that moves can only gain coherence. If it leaves the tempo, it follows something else.
    if abs(_bpm(followed, len(lines) / FRAME_RATE) / 60 / hertz - 1) > MAX_STRAY:
        return even, True
    return followed, False


def _whole_tempo(beats: Beats, seconds: float) -> Beats:
    # Round the tempo: most tracks are produced at a whole number of beats per minute.
    bpm = 60.0 / float(np.diff(beats.time(np.array([0.0, 1.0])))[0])
    goal = _loop_tempo(bpm, seconds) if seconds <= LOOP_SECONDS else float(round(bpm))
    if goal == bpm or (seconds > LOOP_SECONDS and abs(goal / bpm - 1) * seconds >= WHOLE_DRIFT):
        return beats
    middle = float(np.round(beats.beat(np.array([seconds / 2]))[0]))
    centre = float(beats.time(np.array([middle]))[0])
    numbers = np.array([middle, middle + 1])
    return Beats(numbers, np.array([centre, centre + 60 / goal]))


def _is_loop(beats: Beats, seconds: float, meter: int) -> bool:
    bar = float(np.diff(beats.time(np.array([0.0, meter])))[0])
    bars = round(seconds / bar)
    over = seconds - bars * bar
    return seconds <= LOOP_SECONDS and bars > 0 and -LOOP_TAIL / 10 < over < LOOP_TAIL


def _loop_tempo(bpm: float, seconds: float) -> float:
    # The most likely tempo that fits the onsets: a whole number, the tempo at which the file has
    # a whole number of bars, or a simple fraction. The length alone is not conclusive: a reverb
    # tail or a codec's padding makes a file longer than its bars.
    bars = round(seconds * bpm / 240)
    exact = [240 * bars / seconds] if bars else []
    for goal in (float(round(bpm)), *exact, *(round(bpm * part) / part for part in LOOP_STEPS)):
        if abs(goal / bpm - 1) * seconds < LOOP_DRIFT:
            return goal
    return bpm


def _from_first_downbeat(features: Features, beats: Beats, meter: int) -> Beats:
    power = features.bands.sum(axis=1)
    level = features.attacks.sum(axis=1)
    audible = np.flatnonzero(level > FIRST_SOUND * level.max(initial=0.0))
    begin = audible[0] / ATTACK_RATE if len(audible) and len(power) else 0.0
    first = float(beats.beat(np.array([max(0.0, begin - BEFORE_SOUND)]))[0])
    at = meter * np.ceil(first / meter - 1e-9)
    # A downbeat at the very beginning of the file counts even if it lies slightly before it. No
    # beat precedes the file: a variable grid then begins at 0, and a steady one is shifted to 0.
    before = float(beats.time(np.array([at - meter]))[0])
    moves = len(beats.numbers) > 2
    if begin - BEFORE_SOUND <= before and before > (-MOVING_CUT if moves else -CUT):
        at -= meter
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
