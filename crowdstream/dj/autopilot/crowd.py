"""What the crowd wants of the DJ: a tempo within what the tracks bear, and energy."""

from __future__ import annotations

import math

from crowdstream.movement.follower import MIN_CHANGE, MovementMap, between

STEP_SECONDS = 1.0  # between two moves of the tempo: each ramps until the next


class CrowdInput:
    """Follows reports of movement. `chart` None: it takes no notice."""

    def __init__(self, chart: MovementMap | None) -> None:
        self._chart = chart
        self._heard = -math.inf
        self._stepped = -math.inf
        self._energy_at = -math.inf
        self._smooth = 0.0
        self._away = False  # the tempo is not the plan's
        self._going = 0.0  # the tempo that the latest step leads to
        self.movement = 0.0

    def moved(self, movement: float, now: float) -> None:
        """The crowd moves so much, 0 to 1."""
        if self._heard == -math.inf:
            self._smooth = movement
        self.movement = movement
        self._heard = now

    def leads(self, now: float) -> bool:
        """Whether the tempo is the crowd's."""
        if self._chart is None:
            return False
        silent = self._chart.silent_seconds
        return self._heard > -math.inf and (silent is None or now - self._heard <= silent)

    def energy(self, now: float) -> float | None:
        """The energy that the crowd wants; None where nobody tells of it."""
        if self._chart is None or not self.leads(now):
            return None
        return between(self._chart.energy, self._smooth)

    def wanted(self, now: float) -> float | None:
        """The tempo that the crowd wants, whatever plays; None where nobody tells of it."""
        if self._chart is None or not self.leads(now):
            return None
        return self._chart.bpm(self.movement)

    def tick(self, now: float) -> None:
        """Take over movement into energy; call it often."""
        chart = self._chart
        passed = min(1.0, max(0.0, now - self._energy_at))
        self._energy_at = now
        if chart is None:
            return
        up = self.movement > self._smooth
        seconds = chart.energy_attack_seconds if up else chart.energy_release_seconds
        self._smooth += (self.movement - self._smooth) * (1 - math.exp(-passed / seconds))

    def due(self, now: float) -> bool:
        """Whether `step` has something to say again."""
        return self._chart is not None and now - self._stepped >= STEP_SECONDS

    def step(
        self, now: float, bpm: float, plan: float, comfort: tuple[float, float]
    ) -> float | None:
        """The tempo to reach within `STEP_SECONDS`; None while it is to stay.

        `bpm`: of the clock; `plan`: what it would be without a crowd; `comfort`: lowest and
        highest that the tracks bear.
        """
        if self._chart is None or not self.due(now):
            return None
        leads = self.leads(now)
        if not leads and not self._away:
            return None
        passed, self._stepped = now - self._stepped, now
        if passed < 2 * STEP_SECONDS and self._away:
            bpm = self._going  # what the clock was last known to have may be of before that
        else:
            passed = STEP_SECONDS
        low, high = comfort
        target = self._chart.bpm(self.movement) if leads else plan
        target = min(high, max(low, target))
        next_bpm = self._going = self._chart.towards(bpm, target, passed)
        self._away = leads or abs(next_bpm - plan) > MIN_CHANGE
        return next_bpm if abs(next_bpm - bpm) > MIN_CHANGE else None
