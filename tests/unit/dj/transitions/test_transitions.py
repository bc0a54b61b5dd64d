"""Each kind of transition: when it fits, and that vocals and basses never clash."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crowdstream.dj.key_compatibility import key_fit
from crowdstream.dj.setfile.automation import audible_gain, value
from crowdstream.dj.setfile.controls import problem
from crowdstream.dj.setfile.model import AutomationPoint
from crowdstream.dj.track_features import TrackFeatures
from crowdstream.dj.transitions import (
    KINDS,
    acappella,
    blend,
    cut,
    drop_swap,
    drums_first,
    echo_out,
    eq_swap,
    filter_blend,
    highs_out,
    loop_build,
    loudness_profile,
    propose,
    rate,
)
from crowdstream.dj.transitions.base import (
    MIN_RIDE_BEATS,
    RIDE_BEATS,
    Side,
    TransitionContext,
    TransitionKind,
    can_ride,
)
from crowdstream.dj.transitions.conflicts import clashes
from tests.support.track_analyses import STEMS, analysis

LIMIT = 0.06


def side(beat: float, **more: object) -> Side:
    features = TrackFeatures("/x", "x", analysis(**more))  # type: ignore[arg-type]
    return Side(features, beat, 1.0, solo_beats=128.0)


def context(
    out: Side,
    into: Side,
    bars: float = 16,
    target: float = 124.0,
    keys: tuple[str, str] = ("8A", "8A"),
) -> TransitionContext:
    return TransitionContext(out, into, bars, 124.0, target, key_fit(*keys))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
@pytest.mark.parametrize("stems", [STEMS, ("track",)], ids=["stems", "one file"])
def test_automation_uses_only_controls_that_the_tracks_have(
    kind: TransitionKind, stems: tuple[str, ...]
) -> None:
    one, two = side(256, stems=stems), side(0, stems=stems)
    for bars in kind.BARS:
        pair = context(one, two, bars, 126.0)
        if kind.fit(pair).score <= 0:
            continue
        names = one.features.stems
        for row in kind.rows(pair):
            assert problem(row, names) == ""
            assert row.at + row.over <= pair.beats + 1e-6


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
@pytest.mark.parametrize("sung", [((60, 96), (0, 24)), ((70, 74), (6, 12)), ((0, 96), (0, 96))])
def test_proposed_transitions_have_no_clashes(
    kind: TransitionKind, sung: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    for stems in (STEMS, ("track",)):
        out = side(256, sung=[sung[0]], stems=stems)
        into = side(32, sung=[sung[1]], stems=stems)
        for bars in kind.BARS:
            made = propose(kind, context(out, into, bars), LIMIT)
            if made is not None:
                found = clashes(made.context, made.transition.rows)
                assert (found.voice_bars, found.bass_bars) == (0, 0)


def test_vocals_without_stems_clash() -> None:
    out, into = side(0, sung=[(0, 16)], stems=("a",)), side(0, sung=[(0, 16)], stems=("b",))
    pair = context(out, into)
    assert clashes(pair, blend.rows(pair)).voice_bars > 0
    assert propose(blend, pair, LIMIT) is None
    assert propose(cut, context(out, into, 0), LIMIT) is not None


def test_two_basses_clash() -> None:
    pair = context(side(96), side(96))
    assert clashes(pair, []).bass_bars == 16
    assert clashes(pair, blend.rows(pair)).bass_bars == 0
    assert clashes(pair, [AutomationPoint(0, "in", "low", 0)]).bass_bars == 0
    assert (
        clashes(
            pair, [AutomationPoint(0, "in", "bass", 0), AutomationPoint(32, "in", "bass", 1)]
        ).bass_bars
        == 8
    )


def test_a_blend_prefers_compatible_keys() -> None:
    good = rate(blend, context(side(256), side(0)), LIMIT)[0]
    near = rate(blend, context(side(256), side(0), keys=("8A", "9A")), LIMIT)[0]
    assert good > near > 0
    assert rate(blend, context(side(256), side(0), keys=("8A", "2A")), LIMIT)[0] < 0.2


@pytest.mark.parametrize("name", ["echo", "reverb", "loop", "stop", "filter", "kick.1"])
@pytest.mark.parametrize("kind", [drums_first, acappella], ids=lambda kind: kind.KIND)
def test_no_control_is_moved_in_place_of_a_stem_of_its_name(
    kind: TransitionKind, name: str
) -> None:
    def with_stem(usual: Side) -> Side:
        found = usual.features.analysis
        stems = tuple(name if one == "other" else one for one in STEMS)
        activity = {**found.activity, name: found.activity["other"]}
        features = replace(usual.features, analysis=replace(found, stems=stems, activity=activity))
        return replace(usual, features=features)

    out, into = side(64, sung=[(0, 96)]), side(0, sung=[])
    assert rate(kind, context(out, into), LIMIT)[0] > 0
    assert rate(kind, context(with_stem(out), into), LIMIT)[0] == 0
    made = propose(kind, context(out, with_stem(into)), LIMIT)
    rows = made.transition.rows if made is not None else ()
    assert name not in {row.control for row in rows if row.target == "in"}


def test_drums_first_suits_clashing_keys() -> None:
    clash = context(side(256), side(0), keys=("8A", "2A"))
    assert rate(drums_first, clash, LIMIT)[0] > rate(blend, clash, LIMIT)[0]
    assert rate(drums_first, context(side(256, stems=("a",)), side(0)), LIMIT)[0] == 0
    rows = drums_first.rows(clash)
    for beat in range(0, 64):
        both = [value(rows, target, "other", beat) for target in ("out", "in")]
        assert min(both) < 0.1, beat


def test_tracks_with_distant_tempos_are_not_played_together() -> None:
    far = context(side(256), side(0), 16, 140.0)
    assert rate(blend, far, LIMIT)[0] == 0
    assert rate(blend, replace(far, ride=True), LIMIT)[0] == 0
    none = context(side(256), side(0), 0, 140.0)
    assert rate(echo_out, none, LIMIT)[0] > rate(echo_out, context(side(256), side(0), 0), LIMIT)[0]


@pytest.mark.parametrize("kind", [cut, echo_out, loop_build], ids=lambda kind: kind.KIND)
def test_without_an_overlap_the_tempo_ride_comes_first(kind: TransitionKind) -> None:
    def clock(target: float, solo_beats: float = 128.0) -> list[tuple[float, float]]:
        out = Side(side(256).features, 256, 1.0, solo_beats)
        rows = kind.rows(context(out, side(0), 0, target))
        return [(row.at, row.over) for row in rows if row.target == "clock"]

    assert clock(128.0) == [(-64, 64)]
    assert clock(128.0, solo_beats=40.0) == [(-40, 40)]
    # Tempos too far apart, or too little time: change at once.
    assert clock(140.0) == clock(128.0, solo_beats=16.0) == [(0, 0)]
    assert clock(124.0) == []


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.BEATMATCHED], ids=lambda kind: kind.KIND
)
def test_in_a_ride_each_track_bears_half_of_the_change(kind: TransitionKind) -> None:
    far = replace(context(side(160), side(32), 8, 136.0), ride=True)
    assert far.change > 0.09
    assert far.strain == pytest.approx(0.047, abs=1e-3)
    clock = [row for row in kind.rows(far) if row.target == "clock"]
    assert [row.at for row in clock] == [-RIDE_BEATS, far.beats]
    assert [row.over for row in clock] == [RIDE_BEATS, RIDE_BEATS]
    assert [row.value for row in clock] == [pytest.approx((124 * 136) ** 0.5), 136.0]


def test_a_ride_suits_moderately_different_tempos() -> None:
    assert not can_ride(context(side(256), side(0), 16, 124.5))
    between = context(side(160), side(32), 16, 129.0)
    assert can_ride(between)
    riding = replace(between, ride=True)
    assert rate(blend, riding, LIMIT)[0] > rate(blend, between, LIMIT)[0]
    made = propose(blend, riding, LIMIT)
    assert made is not None
    assert "the clock rides +4.0 %" in made.transition.why


@pytest.mark.parametrize("short", ["out", "into"])
def test_a_ride_needs_time_before_and_after(short: str) -> None:
    pair = context(side(160), side(32), 16, 129.0)
    if short == "out":
        pair = replace(pair, out=replace(pair.out, solo_beats=MIN_RIDE_BEATS - 4))
    else:
        pair = replace(pair, into=side(384 - 64 - MIN_RIDE_BEATS + 4))
    assert not can_ride(pair)


@pytest.mark.parametrize("kind", [eq_swap, highs_out], ids=lambda kind: kind.KIND)
def test_bands_change_places_so_that_whole_mixes_may_sing_in_any_key(kind: TransitionKind) -> None:
    sung = [(0, 96)]
    out, into = side(256, sung=sung, stems=("a",)), side(64, sung=sung, stems=("b",))
    pair = context(out, into, 8, keys=("8A", "2A"))
    assert propose(blend, pair, LIMIT) is None
    made = propose(kind, pair, LIMIT)
    assert made is not None
    rows = made.transition.rows
    for beat in range(0, 32):
        for band in ("low", "mid"):
            gains = [value(rows, target, band, beat + 0.3) for target in ("out", "in")]
            assert min(gains) < 0.1, (band, beat)
            assert max(gains) > 0.9 or beat == 15, (band, beat)


def test_a_filter_blend_removes_the_bass_of_the_track_that_does_not_lead() -> None:
    out, into = side(256, stems=("a",), sung=[]), side(96, stems=("b",), sung=[])
    made = propose(filter_blend, context(out, into, 8), LIMIT)
    assert made is not None
    rows = made.transition.rows
    assert audible_gain(rows, "in", (), "bass", 8.0) == 0
    assert audible_gain(rows, "in", (), "bass", 18.0) > 0.9
    assert audible_gain(rows, "out", (), "bass", 18.0) == 0
    assert value(rows, "out", "level", 32.0) == 0


def test_the_loudness_of_a_mix_allows_for_its_eq() -> None:
    pair = context(side(256, stems=("a",)), side(96, stems=("b",)), 8)
    full = loudness_profile.loudness(pair, [], -2.0)
    mids = [AutomationPoint(-8, "out", "mid", 0)]
    assert loudness_profile.loudness(pair, mids, -2.0) == pytest.approx(full - 2.6, abs=0.05)
    nothing = [AutomationPoint(-8, "out", band, 0) for band in ("low", "mid", "high")]
    assert loudness_profile.loudness(pair, nothing, -2.0) < full - 40


def test_a_trim_offset_holds_through_the_transition_and_fades_slowly() -> None:
    pair = context(side(256, stems=("a",)), side(96, stems=("b",)), 8)
    rows = loudness_profile.trim_offset_rows(pair, -2.0, -5.0)
    assert loudness_profile.trim_at(rows, -2.0, 0.0) == -7.0
    assert loudness_profile.trim_at(rows, -2.0, pair.beats + 32) == -7.0
    assert loudness_profile.trim_at(rows, -2.0, pair.beats + 32 + 50) == pytest.approx(-4.5)
    assert loudness_profile.trim_at(rows, -2.0, pair.beats + 32 + 100) == -2.0
    assert loudness_profile.trim_at((), -2.0, 8.0) == -2.0


def test_a_cappella_suits_vocals_over_a_beat() -> None:
    pair = context(side(96, sung=[(24, 40)]), side(96, sung=[]))
    assert rate(acappella, pair, LIMIT)[0] > 0.5
    assert rate(acappella, context(side(200, sung=[]), side(96)), LIMIT)[0] == 0
    rows = acappella.rows(pair)
    assert audible_gain(rows, "out", STEMS, "bass", 1.0) == 0
    assert audible_gain(rows, "out", STEMS, "vocals", 32.0) == 1


def test_a_drop_swap_needs_a_drop_at_its_end() -> None:
    drop = side(0).features.starts("drop")[0]
    assert rate(drop_swap, context(side(256), side(drop - 32), 8), LIMIT)[0] > 0.5
    assert rate(drop_swap, context(side(256), side(drop - 28), 8), LIMIT)[0] == 0


def test_a_loop_build_needs_an_energetic_start() -> None:
    drop = side(0).features.starts("drop")[0]
    assert rate(loop_build, context(side(256), side(drop), 0), LIMIT)[0] > 0.4
    assert rate(loop_build, context(side(256), side(0), 0), LIMIT)[0] == 0


def test_both_tracks_have_to_be_long_enough() -> None:
    assert rate(blend, context(side(384 - 32), side(0)), LIMIT)[0] == 0
    assert rate(blend, context(side(256), side(384 - 64)), LIMIT)[0] == 0


def test_a_later_ramp_replaces_an_unfinished_one() -> None:
    rows = [
        AutomationPoint(0, "in", "level", 0),
        AutomationPoint(0, "in", "level", 1, 16),
        AutomationPoint(8, "in", "level", 0, 4),
    ]
    assert [value(rows, "in", "level", beat) for beat in (0, 4, 8, 10, 12, 20)] == [
        0, 0.25, 0.5, 0.25, 0, 0,
    ]  # fmt: skip
    assert value(rows, "out", "level", 3) == 1
