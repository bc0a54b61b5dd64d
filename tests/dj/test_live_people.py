"""The DJ among people: their hands, their words, and how much they dance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from crowdstream.control.movement_file import read_map
from crowdstream.dj.live.chooser import Chooser, Fixed
from crowdstream.dj.live.floor import Floor
from crowdstream.dj.live.session import Session
from crowdstream.dj.sets import Row, Transition
from crowdstream.settings.files import PRESETS
from tests.dj.night import Night, ask, coming, endless, made, meeting, plays
from tests.support_control import ME


@pytest.fixture
def night() -> Iterator[Night]:
    with Night() as made:
        yield made


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


def test_a_person_who_takes_the_next_deck_leaves_others_to_it(
    night: Night, tmp_path: Path
) -> None:
    dj = night.join(Fixed(made(tmp_path, "ab")))
    night.until(lambda: plays(dj) == "a" and night.deck("A", "beat") > 14.0)
    night.send("/deck/B/play")
    assert meeting(night, "A", "C") == pytest.approx(40.0, abs=1e-3)
    night.until(lambda: plays(dj) == "b")
    assert night.deck("B", "state") == "playing"
    assert ask(night, "give", "B") == ""
    night.until(lambda: night.deck("B", "state") != "playing", 3.0)
    assert night.deck("C", "state") == "playing"


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
