"""Score the results of an analysis against the ground truth of a track."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.common import percentile
from crowdstream.analysis.result import Analysis, second_of
from tests.support.generated_tracks.tracks import Truth

Doubles = npt.NDArray[np.float64]
TEMPO_TOLERANCE = 0.05  # beats a minute
GRID_TOLERANCE = 0.010  # s
OCTAVE_TOLERANCE = 0.04


@dataclass
class Guess:
    """A program's result for a track. `beats`: seconds; `key`: 0-11 major, 12-23 minor."""

    bpm: float
    beats: Doubles
    downbeat: float | None
    key: int | None
    seconds: float  # of CPU time
    analysis: Analysis | None = None


def related(one: int, other: int) -> bool:
    """Return whether two keys are the same, a fifth apart, relative or parallel."""
    tonic, minor, its, its_minor = one % 12, one >= 12, other % 12, other >= 12
    if minor == its_minor:
        return (tonic - its) % 12 in (0, 5, 7)
    major, small = (its, tonic) if minor else (tonic, its)
    return major == small or (major + 9) % 12 == small


def fitted_bpm(beats: Doubles) -> float:
    """Return the tempo of a line through the beats; their numbers follow from the intervals."""
    if len(beats) < 4:
        return 0.0
    steps = np.diff(beats)
    numbers = np.concatenate([[0.0], np.cumsum(np.rint(steps / np.median(steps)))])
    return float(60 / np.polyfit(numbers, beats, 1)[0])


def lateness(beats: Doubles, truth: Doubles) -> Doubles:
    """Return how late, in seconds, the beat nearest to each true beat is."""
    if len(beats) < 2:
        return np.full(len(truth), 9.0)
    at = np.clip(np.searchsorted(beats, truth), 1, len(beats) - 1)
    after, before = beats[at] - truth, beats[at - 1] - truth
    return np.where(np.abs(after) < np.abs(before), after, before)


def judge(guess: Guess, truth: Truth) -> dict[str, Any]:
    """Score a result against the ground truth."""
    off = guess.bpm / truth.bpm if guess.bpm else 0.0
    beat = 60 / truth.bpm
    downbeat = None
    if guess.downbeat is not None:
        # Position of the guessed downbeat in the true bar, in beats.
        number = np.interp(guess.downbeat, truth.beats, np.arange(len(truth.beats)))
        if guess.downbeat < truth.beats[0]:
            number = (guess.downbeat - truth.beats[0]) / beat
        downbeat = bool(abs((number + 2) % 4 - 2) < 0.2 and abs(off - 1) < OCTAVE_TOLERANCE)
    goal = truth.tonic + 12 * truth.minor
    late = lateness(guess.beats, truth.beats)
    tempos = [] if guess.analysis else [fitted_bpm(guess.beats)]
    return {
        "tempo": min(abs(bpm - truth.bpm) for bpm in (guess.bpm, *tempos)) <= TEMPO_TOLERANCE,
        "octave": any(abs(off / wrong - 1) < OCTAVE_TOLERANCE for wrong in
                      (1 / 3, 1 / 2, 2 / 3, 3 / 4, 4 / 3, 3 / 2, 2, 3)),
        "grid": float(np.median(np.abs(late))),
        "late": late,
        "downbeat": downbeat,
        "key": None if guess.key is None else guess.key == goal,
        "related": None if guess.key is None else related(guess.key, goal),
        "cost": guess.seconds / (truth.beats[-1] / 60),
        "bpm": guess.bpm,
    }  # fmt: skip


def judge_form(found: Analysis, truth: Truth) -> dict[str, Any]:
    """Score sections and vocals against the ground truth, as shares from 0 to 1."""
    anchors = found.tempo.anchors
    starts = [second_of(anchors, section.begin_beat) for section in found.sections]
    bar = 240 / truth.bpm
    goal = [begin for begin, _ in truth.sections]
    hit = sum(any(abs(begin - start) < 0.5 * bar for start in starts) for begin in goal)
    right = sum(any(abs(begin - start) < 0.5 * bar for begin in goal) for start in starts)
    times = np.arange(0, truth.beats[-1], 0.1)
    kinds = [truth.sections[np.searchsorted(goal, t, "right") - 1][1] if t >= goal[0] else ""
             for t in times]  # fmt: skip
    found_kinds = [found.sections[np.searchsorted(starts, t, "right") - 1].kind
            if starts and t >= starts[0] else "" for t in times]  # fmt: skip
    sung, detected = (
        np.array([any(a <= t < b for a, b in spans) for t in times])
        for spans in (truth.vocals, found.vocals.spans)
    )
    return {
        "boundaries found": hit / len(goal),
        "boundaries right": right / max(len(starts), 1),
        "kind": float(np.mean([a == b for a, b in zip(kinds, found_kinds, strict=True)])),
        "voice": float(np.mean(sung == detected)),
    }


def loop_row(guess: Guess, tempos: list[float]) -> dict[str, Any]:
    """Score a loop's tempo against the tempos that count as right."""
    reported = [guess.bpm] if guess.analysis else [guess.bpm, fitted_bpm(guess.beats)]
    return {
        "tempo": any(abs(one - bpm) <= TEMPO_TOLERANCE for one in reported for bpm in tempos),
        "octave": not any(abs(guess.bpm / bpm - 1) < OCTAVE_TOLERANCE for bpm in tempos),
        "bpm": guess.bpm,
    }


def share(rows: list[dict[str, Any]], name: str) -> float | None:
    """Return the mean of a column, or None if it has no values."""
    values = [row[name] for row in rows if row[name] is not None]
    return float(np.mean(values)) if values else None


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of one program."""
    steady = [row for row in rows if row["steady"]]
    moving = [row for row in rows if not row["steady"]]
    errors = [row["grid"] for row in rows]
    late = np.concatenate([row["late"] for row in rows])
    delay = float(np.median(late[np.abs(late) < 0.1])) if np.any(np.abs(late) < 0.1) else 0.0
    own = [float(np.median(np.abs(row["late"] - delay))) for row in rows]
    return {
        "tempo within 0.05": share(steady, "tempo"),
        "octave errors": share(rows, "octave"),
        "grid within 10 ms": float(np.mean([error <= GRID_TOLERANCE for error in errors])),
        "grid without own delay": float(np.mean([error <= GRID_TOLERANCE for error in own])),
        "grid, median ms": percentile(errors, 50) * 1e3,
        "grid within 10 ms, moving tempo": (
            float(np.mean([row["grid"] <= GRID_TOLERANCE for row in moving])) if moving else None
        ),
        "downbeat": share(rows, "downbeat"),
        "key": share(rows, "key"),
        "key or related": share(rows, "related"),
        "s of a core per minute": float(np.mean([row["cost"] for row in rows])),
    }
