"""How loud a mix is going to be, and the trim that evens it out."""

from __future__ import annotations

import pytest

from crowdstream.dj.key_compatibility import key_fit
from crowdstream.dj.setfile.model import AutomationPoint
from crowdstream.dj.track_features import TrackFeatures
from crowdstream.dj.transitions import blend, loudness_profile
from crowdstream.dj.transitions.base import Side, TransitionContext
from tests.support.track_analyses import analysis

# Of the track in support.py: an intro of 16 bars, a drop from bar 24 to 48, a break to 64, a
# drop to 80.
INTRO, DROP, BREAK, SECOND_DROP = 0.0, 96.0, 192.0, 256.0


def meeting(out: float, into: float, bars: float = 8, **more: float) -> TransitionContext:
    facts = TrackFeatures("/a", "a", analysis())
    other = TrackFeatures("/b", "b", analysis(**more))  # type: ignore[arg-type]
    return TransitionContext(
        Side(facts, out), Side(other, into), bars, 124.0, 124.0, key_fit("8A", "8A")
    )


def test_stems_add_up_to_the_track() -> None:
    facts = TrackFeatures("/a", "a", analysis())
    stems = dict(facts.powers)
    assert set(stems) == set(facts.stems)
    for bar in (30, 52, 70):
        whole = 10 ** (facts.loudness(4 * bar, 4 * bar + 4) / 10)
        assert sum(line[bar] for line in stems.values()) == pytest.approx(whole, rel=0.5)
    single = TrackFeatures("/b", "b", analysis(stems=("track",)))
    assert [name for name, _ in single.powers] == [""]


def test_moves_are_heard_in_it() -> None:
    met = meeting(DROP, DROP)
    alone = loudness_profile.loudness(met, [AutomationPoint(0, "in", "level", 0)], 8.0)
    both = loudness_profile.loudness(met, [], 8.0)
    assert both == pytest.approx(alone + 3, abs=0.2)
    gone = loudness_profile.loudness(
        met, [AutomationPoint(0, "in", "level", 0), AutomationPoint(0, "out", "bass", 0)], 8.0
    )
    assert gone < alone - 0.5
    assert (
        loudness_profile.loudness(
            met, [AutomationPoint(0, "out", "level", 0), AutomationPoint(0, "in", "level", 0)], 8.0
        )
        < -60
    )


def test_a_hole_costs_and_a_steady_level_does_not() -> None:
    steady, hole = meeting(DROP, DROP), meeting(BREAK, INTRO, 16)
    assert loudness_profile.cost(steady, blend.rows(steady)) < 0.02
    after = TransitionContext(hole.out, hole.into, 16, 124.0, 124.0, hole.key)
    assert loudness_profile.cost(after, blend.rows(after)) > 0.05
    assert loudness_profile.cost(meeting(DROP, DROP, 0), []) == 0


def test_the_trim_evens_out_a_step() -> None:
    up, down = meeting(BREAK + 64 - 0.0, DROP, 0), meeting(DROP + 64, BREAK, 0)
    # Before the second drop lies the break; the first drop comes.
    assert -loudness_profile.MAX_LIFT_DB <= loudness_profile.lift(up, 0.0, 0.0) < 0
    assert 0 < loudness_profile.lift(down, 0.0, 0.0) <= loudness_profile.MAX_LIFT_DB
    assert loudness_profile.lift(meeting(DROP + 64, DROP, 0), 0.0, 0.0) == 0
    # Trims that differ are a step, too.
    assert loudness_profile.lift(meeting(DROP + 64, DROP, 0), 3.0, 0.0) == pytest.approx(2.0)
    # What would be too loud for the limiter is not raised.
    assert loudness_profile.lift(down, 0.0, 6.0) <= 0


def test_a_lift_goes_back_slowly_once_the_track_is_alone() -> None:
    met = meeting(DROP, DROP, 8)
    first, back = loudness_profile.lifted(met, -2.0, 1.5)
    assert (first.at, first.who, first.control, first.value, first.over) == (
        0, "in", "trim", -0.5, 0,
    )  # fmt: skip
    assert back.at > met.beats
    assert back.value == -2.0
    assert back.over >= 32
    assert loudness_profile.lifted(met, -2.0, 0.0) == []
