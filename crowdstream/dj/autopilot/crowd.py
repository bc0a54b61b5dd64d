"""The crowd's influence on the DJ: a tempo within the range of the tracks, and an energy."""

from __future__ import annotations

import math

from crowdstream.movement.follower import MIN_CHANGE, MovementMap, between

STEP_SECONDS = 1.0  # between two tempo changes: each ramps until the next


class CrowdInput:
    """Follows movement reports by a map, `chart`; None ignores the crowd.

    All times are seconds on the caller's monotonic clock.
    """

    def __init__(self, chart: MovementMap | None) -> None:
        self._chart = chart
        self._heard = -math.inf
        self._stepped = -math.inf
        self._energy_at = -math.inf
        self._smooth = 0.0
        self._away = False  # the tempo differs from the plan's
        self._going = 0.0  # target tempo of the latest step
        self.movement = 0.0

    def moved(self, movement: float, now: float) -> None:
        """Take a report of movement, 0 to 1."""
        if self._heard == -math.inf:
            self._smooth = movement
        self.movement = movement
        self._heard = now

    def leads(self, now: float) -> bool:
        """Return whether the crowd controls the tempo."""
        if self._chart is None:
            return False
        silent = self._chart.silent_seconds
        return self._heard > -math.inf and (silent is None or now - self._heard <= silent)

    def energy(self, now: float) -> float | None:
        """Return the energy, 0 to 1, that the crowd asks for; None without recent reports."""
        if self._chart is None or not self.leads(now):
            return None
        return between(self._chart.energy, self._smooth)

    def wanted(self, now: float) -> float | None:
        """Return the tempo that the crowd asks for, in beats per minute, or None."""
        if self._chart is None or not self.leads(now):
            return None
        return self._chart.bpm(self.movement)

    def tick(self, now: float) -> None:
        """Smooth movement into energy. Call it often."""
        chart = self._chart
        passed = min(1.0, max(0.0, now - self._energy_at))
        self._energy_at = now
        if chart is None:
            return
        up = self.movement > self._smooth
        seconds = chart.energy_attack_seconds if up else chart.energy_release_seconds
        self._smooth += (self.movement - self._smooth) * (1 - math.exp(-passed / seconds))

    def due(self, now: float) -> bool:
        """Return whether it is time for the next `step`."""
        return self._chart is not None and now - self._stepped >= STEP_SECONDS

    def step(
        self, now: float, bpm: float, plan: float, comfort: tuple[float, float]
    ) -> float | None:
        """Return the tempo to reach within `STEP_SECONDS`, or None for no change.

        Tempos are in beats per minute. `bpm`: of the clock; `plan`: without a crowd; `comfort`:
        lowest and highest that suit the playing tracks.
        """
        if self._chart is None or not self.due(now):
            return None
        leads = self.leads(now)
        if not leads and not self._away:
            return None
        passed, self._stepped = now - self._stepped, now
        if passed < 2 * STEP_SECONDS and self._away:
            bpm = self._going  # the last known tempo of the clock may predate the latest step
        else:
            passed = STEP_SECONDS
        low, high = comfort
        target = self._chart.bpm(self.movement) if leads else plan
        target = min(high, max(low, target))
        next_bpm = self._going = self._chart.towards(bpm, target, passed)
        self._away = leads or abs(next_bpm - plan) > MIN_CHANGE
        return next_bpm if abs(next_bpm - bpm) > MIN_CHANGE else None
