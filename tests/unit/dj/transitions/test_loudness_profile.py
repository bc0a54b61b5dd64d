"""Prediction of a mix's loudness, and the trim offset that evens it out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crowdstream.dj.key_compatibility import key_fit
from crowdstream.dj.setfile.model import AutomationPoint
from crowdstream.dj.track_features import TrackFeatures
from crowdstream.dj.transitions import blend, loudness_profile
from crowdstream.dj.transitions.base import Side, TransitionContext
from tests.support.track_analyses import analysis

# The track of `analysis`: an intro of 16 bars, a drop from bar 24 to 48, a break to 64, and a
# drop to 80.
INTRO, DROP, BREAK, SECOND_DROP = 0.0, 96.0, 192.0, 256.0


def context(out: float, into: float, bars: float = 8, **more: float) -> TransitionContext:
    features = TrackFeatures("/a", "a", analysis())
    other = TrackFeatures("/b", "b", analysis(**more))  # type: ignore[arg-type]
    return TransitionContext(
        Side(features, out), Side(other, into), bars, 124.0, 124.0, key_fit("8A", "8A")
    )


def test_stem_powers_add_up_to_the_track() -> None:
    features = TrackFeatures("/a", "a", analysis())
    stems = dict(features.powers)
    assert set(stems) == set(features.stems)
    for bar in (30, 52, 70):
        whole = 10 ** (features.loudness(4 * bar, 4 * bar + 4) / 10)
        assert sum(line[bar] for line in stems.values()) == pytest.approx(whole, rel=0.5)
    single = TrackFeatures("/b", "b", analysis(stems=("track",)))
    assert [name for name, _ in single.powers] == [""]


def test_automation_changes_the_predicted_loudness() -> None:
    pair = context(DROP, DROP)
    alone = loudness_profile.loudness(pair, [AutomationPoint(0, "in", "level", 0)], 8.0)
    both = loudness_profile.loudness(pair, [], 8.0)
    assert both == pytest.approx(alone + 3, abs=0.2)
    without_bass = loudness_profile.loudness(
        pair, [AutomationPoint(0, "in", "level", 0), AutomationPoint(0, "out", "bass", 0)], 8.0
    )
    assert without_bass < alone - 0.5
    assert (
        loudness_profile.loudness(
            pair, [AutomationPoint(0, "out", "level", 0), AutomationPoint(0, "in", "level", 0)], 8.0
        )
        < -60
    )


def test_a_stem_that_is_named_like_a_control_is_heard() -> None:
    usual = analysis(stems=("drums", "other"))
    activity = {"drums": usual.activity["drums"], "loop": usual.activity["other"]}
    named = replace(usual, stems=("drums", "loop"), activity=activity)
    levels = []
    for found in (usual, named):
        side = Side(TrackFeatures("/a", "a", found), DROP)
        pair = TransitionContext(side, side, 8, 124.0, 124.0, key_fit("8A", "8A"))
        levels.append(loudness_profile.loudness(pair, [], 8.0))
    assert levels[1] == pytest.approx(levels[0])


def test_a_dip_in_loudness_costs_and_a_steady_level_does_not() -> None:
    steady, dip = context(DROP, DROP), context(BREAK, INTRO, 16)
    assert loudness_profile.cost(steady, blend.rows(steady)) < 0.02
    after = TransitionContext(dip.out, dip.into, 16, 124.0, 124.0, dip.key)
    assert loudness_profile.cost(after, blend.rows(after)) > 0.05
    assert loudness_profile.cost(context(DROP, DROP, 0), []) == 0


def test_the_trim_offset_evens_out_a_step() -> None:
    up, down = context(BREAK + 64 - 0.0, DROP, 0), context(DROP + 64, BREAK, 0)
    # From the break into the first drop of the next track.
    assert -loudness_profile.MAX_TRIM_OFFSET_DB <= loudness_profile.trim_offset(up, 0.0, 0.0) < 0
    assert 0 < loudness_profile.trim_offset(down, 0.0, 0.0) <= loudness_profile.MAX_TRIM_OFFSET_DB
    assert loudness_profile.trim_offset(context(DROP + 64, DROP, 0), 0.0, 0.0) == 0
    # Different trims make a step as well.
    level = context(DROP + 64, DROP, 0)
    step = 3.0 - loudness_profile.UNNOTICED_STEP_DB
    assert loudness_profile.trim_offset(level, 3.0, 0.0) == pytest.approx(step)
    # A track that would be too loud for the limiter is not raised.
    assert loudness_profile.trim_offset(down, 0.0, 6.0) <= 0


def test_a_trim_offset_is_ramped_back_once_the_track_plays_alone() -> None:
    pair = context(DROP, DROP, 8)
    first, ramp = loudness_profile.trim_offset_rows(pair, -2.0, 1.5)
    assert (first.at, first.target, first.control, first.value, first.over) == (
        0, "in", "trim", -0.5, 0,
    )  # fmt: skip
    assert ramp.at > pair.beats
    assert ramp.value == -2.0
    assert ramp.over >= 32
    assert loudness_profile.trim_offset_rows(pair, -2.0, 0.0) == []
