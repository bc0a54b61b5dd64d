"""The DJ at work: it mixes on phrases, and plays on through all that can go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from crowdstream.control.movement_file import read_map
from crowdstream.dj.live.chooser import Chooser, Endless, Fixed
from crowdstream.dj.live.floor import Floor
from crowdstream.dj.live.session import Session
from crowdstream.dj.planner import Planner, Wishes
from crowdstream.dj.sets import Row, Transition
from crowdstream.dj.shelf import of_analyses
from crowdstream.settings.files import PRESETS
from tests.dj.night import BPM, Night, made, plays
from tests.dj.support import analysis
from tests.support_control import ME


@pytest.fixture
def night() -> Iterator[Night]:
    with Night() as made:
        yield made


def meeting(night: Night, out: str, into: str) -> float:
    """The beat of the grid of deck `out` at which deck `into` begins, at its own beat 0."""
    night.until(lambda: night.deck(into, "state") == "playing")
    status = night.status()
    assert abs(status[f"deck.{into}.phase"]) < 1e-3 > abs(status[f"deck.{out}.phase"])
    return float(status[f"deck.{out}.beat"] - status[f"deck.{into}.beat"])


def endless(folder: Path, names: str, bpm: float = BPM) -> Endless:
    """A library of short tracks of different energy, `a` the calmest."""
    paths = [entry.path for entry in made(folder, names, beats=100, bpm=bpm).entries]
    keys = ("8A", "9A", "8A", "7A")
    shelf = of_analyses({
        path: analysis(bpm, keys[number % 4], number / len(paths), 24, (), sung=())
        for number, path in enumerate(paths)
    })  # fmt: skip
    return Endless(lambda cards: Planner(cards, Wishes()), lambda: shelf, lambda: 0.0)


def ask(night: Night, word: str, *arguments: object) -> str:
    """Tell the DJ something as a person does; why it does not, or nothing."""
    night.answers.said.clear()
    night.send(f"/dj/{word}", *arguments)
    night.until(lambda: night.heard("/done") or night.fails(), 10.0)
    return "".join(night.fails())


# Playing -------------------------------------------------------------------------------------


def test_it_mixes_on_the_beat_where_the_set_says_so_to_the_end(
    night: Night, tmp_path: Path
) -> None:
    dj = night.join(Fixed(made(tmp_path, "abc")))
    night.until(lambda: plays(dj) == "a")
    assert meeting(night, "A", "B") == pytest.approx(40.0, abs=1e-3)
    assert night.status()["deck.B.low"] == 0.0
    assert meeting(night, "B", "C") == pytest.approx(40.0, abs=1e-3)
    night.until(lambda: plays(dj) == "c")
    assert night.deck("B", "low") == 0.0 and night.deck("C", "low") == 1.0
    night.until(lambda: dj.player.finished)
    assert len(night.holes) == 1, "only the one before the first track"
    assert night.fails() == []


@pytest.mark.parametrize("bad", ["no sound at all", ""])
def test_a_file_that_is_bad_or_gone_is_left_out(night: Night, tmp_path: Path, bad: str) -> None:
    mix = made(tmp_path, "abc")
    path = Path(mix.entries[1].path)
    path.write_text(bad) if bad else path.unlink()
    dj = night.join(Fixed(mix))
    night.until(lambda: plays(dj) == "a")
    assert meeting(night, "A", "B") == pytest.approx(40.0, abs=1e-3)
    night.until(lambda: plays(dj) == "c")
    assert list(dj.player.bad) == [str(path)] and len(night.holes) == 1


def test_the_phrase_goes_round_until_a_late_load_is_there(night: Night, tmp_path: Path) -> None:
    dj = night.join(Fixed(made(tmp_path, "ab")))
    night.until(lambda: plays(dj) == "a" and dj.player.stage == "none")
    night.pages_a_block = 0
    night.until(lambda: "goes round: the next one is still loading" in dj.player.note)
    night.until(lambda: night.deck("A", "beat") < 20.0)  # back from 40 to 8
    night.pages_a_block = 1000
    assert meeting(night, "A", "B") == pytest.approx(40.0, abs=1e-3)
    assert len(night.holes) == 1


def test_a_load_that_never_comes_is_given_up(night: Night, tmp_path: Path) -> None:
    chooser = endless(tmp_path, "abc")
    dj = night.join(chooser)
    night.until(lambda: plays(dj) and dj.player.stage == "loading")
    mix = dj.player.mix
    assert mix is not None
    stuck = mix.entries[1].path
    dj.player.decks[1] = "?"  # so nobody says that it is done
    night.until(lambda: stuck in dj.player.bad)
    night.until(lambda: dj.player.stage == "going")
    assert dj.player.mix is not None
    assert dj.player.mix.entries[1].path != stuck and len(night.holes) == 1


def test_an_empty_folder_is_waited_for(night: Night, tmp_path: Path) -> None:
    full = endless(tmp_path, "a")
    shelves = [of_analyses({}), full._shelf()]
    dj = night.join(Endless(Planner, lambda: shelves[0], lambda: 0.5))
    night.until(lambda: "there is no track to play" in dj.player.note)
    shelves.reverse()
    night.until(lambda: plays(dj) == "a", 10.0)


def test_one_track_is_mixed_into_itself_without_an_end(night: Night, tmp_path: Path) -> None:
    dj = night.join(endless(tmp_path, "a"))
    night.until(lambda: len(dj.player.history) == 4)
    assert len(night.holes) == 1


@pytest.mark.parametrize("dies", [False, True])
def test_a_repeat_gives_way_to_what_is_analysed_meanwhile(
    night: Night, tmp_path: Path, dies: bool
) -> None:
    full = endless(tmp_path, "abc")
    shelves = [of_analyses({}), full._shelf()]
    path = shelves[1].cards[0].path
    shelves[0] = of_analyses({path: shelves[1].facts(path).analysis})
    chooser = Endless(lambda cards: Planner(cards, Wishes()), lambda: shelves[0], lambda: 0.0)
    dj = night.join(chooser)
    night.until(lambda: coming(dj) == "a" and dj.player.stage == "ready")
    if dies:
        night.seconds(1.0)
        night.leave(dj)
        dj = night.join(chooser)
        night.until(lambda: coming(dj) == "a")
    shelves.reverse()
    night.until(lambda: coming(dj) in ("b", "c"), 15.0)
    night.until(lambda: plays(dj) in ("b", "c"))
    assert len(night.holes) == 1


def test_a_long_night_repeats_nothing_before_all_were_played_and_stays_small(
    night: Night, tmp_path: Path
) -> None:
    dj = night.join(endless(tmp_path, "abcd"))
    longest = 0
    while len(dj.player.history) < 8:
        night.step()
        longest = max(longest, len(dj.player.mix.entries) if dj.player.mix else 0)
    played = dj.player.history
    assert len(set(played[:4])) == 4
    assert all(one not in played[at - 2 : at] for at, one in enumerate(played) if at > 1)
    assert longest == 2 and len(night.holes) == 1


def test_a_dj_that_dies_is_followed_by_another_that_plays_the_rest(
    night: Night, tmp_path: Path
) -> None:
    mix = made(tmp_path, "abcd")
    one = night.join(Fixed(mix))
    night.until(lambda: plays(one) == "b" and one.player.stage == "ready")
    assert ask(night, "hold", 1) == ""
    night.seconds(1.0)
    night.leave(one)
    night.seconds(15.0)  # the phrase goes round without anybody
    assert night.deck("B", "state") == "playing" and night.deck("B", "loop")
    two = night.join(Fixed(mix))
    night.until(lambda: plays(two) == "b", 5.0)
    assert "goes on where" in two.player.note and two.player.holding
    assert ask(night, "hold", 0) == ""
    assert meeting(night, "B", "C") == pytest.approx(40.0, abs=1e-3)
    night.until(lambda: plays(two) == "d")
    night.until(lambda: two.player.finished)
    assert len(night.holes) == 1


def test_a_dj_that_dies_in_a_transition_leaves_it_to_the_next_one(
    night: Night, tmp_path: Path
) -> None:
    mix = made(tmp_path, "abc")
    one = night.join(Fixed(mix))
    night.until(lambda: plays(one) == "a")
    night.until(lambda: night.deck("B", "beat") > 1.0)
    night.leave(one)
    two = night.join(Fixed(mix))
    night.until(lambda: plays(two) == "b")
    night.seconds(1.0)
    assert night.deck("A", "state") != "playing" and night.deck("B", "low") == 1.0
    assert meeting(night, "B", "C") == pytest.approx(40.0, abs=1e-3)
    assert len(night.holes) == 1


@pytest.mark.parametrize(
    ("killed", "track", "phrase"),
    [(40.0, "a", 32.0), (87.5, "a", 64.0), (94.0, "a", 64.0), (101.0, "b", 0.0)],
)
def test_a_server_that_comes_back_goes_on_with_what_was_heard(
    night: Night, tmp_path: Path, killed: float, track: str, phrase: float
) -> None:
    dj = night.join(Fixed(made(tmp_path, "abc", beats=112, leave=104.0)))
    night.until(lambda: plays(dj) == "a" and night.deck("A", "beat") > killed)
    night.seconds(0.4)  # it has heard of that
    with Night() as after:
        night.die(dj, 4.0, after)
        after.until(lambda: after.deck("A", "state") == "playing", 6.0)
        status = after.status()
        assert status["deck.A.track"] == track and status["bpm"] == BPM
        assert phrase <= status["deck.A.beat"] < phrase + 0.5 and abs(status["deck.A.phase"]) < 1e-3
        assert meeting(after, "A", "B") == pytest.approx(96.0, abs=1e-3)
        assert len(after.holes) == 1


# People --------------------------------------------------------------------------------------


def test_a_person_has_a_deck_until_it_is_given_back(night: Night, tmp_path: Path) -> None:
    dj = night.join(Fixed(made(tmp_path, "ab")))
    night.until(lambda: plays(dj) == "a" and dj.player.stage == "ready")
    night.until(lambda: night.deck("A", "beat") > 14.0)
    night.send("/deck/A/eq/mid", 0.5)
    night.until(lambda: "A" in dj.player.hands, 1.0)
    night.seconds(20.0)
    assert plays(dj) == "a" and night.deck("B", "state") == "ready"
    assert night.deck("A", "mid") == 0.5 and "in a person's hands" in dj.player.note
    night.send("/deck/A/seek/beat", 2.0)  # it goes on from there, too
    night.seconds(0.5)
    assert ask(night, "give", "A") == ""
    assert meeting(night, "A", "B") == pytest.approx(40.0, abs=1e-3)
    assert len(night.holes) == 1


def test_a_person_has_the_tempo_until_it_is_given_back(night: Night, tmp_path: Path) -> None:
    mix = made(tmp_path, "ab")
    assert mix.entries[0].transition is not None
    rows = mix.entries[0].transition.rows
    dj = night.join(Fixed(mix))
    night.until(lambda: plays(dj) == "a" and night.deck("A", "beat") > 14.0)
    night.send("/clock/tempo", 220.0)
    night.until(lambda: "tempo" in dj.player.hands, 1.0)
    assert len(rows) and meeting(night, "A", "B") == pytest.approx(40.0, abs=1e-3)
    assert night.status()["bpm"] == 220.0
    assert ask(night, "give", "tempo") == "" and "tempo" not in dj.player.hands


def test_a_person_who_stops_what_plays_gets_the_next_track(night: Night, tmp_path: Path) -> None:
    dj = night.join(Fixed(made(tmp_path, "abc")))
    night.until(lambda: plays(dj) == "a" and night.deck("A", "beat") > 14.0)
    night.send("/deck/A/stop")
    night.until(lambda: plays(dj) == "b", 8.0)
    assert len(night.holes) == 2 and night.holes[1][1] < 6.0


def test_next_comes_with_the_next_phrase(night: Night, tmp_path: Path) -> None:
    mix = made(tmp_path, "ab", beats=208, leave=200.0)
    dj = night.join(Fixed(mix))
    night.until(lambda: night.core.dj.there)
    assert "nothing plays yet" in ask(night, "next")
    night.until(lambda: plays(dj) == "a" and dj.player.stage == "ready")
    assert ask(night, "next") == ""
    assert meeting(night, "A", "B") == pytest.approx(16.0, abs=1e-3)


def test_a_phrase_that_was_to_be_the_last_one_goes_round_when_it_is_held(
    night: Night, tmp_path: Path
) -> None:
    dj = night.join(Fixed(made(tmp_path, "ab", beats=208, leave=200.0)))
    night.until(lambda: plays(dj) == "a" and dj.player.stage == "ready")
    assert ask(night, "next") == "" == ask(night, "hold", 1)
    night.seconds(10.0)
    assert night.deck("A", "beat") < 16.0
    assert ask(night, "hold", 0) == ""
    assert meeting(night, "A", "B") == pytest.approx(16.0, abs=1e-3)


def test_a_deck_taken_in_a_transition_is_left_alone(night: Night, tmp_path: Path) -> None:
    mix = made(tmp_path, "ab", beats=112, leave=64.0)
    rows = (Row(0, "in", "low", 0.0), Row(28, "in", "low", 1.0), Row(28, "out", "low", 0.0))
    way = Transition("bass swap", 8, rows)
    entries = (replace(mix.entries[0], transition=way), *mix.entries[1:])
    dj = night.join(Fixed(replace(mix, entries=entries)))
    meeting(night, "A", "B")
    night.send("/deck/B/eq/low", 0.3)
    night.until(lambda: plays(dj) == "b")
    assert night.deck("B", "low") == pytest.approx(0.3) and night.deck("A", "low") == 0.0


def test_hold_stays_and_lets_go(night: Night, tmp_path: Path) -> None:
    dj = night.join(Fixed(made(tmp_path, "ab")))
    night.until(lambda: plays(dj) == "a")
    assert ask(night, "hold", 1) == ""
    night.seconds(20.0)
    assert plays(dj) == "a" and night.deck("B", "state") == "ready"
    assert ask(night, "hold", 0) == ""
    assert meeting(night, "A", "B") == pytest.approx(40.0, abs=1e-3)
    assert len(night.holes) == 1


def coming(dj: Session) -> str:
    mix = dj.player.mix
    return Path(mix.entries[1].path).stem if mix is not None and len(mix.entries) > 1 else ""


@pytest.fixture
def endless_dj(night: Night, tmp_path: Path) -> Session:
    """In its first track, the calmest; the next one is loaded."""
    dj = night.join(endless(tmp_path, "abcdef"))
    night.until(lambda: plays(dj) == "a" and dj.player.stage == "ready")
    return dj


def test_skip_takes_another_next_track(night: Night, endless_dj: Session) -> None:
    first = coming(endless_dj)
    assert ask(night, "skip") == ""
    night.until(lambda: coming(endless_dj) not in ("", first), 2.0)


def test_energy_chooses_among_tracks_until_it_is_auto(night: Night, endless_dj: Session) -> None:
    assert ask(night, "energy", 1.0) == "" and endless_dj.player.energy == 1.0
    night.until(lambda: len(endless_dj.player.history) == 2 and coming(endless_dj))
    assert coming(endless_dj) in "ef"
    assert ask(night, "energy", "auto") == "" and endless_dj.player.energy is None


def test_queue_plays_wishes_next_in_their_order(night: Night, endless_dj: Session) -> None:
    assert "knows no such track" in ask(night, "queue", "nothing")
    assert ask(night, "queue", "e.wav") == ""
    night.until(lambda: coming(endless_dj) == "e" and endless_dj.player.stage == "ready", 2.0)
    assert ask(night, "queue", "f.wav") == "" == ask(night, "queue", "b.wav")
    night.until(lambda: plays(endless_dj) == "b")
    names = [Path(path).stem for path in endless_dj.player.history]
    assert names == ["a", "e", "f", "b"]


def test_ban_keeps_a_track_out_and_leads_on_from_what_plays(
    night: Night, endless_dj: Session
) -> None:
    first = coming(endless_dj)
    assert ask(night, "ban", f"{first}.wav") == ""
    night.until(lambda: coming(endless_dj) not in ("", first), 2.0)
    night.until(lambda: endless_dj.player.stage == "ready", 2.0)
    assert ask(night, "ban") == ""
    night.until(lambda: plays(endless_dj) != "a", 20.0)
    night.until(lambda: len(endless_dj.player.history) == 7)
    assert not {"a", first} & {Path(path).stem for path in endless_dj.player.history[1:]}


# The crowd -----------------------------------------------------------------------------------


def crowd(night: Night, movement: float, seconds: float) -> list[float]:
    """Movement is told ten times a second; the tempo of each second."""
    tempi = []
    for tenth in range(round(10 * seconds)):
        night.send("/dance/total_movement", movement, sender=ME)
        night.seconds(0.1)
        if tenth % 10 == 9:
            tempi.append(float(night.status()["bpm"]))
    return tempi


def test_the_crowd_moves_the_tempo_within_the_comfort_of_the_track(tmp_path: Path) -> None:
    chart = replace(read_map(PRESETS / "crowd.toml", 120.0), silent_seconds=5.0)
    with Night(bpm=120.0) as night:
        chooser: Chooser = endless(tmp_path, "a", 120.0)
        dj = night.join(chooser, Floor(chart))
        night.until(lambda: plays(dj) == "a")
        up = crowd(night, 0.6, 12.0)
        assert up == sorted(up) and up[-1] == pytest.approx(120.0 * 1.08, abs=0.01)
        assert up[5] - up[4] == pytest.approx(25.0 / 20.0, abs=0.02), "attack: 25 BPM in 20 s"
        assert dj.player.asked(night.time).energy == pytest.approx(1.0, abs=0.01)
        down = crowd(night, 0.0, 25.0)
        assert down[-1] == pytest.approx(120.0 * 0.92, abs=0.01), "not 105: the track would suffer"
        assert down[5] - down[6] == pytest.approx(25.0 / 30.0, abs=0.02), "release: 25 BPM in 30 s"
        night.seconds(22.0)
        assert night.status()["bpm"] == pytest.approx(120.0), "nobody tells of it: the plan's"
        assert len(night.holes) == 1
