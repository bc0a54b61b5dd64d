"""The crowd's influence on the DJ: a tempo within the range of the tracks, and an energy."""

from __future__ import annotations

import math

from crowdstream.movement.follower import MIN_CHANGE, MovementMap, interpolate

STEP_SECONDS = 1.0  # between two tempo changes: each ramps until the next


class CrowdInput:
    """Follows movement reports by a map, `movement_map`; None ignores the crowd.

    All times are seconds on the caller's monotonic clock.
    """

    def __init__(self, movement_map: MovementMap | None) -> None:
        self._map = movement_map
        self._reported_at = -math.inf
        self._stepped = -math.inf
        self._energy_at = -math.inf
        self._smooth = 0.0
        self._off_plan = False  # the tempo differs from the plan's
        self._target_bpm = 0.0  # target tempo of the latest step
        self.movement = 0.0

    def report(self, movement: float, now: float) -> None:
        """Take a report of movement, 0 to 1."""
        if self._reported_at == -math.inf:
            self._smooth = movement
        self.movement = movement
        self._reported_at = now

    def leads(self, now: float) -> bool:
        """Return whether the crowd controls the tempo."""
        if self._map is None:
            return False
        silent = self._map.silent_seconds
        return self._reported_at > -math.inf and (
            silent is None or now - self._reported_at <= silent
        )

    def energy(self, now: float) -> float | None:
        """Return the energy, 0 to 1, that the crowd asks for; None without recent reports."""
        if self._map is None or not self.leads(now):
            return None
        return interpolate(self._map.energy, self._smooth)

    def wanted_bpm(self, now: float) -> float | None:
        """Return the tempo that the crowd asks for, in beats per minute, or None."""
        if self._map is None or not self.leads(now):
            return None
        return self._map.bpm(self.movement)

    def tick(self, now: float) -> None:
        """Smooth movement into energy. Call it often."""
        movement_map = self._map
        passed = min(1.0, max(0.0, now - self._energy_at))
        self._energy_at = now
        if movement_map is None:
            return
        up = self.movement > self._smooth
        seconds = movement_map.energy_attack_seconds if up else movement_map.energy_release_seconds
        self._smooth += (self.movement - self._smooth) * (1 - math.exp(-passed / seconds))

    def due(self, now: float) -> bool:
        """Return whether it is time for the next `step`."""
        return self._map is not None and now - self._stepped >= STEP_SECONDS

    def step(
        self, now: float, bpm: float, plan: float, comfort: tuple[float, float]
    ) -> float | None:
        """Return the tempo to reach within `STEP_SECONDS`, or None for no change.

        Tempos are in beats per minute. `bpm`: of the clock; `plan`: without a crowd; `comfort`:
        lowest and highest that suit the playing tracks.
        """
        if self._map is None or not self.due(now):
            return None
        leads = self.leads(now)
        if not leads and not self._off_plan:
            return None
        passed, self._stepped = now - self._stepped, now
        if passed < 2 * STEP_SECONDS and self._off_plan:
            bpm = self._target_bpm  # the last known tempo of the clock may predate the latest step
        else:
            passed = STEP_SECONDS
        low, high = comfort
        target = self._map.bpm(self.movement) if leads else plan
        target = min(high, max(low, target))
        next_bpm = self._target_bpm = self._map.towards(bpm, target, passed)
        self._off_plan = leads or abs(next_bpm - plan) > MIN_CHANGE
        return next_bpm if abs(next_bpm - bpm) > MIN_CHANGE else None
