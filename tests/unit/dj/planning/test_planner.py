"""Planning: what is chosen, and what is never done."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from crowdstream.analysis.result import Loudness
from crowdstream.dj.key_compatibility import key_fit
from crowdstream.dj.planning.candidates import Candidates, of_analyses
from crowdstream.dj.planning.energy_curve import NAMED, Curve
from crowdstream.dj.planning.planner import PlanError, Planner, Wish, Wishes
from crowdstream.dj.planning.transition_search import fold
from crowdstream.dj.setfile.model import Set
from crowdstream.dj.setfile.timed_commands import all_moves, places, tempo_map
from crowdstream.dj.setfile.writer import write_set
from crowdstream.dj.transitions.base import Side, TransitionContext
from crowdstream.dj.transitions.conflicts import clashes
from tests.support.track_analyses import analysis, club

MINUTES = 25.0


def planned(shelf: Candidates, minutes: float = 60.0, seed: int = 1, curve: str = "wave") -> Set:
    return Planner(shelf, Wishes(minutes, seed, Curve(curve, NAMED[curve]))).plan().mix


@pytest.fixture(scope="module")
def shelf() -> Candidates:
    return club(26)


@pytest.fixture(scope="module")
def mix(shelf: Candidates) -> Set:
    return planned(shelf, MINUTES)


def test_it_lasts_as_long_as_wished(mix: Set) -> None:
    lasts = tempo_map(mix).second(places(mix)[-1].end)
    assert 0.92 * MINUTES < lasts / 60 < 1.08 * MINUTES


def test_no_track_comes_twice(mix: Set) -> None:
    paths = [entry.path for entry in mix.entries]
    assert len(paths) > 10
    assert len(set(paths)) == len(paths)


def test_tracks_enter_and_leave_on_phrases(mix: Set, shelf: Candidates) -> None:
    for entry, place in zip(mix.entries, places(mix), strict=True):
        facts = shelf.facts(entry.path)
        built = {drop - 4 * bars for drop in facts.starts("drop") for bars in (4, 8, 16)}
        assert entry.enter in built | set(facts.phrases)
        going = entry.enter + (place.going - place.begin) * entry.ratio
        assert going in facts.phrases
        assert place.begin % 4 == 0


def test_the_tempo_stays_within_comfort_while_two_play(mix: Set) -> None:
    tempo = tempo_map(mix)
    for before, entry, place in zip(mix.entries, mix.entries[1:], places(mix)[1:], strict=False):
        assert before.transition is not None
        for beat in (place.begin, (place.begin + place.alone) / 2, place.alone):
            if not before.transition.bars:
                continue
            for each in (before, entry):
                own = each.bpm / each.ratio
                assert abs(tempo.bpm(beat) / own - 1) < 0.08 + 1e-6


def test_voices_and_basses_never_meet(mix: Set, shelf: Candidates) -> None:
    key = Planner(shelf).next(Planner(shelf).first(Wish()), Wish())
    assert key is not None
    for before, after in zip(mix.entries, mix.entries[1:], strict=False):
        made = before.transition
        assert made is not None
        out = Side(shelf.facts(before.path), before.leave - made.beats * before.ratio)
        into = Side(shelf.facts(after.path), after.enter, after.ratio)
        meeting = TransitionContext(out, into, made.bars, 124.0, 124.0, None)  # type: ignore[arg-type]
        found = clashes(meeting, made.rows)
        assert (found.voice_bars, found.bass_bars) == (0, 0), made.kind


def test_the_seed_decides_and_nothing_else(shelf: Candidates) -> None:
    first = write_set(planned(shelf, 8.0))
    assert write_set(planned(shelf, 8.0)) == first
    assert write_set(planned(shelf, 8.0, 2)) != first


def test_energy_rises_along_the_curve(shelf: Candidates) -> None:
    mix = planned(shelf, MINUTES, curve="rise")
    energies = [shelf.energy(shelf.card(entry.path)) for entry in mix.entries]
    third = len(energies) // 3
    assert sum(energies[-third:]) / third > sum(energies[:third]) / third + 0.3


def test_transitions_change(mix: Set) -> None:
    kinds = [entry.transition.kind for entry in mix.entries if entry.transition]
    assert len(set(kinds)) >= 4, kinds
    assert not any(len(set(kinds[at : at + 3])) == 1 for at in range(len(kinds) - 2)), kinds


def test_keys_that_clash_are_seldom_neighbours(mix: Set) -> None:
    pairs = list(pairwise(mix.entries))
    clashing = [(one.key, two.key) for one, two in pairs if key_fit(one.key, two.key).cost >= 1]
    assert len(clashing) <= len(pairs) // 8, clashing


def test_a_step_in_loudness_is_taken_up_by_the_trim() -> None:
    quiet = of_analyses({"/loud": analysis(124), "/soft": replace(
        analysis(124), loudness=Loudness(-30.0, 0.0))})  # fmt: skip
    mix = planned(quiet, 6)
    soft = next(entry for entry in mix.entries if entry.path == "/soft")
    assert soft.gain_db == 3.0  # as far as its peaks allow, which leaves it 11 dB below the other
    made = mix.entries[0].transition
    assert made is not None
    trims = [row for row in made.rows if row.control == "trim"]
    assert [row.over > 0 for row in trims] == [False, True]
    wanted = mix.entries[1].gain_db
    assert (trims[0].value < wanted) == (mix.entries[1].path == "/loud")
    assert trims[1].value == wanted


def test_the_same_music_under_another_name_does_not_come() -> None:
    mark = "0f" * 128
    near = "0f" * 120 + "ff" * 8
    other = "f0" * 128
    shelf = of_analyses({
        f"/{name}": replace(analysis(124 + n), fingerprint=print_)
        for n, (name, print_) in enumerate((("a", mark), ("a again", near), ("b", other)))
    })  # fmt: skip
    names = [entry.path for entry in planned(shelf, 30).entries]
    assert len(names) == 2
    assert "/b" in names
    # But a night without an end goes on.
    same = replace(analysis(124), fingerprint=mark)
    planner = Planner(of_analyses({"/a": same, "/b": same}))
    assert planner.next(planner.first(Wish()), Wish()) is None
    assert planner.next(planner.first(Wish()), Wish(again=True)) is not None


def test_an_odd_tempo_is_not_counted_at_double_speed() -> None:
    assert fold(125.0, 190.0) == (1.0, 125.0)
    assert fold(95.0, 190.0) == (0.5, 190.0)
    assert fold(172.0, 87.0) == (2.0, 86.0)
    # What goes with the clock in no way is counted as it goes with the tempo that is wished for.
    assert fold(65.0, 110.0) == fold(65.0, 110.0, 95.0) == (1.0, 65.0)
    assert fold(65.0, 110.0, 128.0) == (0.5, 130.0)


def test_every_command_stands_at_a_beat_from_0_on(mix: Set) -> None:
    moves = all_moves(mix)
    assert all(move.beat >= 0 for move in moves)
    assert [move.beat for move in moves] == sorted(move.beat for move in moves)


def test_60_next_to_200_is_no_blend() -> None:
    shelf = of_analyses({"/slow": analysis(60, bars=48), "/fast": analysis(171, bars=96)})
    mix = planned(shelf, 5)
    assert len(mix.entries) == 2
    made = mix.entries[0].transition
    assert made is not None
    assert made.bars == 0


def test_half_of_a_tempo_is_the_same_tempo() -> None:
    shelf = of_analyses({"/a": analysis(172.0, bars=128), "/b": analysis(87.0, bars=64)})
    mix = planned(shelf, 8)
    tempo = tempo_map(mix)
    assert {entry.ratio for entry in mix.entries} in ({1.0, 2.0}, {1.0, 0.5})
    first, last = tempo.bpm(0), tempo.bpm(places(mix)[-1].end)
    assert abs(last / first - 1) < 0.02


@pytest.mark.parametrize("kind", ["beatless", "short", "long", "single files", "voices all over"])
def test_odd_tracks_are_played_too(kind: str) -> None:
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
    for entry, place in zip(mix.entries, places(mix), strict=True):
        assert entry.leave > entry.enter
        assert place.going >= place.alone


def test_a_single_track_is_a_set() -> None:
    made = Planner(of_analyses({"/only": analysis()}), Wishes(60)).plan()
    assert len(made.mix.entries) == 1
    assert "only one track" in made.notes[0]


def test_too_few_tracks_are_told() -> None:
    made = Planner(club(4), Wishes(60)).plan()
    assert len(made.mix.entries) == 4
    assert "add more tracks" in made.notes[0]


def test_nothing_to_play_is_told_with_its_reason() -> None:
    with pytest.raises(PlanError, match="analyze FOLDER"):
        Planner(of_analyses({})).plan()
    shelf = of_analyses({"/s": analysis(silent=True), "/t": analysis(120, bars=1)})
    with pytest.raises(PlanError, match=r"it is silent.*it lasts only"):
        Planner(shelf).plan()


def test_for_ever_the_oldest_come_again() -> None:
    planner = Planner(club(5))
    mix = planner.first(Wish())
    for _ in range(20):
        choice = planner.next(mix, Wish(again=True, seconds=90))
        assert choice is not None
        mix = choice.added_to(mix)
    paths = [entry.path for entry in mix.entries]
    for at in range(2, len(paths)):
        assert paths[at] not in paths[at - 2 : at]
    assert planner.next(mix, Wish()) is None


def test_of_very_many_tracks_the_seed_takes_some(
    shelf: Candidates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crowdstream.dj.planning.planner.MAX_RANKED", 4)
    monkeypatch.setattr("crowdstream.dj.planning.track_order.MAX_CARDS", 8)
    mix = planned(shelf, 10.0)
    assert len(mix.entries) >= 5
    assert write_set(planned(shelf, 10.0)) == write_set(mix)
    assert tempo_map(mix).second(places(mix)[-1].end) > 9 * 60


def test_banned_tracks_do_not_come(shelf: Candidates) -> None:
    planner = Planner(shelf)
    mix = planner.first(Wish())
    choice = planner.next(mix, Wish())
    assert choice is not None
    other = planner.next(mix, Wish(banned=frozenset([choice.entry.path])))
    assert other is not None
    assert other.entry.path != choice.entry.path


def test_a_wished_tempo_is_followed_as_far_as_the_track_is_comfortable(shelf: Candidates) -> None:
    planner = Planner(shelf)
    mix = planner.first(Wish())
    for wished in (128.0, 128.0, 128.0):
        choice = planner.next(mix, Wish(tempo=wished))
        assert choice is not None
        mix = choice.added_to(mix)
    assert tempo_map(mix).bpm(places(mix)[-1].end) == pytest.approx(128.0)
