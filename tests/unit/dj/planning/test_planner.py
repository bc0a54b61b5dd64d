"""The planner: selection rules, reproducibility, and sets of unusual tracks."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import pytest

from crowdstream.analysis.result import Analysis, Loudness
from crowdstream.dj.autopilot.resume_state import ResumeState, resume_note, resume_of
from crowdstream.dj.autopilot.timing import without_first
from crowdstream.dj.key_compatibility import key_fit
from crowdstream.dj.planning.candidates import Candidates, of_analyses
from crowdstream.dj.planning.energy_curve import NAMED, Curve
from crowdstream.dj.planning.planner import (
    PlanError,
    Planner,
    PlanOptions,
    TrackRequest,
    entry_of,
)
from crowdstream.dj.planning.transition_search import Goal, find_transition, match_tempo_ratio
from crowdstream.dj.setfile.model import AutomationPoint, Set
from crowdstream.dj.setfile.timed_commands import all_commands, placements, tempo_map
from crowdstream.dj.setfile.writer import write_set
from crowdstream.dj.track_features import TrackFeatures
from crowdstream.dj.transitions import loudness_profile
from crowdstream.dj.transitions.base import Side, TransitionContext
from crowdstream.dj.transitions.conflicts import clashes
from tests.support.track_analyses import analysis, club

MINUTES = 25.0


def planned(
    candidates: Candidates, minutes: float = 60.0, seed: int = 1, curve: str = "wave"
) -> Set:
    return Planner(candidates, PlanOptions(minutes, seed, Curve(curve, NAMED[curve]))).plan().mix


@pytest.fixture(scope="module")
def candidates() -> Candidates:
    return club(26)


@pytest.fixture(scope="module")
def mix(candidates: Candidates) -> Set:
    return planned(candidates, MINUTES)


def test_a_set_has_the_requested_length(mix: Set) -> None:
    lasts = tempo_map(mix).second(placements(mix)[-1].end)
    assert 0.92 * MINUTES < lasts / 60 < 1.08 * MINUTES


@pytest.mark.parametrize("stems", [True, False], ids=["stems", "plain files"])
def test_most_tracks_overlap_and_no_kind_dominates(stems: bool) -> None:
    tracks = club(40) if stems else of_analyses({
        f"/{n:02}": replace(
            analysis(118.0 + n * 7 % 14, f"{n * 5 % 12 + 1}A", n * 11 % 40 / 40, stems=("track",),
                     sung=((8, 90),) if n % 2 else ()),
        )
        for n in range(40)
    })  # fmt: skip
    mix = planned(tracks, 55.0)
    made = [entry.transition for entry in mix.entries if entry.transition]
    made = [one for one in made if one.kind != "fade out"]
    kinds = [one.kind for one in made]
    assert len(kinds) > 20
    assert sum(one.bars > 0 for one in made) >= (0.75 if stems else 0.6) * len(made)
    for at in range(len(kinds) - 11):
        window = kinds[at : at + 12]
        assert max(window.count(kind) for kind in window) <= 4, window


def test_a_track_that_is_far_too_soft_does_not_follow_if_another_one_can() -> None:
    # The soft one suits the wanted energy.
    def even(level: float, below: float) -> Analysis:
        found = analysis(124.0, level=level, sung=())
        return replace(found, bar_loudness=(found.loudness.lufs - below,) * len(found.energy))

    tracks = {"/a": even(0.1, 0.0), "/soft": even(0.5, 10.0), "/c": even(0.9, 0.0)}
    planner = Planner(of_analyses(tracks))
    mix = planner.first(TrackRequest(0.0, banned=frozenset({"/soft", "/c"})))
    choice = planner.next(mix, TrackRequest(0.5))
    assert choice is not None
    assert choice.entry.path == "/c"


def test_an_overlap_is_preferred_to_an_echo_even_if_the_keys_clash() -> None:
    plain = analysis(124.0, sung=(), stems=("track",))
    out, into = (TrackFeatures(f"/{name}", name, plain) for name in "ab")
    goal = Goal(124.0, 124.0, 1.0, key_fit("8A", "2A"), 256.0, 0.06)
    found = find_transition(out, entry_of(out, 0.0, 1.0, ""), 0.0, into, goal)
    assert found is not None
    assert found.proposal.transition.bars > 0


def test_the_next_trim_starts_from_that_of_a_track_whose_ramp_is_not_over() -> None:
    tracks = {f"/{name}": analysis(124.0, sung=()) for name in "abc"}
    planner = Planner(of_analyses(tracks))
    mix = planner.first(TrackRequest())
    choice = planner.next(mix, TrackRequest())
    assert choice is not None
    mix = choice.added_to(mix)
    own = mix.entries[1].gain_db
    # The second track is 6 dB softer for as long as it plays.
    softer = (AutomationPoint(0, "in", "trim", own - 6),)
    first = replace(mix.entries[0], transition=replace(choice.transition, rows=softer))
    planned = replace(mix, entries=(first, mix.entries[1]))
    # A running DJ has dropped the first track.
    playing = without_first(planned)
    trims = []
    for known in (planned, playing, replace(playing, mix_in_rows=())):
        found = planner.next(known, TrackRequest(banned=frozenset({first.path})))
        assert found is not None
        trims.append([row.value for row in found.transition.rows if row.control == "trim"])
    # As far as a step goes unnoticed.
    unnoticed = loudness_profile.UNNOTICED_STEP_DB
    assert trims[0] == trims[1] == [pytest.approx(own - 6 + unnoticed), own]
    assert trims[2] != trims[0]
    state = ResumeState(playing, 0.0, "A")
    resumed = resume_of(json.loads(json.dumps(resume_note(state))))
    assert resumed is not None
    assert resumed.mix.mix_in_rows == softer


def test_a_transposed_track_is_played_so(candidates: Candidates) -> None:
    pair = {"/a": analysis(124.0, "8A", 0.5), "/b": analysis(124.0, "3A", 0.5)}
    planner = Planner(of_analyses(pair))
    mix = planner.first(TrackRequest(banned=frozenset({"/b"})))
    choice = planner.next(mix, TrackRequest())
    assert choice is not None
    mix = choice.added_to(mix)
    assert mix.entries[1].pitch == -1
    assert mix.entries[1].key == "8A"
    pitches = [each.args for each in all_commands(mix) if each.address == "/deck/B/pitch"]
    assert pitches == [(-1.0,)]
    assert "pitch = -1  # semitones" in write_set(mix)


def test_no_track_is_repeated(mix: Set) -> None:
    paths = [entry.path for entry in mix.entries]
    assert len(paths) > 10
    assert len(set(paths)) == len(paths)


def test_mix_in_and_mix_out_points_are_on_phrases(mix: Set, candidates: Candidates) -> None:
    for entry, place in zip(mix.entries, placements(mix), strict=True):
        features = candidates.features(entry.path)
        built = {drop - 4 * bars for drop in features.starts("drop") for bars in (4, 8, 16)}
        assert entry.enter in built | set(features.phrases)
        mix_out = entry.enter + (place.mix_out - place.begin) * entry.ratio
        assert mix_out in features.phrases
        assert place.begin % 4 == 0


def test_the_tempo_stays_within_the_limits_while_two_tracks_play(mix: Set) -> None:
    tempo = tempo_map(mix)
    for before, entry, place in zip(
        mix.entries, mix.entries[1:], placements(mix)[1:], strict=False
    ):
        assert before.transition is not None
        for beat in (place.begin, (place.begin + place.mix_in_end) / 2, place.mix_in_end):
            if not before.transition.bars:
                continue
            for each in (before, entry):
                own = each.bpm / each.ratio
                assert abs(tempo.bpm(beat) / own - 1) < 0.08 + 1e-6


def test_vocals_and_basses_never_clash(mix: Set, candidates: Candidates) -> None:
    key = Planner(candidates).next(Planner(candidates).first(TrackRequest()), TrackRequest())
    assert key is not None
    for before, after in zip(mix.entries, mix.entries[1:], strict=False):
        made = before.transition
        assert made is not None
        out = Side(candidates.features(before.path), before.leave - made.beats * before.ratio)
        into = Side(candidates.features(after.path), after.enter, after.ratio)
        context = TransitionContext(out, into, made.bars, 124.0, 124.0, None)  # type: ignore[arg-type]
        found = clashes(context, made.rows)
        assert (found.voice_bars, found.bass_bars) == (0, 0), made.kind


def test_only_the_seed_changes_a_plan(candidates: Candidates) -> None:
    first = write_set(planned(candidates, 8.0))
    assert write_set(planned(candidates, 8.0)) == first
    assert write_set(planned(candidates, 8.0, 2)) != first


def test_energy_follows_a_rising_curve(candidates: Candidates) -> None:
    mix = planned(candidates, MINUTES, curve="rise")
    energies = [candidates.energy(candidates.card(entry.path)) for entry in mix.entries]
    third = len(energies) // 3
    assert sum(energies[-third:]) / third > sum(energies[:third]) / third + 0.3


def test_transitions_vary(mix: Set) -> None:
    kinds = [entry.transition.kind for entry in mix.entries if entry.transition]
    assert len(set(kinds)) >= 4, kinds
    assert not any(len(set(kinds[at : at + 3])) == 1 for at in range(len(kinds) - 2)), kinds


def test_clashing_keys_are_rarely_adjacent(mix: Set) -> None:
    pairs = list(pairwise(mix.entries))
    clashing = [(one.key, two.key) for one, two in pairs if key_fit(one.key, two.key).cost >= 1]
    assert len(clashing) <= len(pairs) // 8, clashing


def test_a_step_in_loudness_is_smoothed_by_the_trim() -> None:
    quiet = of_analyses({"/loud": analysis(124), "/soft": replace(
        analysis(124), loudness=Loudness(-30.0, 0.0))})  # fmt: skip
    mix = planned(quiet, 6)
    soft = next(entry for entry in mix.entries if entry.path == "/soft")
    assert soft.gain_db == 3.0  # limited by its peaks, so it stays 11 dB below the other track
    made = mix.entries[0].transition
    assert made is not None
    trims = [row for row in made.rows if row.control == "trim"]
    assert [row.over > 0 for row in trims] == [False, True]
    wanted = mix.entries[1].gain_db
    assert (trims[0].value < wanted) == (mix.entries[1].path == "/loud")
    assert trims[1].value == wanted


def test_duplicates_under_another_name_are_not_played() -> None:
    fingerprint = "0f" * 128
    near = "0f" * 120 + "ff" * 8
    other = "f0" * 128
    candidates = of_analyses({
        f"/{name}": replace(analysis(124 + n), fingerprint=code)
        for n, (name, code) in enumerate((("a", fingerprint), ("a again", near), ("b", other)))
    })  # fmt: skip
    names = [entry.path for entry in planned(candidates, 30).entries]
    assert len(names) == 2
    assert "/b" in names
    # An endless mix repeats it, however.
    same = replace(analysis(124), fingerprint=fingerprint)
    planner = Planner(of_analyses({"/a": same, "/b": same}))
    assert planner.next(planner.first(TrackRequest()), TrackRequest()) is None
    assert planner.next(planner.first(TrackRequest()), TrackRequest(allow_repeats=True)) is not None


def test_tempos_are_matched_in_half_or_double_time_only_if_close() -> None:
    assert match_tempo_ratio(125.0, 190.0) == (1.0, 125.0)
    assert match_tempo_ratio(95.0, 190.0) == (0.5, 190.0)
    assert match_tempo_ratio(172.0, 87.0) == (2.0, 86.0)
    # A tempo that does not match the clock is matched to the requested tempo.
    assert match_tempo_ratio(65.0, 110.0) == match_tempo_ratio(65.0, 110.0, 95.0) == (1.0, 65.0)
    assert match_tempo_ratio(65.0, 110.0, 128.0) == (0.5, 130.0)


def test_commands_are_sorted_and_start_at_beat_0(mix: Set) -> None:
    commands = all_commands(mix)
    assert all(command.beat >= 0 for command in commands)
    assert [command.beat for command in commands] == sorted(command.beat for command in commands)


def test_60_and_171_bpm_are_not_blended() -> None:
    candidates = of_analyses({"/slow": analysis(60, bars=48), "/fast": analysis(171, bars=96)})
    mix = planned(candidates, 5)
    assert len(mix.entries) == 2
    made = mix.entries[0].transition
    assert made is not None
    assert made.bars == 0


def test_half_the_tempo_counts_as_the_same_tempo() -> None:
    candidates = of_analyses({"/a": analysis(172.0, bars=128), "/b": analysis(87.0, bars=64)})
    mix = planned(candidates, 8)
    tempo = tempo_map(mix)
    assert {entry.ratio for entry in mix.entries} in ({1.0, 2.0}, {1.0, 0.5})
    first, last = tempo.bpm(0), tempo.bpm(placements(mix)[-1].end)
    assert abs(last / first - 1) < 0.02


def test_a_track_plays_at_its_own_speed_if_its_tempo_has_just_been_corrected() -> None:
    tracks = {"/a": analysis(170.0), "/b": analysis(85.3)}
    candidates = of_analyses(tracks)
    planner = Planner(candidates)
    mix = planner.first(TrackRequest(banned=frozenset({"/b"})))
    tracks["/b"] = analysis(128.0)  # analysed again since the list was read
    choice = planner.next(mix, TrackRequest())
    assert choice is not None
    made = choice.added_to(mix)
    clock = tempo_map(made).bpm(placements(made)[-1].end)
    assert clock * choice.entry.ratio / choice.entry.bpm == pytest.approx(1.0, abs=0.09)


@pytest.mark.parametrize("kind", ["beatless", "short", "long", "single files", "voices all over"])
def test_unusual_tracks_are_played_too(kind: str) -> None:
    odd = {
        "beatless": analysis(0.0, key="", bars=60),
        "short": analysis(120, bars=3, sung=()),
        "long": analysis(124, bars=5000),
        "single files": analysis(125, stems=("track",)),
        "voices all over": analysis(125, stems=("track",), sung=((0, 96),)),
    }[kind]
    found = {f"/club/{number}": analysis(122 + number) for number in range(3)}
    mix = planned(of_analyses({**found, "/odd": odd}), 240)
    assert "/odd" in {entry.path for entry in mix.entries}
    for entry, place in zip(mix.entries, placements(mix), strict=True):
        assert entry.leave > entry.enter
        assert place.mix_out >= place.mix_in_end


def test_no_mix_starts_with_a_track_of_less_than_a_bar_of_sound() -> None:
    click = replace(analysis(124.0, level=0.5), silences=((1.5, 186.0),))
    tracks = {"/click": click, "/a": analysis(124.0, level=0.1), "/b": analysis(124.0, level=0.9)}
    for energy in (0.0, 0.3, 0.5, 0.7, 1.0):
        mix = Planner(of_analyses(tracks)).first(TrackRequest(energy))
        assert mix.entries[0].path != "/click"
    assert Planner(of_analyses({"/click": click})).first(TrackRequest()).entries


def test_a_single_track_makes_a_set() -> None:
    made = Planner(of_analyses({"/only": analysis()}), PlanOptions(60)).plan()
    assert len(made.mix.entries) == 1
    assert "the only track" in made.notes[0]


def test_too_few_tracks_give_a_note() -> None:
    made = Planner(club(4), PlanOptions(60)).plan()
    assert len(made.mix.entries) == 4
    assert "add more tracks" in made.notes[0]


def test_without_playable_tracks_the_reason_is_reported() -> None:
    with pytest.raises(PlanError, match="analyze FOLDER"):
        Planner(of_analyses({})).plan()
    candidates = of_analyses({"/s": analysis(silent=True), "/t": analysis(120, bars=1)})
    with pytest.raises(PlanError, match=r"the track is silent.*the track lasts only"):
        Planner(candidates).plan()


def test_an_endless_mix_repeats_the_oldest_tracks() -> None:
    planner = Planner(club(5))
    mix = planner.first(TrackRequest())
    for _ in range(20):
        choice = planner.next(mix, TrackRequest(allow_repeats=True, seconds=90))
        assert choice is not None
        mix = choice.added_to(mix)
    paths = [entry.path for entry in mix.entries]
    for at in range(2, len(paths)):
        assert paths[at] not in paths[at - 2 : at]
    assert planner.next(mix, TrackRequest()) is None


def test_of_very_many_tracks_the_seed_samples_some(
    candidates: Candidates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crowdstream.dj.planning.planner.MAX_RANKED", 4)
    monkeypatch.setattr("crowdstream.dj.planning.track_order.MAX_CARDS", 8)
    mix = planned(candidates, 10.0)
    assert len(mix.entries) >= 5
    assert write_set(planned(candidates, 10.0)) == write_set(mix)
    assert tempo_map(mix).second(placements(mix)[-1].end) > 9 * 60


def test_banned_tracks_are_not_chosen(candidates: Candidates) -> None:
    planner = Planner(candidates)
    mix = planner.first(TrackRequest())
    choice = planner.next(mix, TrackRequest())
    assert choice is not None
    other = planner.next(mix, TrackRequest(banned=frozenset([choice.entry.path])))
    assert other is not None
    assert other.entry.path != choice.entry.path


def test_a_requested_tempo_is_followed_within_the_limits_of_the_track(
    candidates: Candidates,
) -> None:
    planner = Planner(candidates)
    mix = planner.first(TrackRequest())
    for tempo in (128.0, 128.0, 128.0):
        choice = planner.next(mix, TrackRequest(tempo=tempo))
        assert choice is not None
        mix = choice.added_to(mix)
    assert tempo_map(mix).bpm(placements(mix)[-1].end) == pytest.approx(128.0)
