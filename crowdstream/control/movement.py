"""How much the crowd moves, as a tempo: a map from a file, followed smoothly."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from crowdstream.desk.sizes import MAX_RATE, MIN_RATE
from crowdstream.settings import SettingError
from crowdstream.settings.files import read_bytes
from crowdstream.settings.toml import parse

STEP_SECONDS = 0.1  # between two changes of the tempo, and how long each takes
LEAST_CHANGE = 0.001  # beats a minute: less is not worth a command
MOST_SECONDS = 3600.0
KEYS = ("steps", "attack_seconds", "release_seconds")


@dataclass(frozen=True)
class MovementMap:
    """Tempo by movement, linear between steps.

    `steps`: movement (0..1, rising) and beats a minute. `attack_seconds`, `release_seconds`:
    how long the tempo takes from the map's lowest to its highest, and back.
    """

    steps: tuple[tuple[float, float], ...]
    attack_seconds: float = 10.0
    release_seconds: float = 20.0

    def bpm(self, movement: float) -> float:
        """The tempo that belongs to a movement; the first and last step go on outwards."""
        place = bisect_right(self.steps, (movement, float("inf")))
        if place == 0:
            return self.steps[0][1]
        if place == len(self.steps):
            return self.steps[-1][1]
        (low, slow), (high, fast) = self.steps[place - 1 : place + 1]
        return slow + (fast - slow) * (movement - low) / (high - low)

    def next_bpm(self, bpm: float, movement: float, seconds: float) -> float:
        """Where the tempo is `seconds` later, on its way to what belongs to `movement`."""
        target = self.bpm(movement)
        tempos = [tempo for _, tempo in self.steps]
        span = max(tempos) - min(tempos)
        if span == 0.0:
            span = abs(target - bpm)
        if target > bpm:
            return min(target, bpm + span * seconds / self.attack_seconds)
        return max(target, bpm - span * seconds / self.release_seconds)


def read_map(path: Path, base_bpm: float) -> MovementMap:
    """The movement map in a TOML file; see `configs/movement.toml`.

    Raises `SettingError`, in one line, for a file that can't be read or means nothing.
    """
    values = parse(read_bytes(path, "setting movement_map"), path)

    def wrong(reason: str) -> SettingError:
        return SettingError(f"movement_map: {path}: {reason}")

    for key in values:
        if key not in KEYS:
            raise wrong(f"{key} means nothing here, only {', '.join(KEYS)} do")
    attack = _seconds(values, "attack_seconds", 10.0)
    release = _seconds(values, "release_seconds", 20.0)
    if attack is None or release is None:
        name = "attack_seconds" if attack is None else "release_seconds"
        raise wrong(f"{name} is not a number above 0, up to {MOST_SECONDS:g}")
    steps = _steps(values.get("steps"))
    if steps is None:
        raise wrong("steps is not a list of [movement, beats per minute], such as [[0, 118]]")
    for (low, _), (high, _) in pairwise(steps):
        if high <= low:
            raise wrong(f"steps: movement {high:g} does not rise after {low:g}")
    for movement, bpm in steps:
        if not 0 <= movement <= 1:
            raise wrong(f"steps: movement {movement:g} is not from 0 to 1")
        if not 20 <= bpm <= 400 or not MIN_RATE <= bpm / base_bpm <= MAX_RATE:
            raise wrong(
                f"steps: {bpm:g} beats a minute can't be played at a base tempo of {base_bpm:g}"
            )
    return MovementMap(steps, attack, release)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e9 else None  # NaN and infinity are neither


def _seconds(values: Mapping[str, object], key: str, default: float) -> float | None:
    number = _number(values.get(key, default))
    return number if number is not None and 0 < number <= MOST_SECONDS else None


def _steps(value: object) -> tuple[tuple[float, float], ...] | None:
    if not isinstance(value, list) or not value:
        return None
    steps = []
    for entry in value:
        if not isinstance(entry, list) or len(entry) != 2:
            return None
        movement, bpm = _number(entry[0]), _number(entry[1])
        if movement is None or bpm is None:
            return None
        steps.append((movement, bpm))
    return tuple(steps)


class Follower:
    """Says, ten times a second at most, to which tempo the crowd's movement leads.

    It rests until movement is reported, and again from `rest` on (a tempo set by hand) until
    the next report.
    """

    def __init__(self, chart: MovementMap | None) -> None:
        self._map = chart
        self._following = False
        self._last = 0.0
        self.movement = 0.0

    def noted(self) -> list[Any]:
        """As JSON holds it; see `restore`."""
        return [self._following, self._last, self.movement]

    def restore(self, note: list[Any]) -> None:
        """Go on as the follower did that was noted."""
        self._following, self._last, self.movement = note

    def moved(self, movement: float, now: float) -> None:
        """Take note of how much the crowd moves, 0..1; `now`: seconds of any clock."""
        self.movement = movement
        if not self._following:
            self._following = True
            self._last = now

    def rest(self) -> None:
        """Leave the tempo alone until movement is reported again."""
        self._following = False

    def next_tempo(self, bpm: float, now: float) -> float | None:
        """The tempo to go to within `STEP_SECONDS`; None while it is to stay as it is."""
        passed = now - self._last
        if self._map is None or not self._following or passed < STEP_SECONDS:
            return None
        self._last = now
        wanted = self._map.next_bpm(bpm, self.movement, min(passed, 2 * STEP_SECONDS))
        return wanted if abs(wanted - bpm) >= LEAST_CHANGE else None
