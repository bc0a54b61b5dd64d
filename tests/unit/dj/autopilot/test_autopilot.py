"""The autopilot mixes on phrases, and keeps playing through bad files, late loads and crashes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from crowdstream.dj.autopilot import player
from crowdstream.dj.autopilot.background_analysis import entry_as_it_is
from crowdstream.dj.autopilot.track_selector import EndlessSelector, SetFileSelector
from crowdstream.dj.planning.candidates import of_analyses
from crowdstream.dj.planning.planner import Planner, PlanOptions
from crowdstream.dj.setfile.model import AutomationPoint, Set, Transition
from crowdstream.dj.setfile.timed_commands import placements, sync_quantum
from crowdstream.dj.transitions import KINDS
from tests.support.simulated_dj import (
    BPM,
    SimulatedDj,
    current_track,
    dj_command,
    endless,
    next_track,
    start_beat,
    tone_set,
)


@pytest.fixture
def sim() -> Iterator[SimulatedDj]:
    with SimulatedDj() as sim:
        yield sim


def test_a_set_is_mixed_on_its_beats_to_the_end(sim: SimulatedDj, tmp_path: Path) -> None:
    dj = sim.start_dj(SetFileSelector(tone_set(tmp_path, "abc")))
    sim.until(lambda: current_track(dj) == "a")
    assert start_beat(sim, "A", "B") == pytest.approx(40.0, abs=1e-3)
    assert sim.status()["deck.B.low"] == 0.0
    assert start_beat(sim, "B", "C") == pytest.approx(40.0, abs=1e-3)
    sim.until(lambda: current_track(dj) == "c")
    assert sim.deck("B", "low") == 0.0 and sim.deck("C", "low") == 1.0
    sim.until(lambda: dj.player.state.finished)
    assert len(sim.gaps) == 1, "the only gap is before the first track"
    assert sim.fails() == []


@pytest.mark.parametrize("wait", [0.0, 0.75, 1.5, 2.25])
def test_the_first_track_may_wait_for_a_long_bar(tmp_path: Path, wait: float) -> None:
    with SimulatedDj(bpm=80.0) as sim:
        sim.seconds(wait)
        dj = sim.start_dj(SetFileSelector(tone_set(tmp_path, "ab", bpm=80.0)))
        sim.until(lambda: sim.deck("A", "state") == "playing", 6.0)
        sim.seconds(4.0)
        assert current_track(dj) == "a" and sim.deck("A", "state") == "playing"


@pytest.mark.parametrize("bad", ["no sound at all", ""])
def test_a_bad_or_missing_file_is_skipped(sim: SimulatedDj, tmp_path: Path, bad: str) -> None:
    mix = tone_set(tmp_path, "abc")
    path = Path(mix.entries[1].path)
    path.write_text(bad) if bad else path.unlink()
    dj = sim.start_dj(SetFileSelector(mix))
    sim.until(lambda: current_track(dj) == "a")
    assert start_beat(sim, "A", "B") == pytest.approx(40.0, abs=1e-3)
    sim.until(lambda: current_track(dj) == "c")
    assert list(dj.player.state.bad) == [str(path)] and len(sim.gaps) == 1


def test_the_phrase_repeats_until_a_late_load_finishes(sim: SimulatedDj, tmp_path: Path) -> None:
    dj = sim.start_dj(SetFileSelector(tone_set(tmp_path, "ab")))
    sim.until(lambda: current_track(dj) == "a" and dj.player.state.stage == "none")
    sim.pages_a_block = 0
    sim.until(lambda: "loops: the next track is still loading" in dj.player.state.note)
    sim.until(lambda: sim.deck("A", "beat") < 20.0)  # from beat 40 back to 8
    sim.pages_a_block = 1000
    assert start_beat(sim, "A", "B") == pytest.approx(40.0, abs=1e-3)
    assert len(sim.gaps) == 1


def test_a_track_that_starts_late_has_its_safety_loop(sim: SimulatedDj, tmp_path: Path) -> None:
    mix = tone_set(tmp_path, "ab", beats=400, leave=392.0)
    entries = (replace(mix.entries[0], enter=200.0), *mix.entries[1:])
    dj = sim.start_dj(SetFileSelector(replace(mix, entries=entries)))
    sim.pages_a_block = 1
    sim.until(lambda: dj.player.state.stage == "ready")
    sim.pages_a_block = 0  # the medium is slow: the mix-in point is not in memory yet
    sim.until(lambda: current_track(dj) == "a")
    assert sim.deck("A", "state") == "ready"
    sim.seconds(0.3)
    sim.pages_a_block = 1000
    sim.until(lambda: sim.deck("A", "state") == "playing", 1.0)
    sim.seconds(2.0)
    assert sim.deck("A", "loop")


def test_a_load_that_never_finishes_is_given_up(sim: SimulatedDj, tmp_path: Path) -> None:
    selector = endless(tmp_path, "abc")
    dj = sim.start_dj(selector)
    sim.until(lambda: current_track(dj) and dj.player.state.stage == "loading")
    mix = dj.player.state.mix
    assert mix is not None
    stuck = mix.entries[1].path
    elsewhere = {**dj.player.state.decks, 1: "E"}  # so the reply to the load is not recognised
    dj.player.state = replace(dj.player.state, decks=elsewhere)
    sim.until(lambda: stuck in dj.player.state.bad)
    sim.until(lambda: dj.player.state.stage == "going")
    assert dj.player.state.mix is not None
    assert dj.player.state.mix.entries[1].path != stuck and len(sim.gaps) == 1


def test_a_track_that_is_found_after_a_long_wait_has_time_to_load(
    sim: SimulatedDj, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    selector = endless(tmp_path, "ab")
    monkeypatch.setattr(selector, "next", lambda _mix, _request: None)
    dj = sim.start_dj(selector)
    sim.until(lambda: dj.player.state.laps >= player.MAX_LATE_LAPS)
    monkeypatch.undo()
    sim.until(lambda: len(dj.player.state.history) == 2)
    assert not dj.player.state.bad and len(sim.gaps) == 1


def test_an_empty_library_is_searched_until_a_track_appears(
    sim: SimulatedDj, tmp_path: Path
) -> None:
    full = endless(tmp_path, "a")
    libraries = [of_analyses({}), full._candidates()]
    dj = sim.start_dj(EndlessSelector(Planner, lambda: libraries[0], lambda: 0.5))
    sim.until(lambda: "there are no analysed tracks" in dj.player.state.note)
    libraries.reverse()
    sim.until(lambda: current_track(dj) == "a", 10.0)


def test_a_folder_that_is_not_analysed_is_played_as_it_is_until_it_is(
    sim: SimulatedDj, tmp_path: Path
) -> None:
    full = endless(tmp_path, "abc")
    libraries = [of_analyses({}), full._candidates()]
    selector = EndlessSelector(
        lambda cards: Planner(cards, PlanOptions()), lambda: libraries[0], lambda: 0.0,
        partial(entry_as_it_is, tmp_path),
    )  # fmt: skip
    dj = sim.start_dj(selector)
    sim.until(lambda: current_track(dj) == "a" and next_track(dj) == "b", 10.0)
    mix = dj.player.state.mix
    assert mix is not None and [entry.confidence for entry in mix.entries] == [0.0, 0.0]
    libraries.reverse()

    def analysed() -> bool:
        mix = dj.player.state.mix
        return mix is not None and len(mix.entries) > 1 and mix.entries[1].confidence == 1.0

    sim.until(analysed)
    following = next_track(dj)
    assert following in ("b", "c")
    sim.until(lambda: current_track(dj) == following)
    sim.until(lambda: dj.player.state.stage == "going")  # with an overlap
    assert dj.player.state.mix is not None
    assert dj.player.state.mix.entries[0].overlap > 0 and len(sim.gaps) <= 2


def test_played_damaged_and_short_tracks_are_not_chosen(tmp_path: Path) -> None:
    assert entry_as_it_is(tmp_path, ()) is None
    (tmp_path / "0 damaged.wav").write_bytes(b"RIFF")
    soundfile.write(tmp_path / "0 short.wav", np.zeros(44100), 44100)
    tone_set(tmp_path, "ab")
    first = entry_as_it_is(tmp_path, ())
    assert first is not None and Path(first.path).name == "a.wav" and first.uncertain
    other = entry_as_it_is(tmp_path, {first.path})
    assert other is not None and Path(other.path).name == "b.wav"
    assert entry_as_it_is(tmp_path, {first.path, other.path}) is None
    assert first.second(first.leave) == pytest.approx(other.second(other.leave))


def test_a_track_that_is_played_as_it_is_ends_on_a_beat_of_the_clock(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(round(10.31 * 44100)), 44100)
    entry = entry_as_it_is(tmp_path, ())
    assert entry is not None
    mix = Set(entry.bpm, (entry,)).appended(Transition("cut", 0), entry.leave, entry)
    begin = placements(mix)[1].begin
    # What starts there is neither moved by the deck's sync, nor off the plan from then on.
    assert begin == 20.0 and sync_quantum(0.0, begin, 1.0) == 4.0


def test_a_single_track_is_mixed_into_itself_endlessly(sim: SimulatedDj, tmp_path: Path) -> None:
    dj = sim.start_dj(endless(tmp_path, "a"))
    sim.until(lambda: len(dj.player.state.history) == 4)
    assert len(sim.gaps) == 1


@pytest.mark.parametrize("dies", [False, True])
def test_a_planned_repeat_is_replaced_by_a_newly_analysed_track(
    sim: SimulatedDj, tmp_path: Path, dies: bool
) -> None:
    full = endless(tmp_path, "abc")
    libraries = [of_analyses({}), full._candidates()]
    path = libraries[1].cards[0].path
    libraries[0] = of_analyses({path: libraries[1].features(path).analysis})
    selector = EndlessSelector(
        lambda cards: Planner(cards, PlanOptions()), lambda: libraries[0], lambda: 0.0
    )
    dj = sim.start_dj(selector)
    sim.until(lambda: next_track(dj) == "a" and dj.player.state.stage == "ready")
    if dies:
        sim.seconds(1.0)
        sim.kill_dj(dj)
        dj = sim.start_dj(selector)
        sim.until(lambda: next_track(dj) == "a")
    libraries.reverse()
    sim.until(lambda: next_track(dj) in ("b", "c"), 15.0)
    sim.until(lambda: current_track(dj) in ("b", "c"))
    assert len(sim.gaps) == 1


def test_an_endless_set_plays_all_tracks_before_repeats_and_stays_short(
    sim: SimulatedDj, tmp_path: Path
) -> None:
    dj = sim.start_dj(endless(tmp_path, "abcd"))
    longest = 0
    while len(dj.player.state.history) < 8:
        sim.step()
        longest = max(longest, len(dj.player.state.mix.entries) if dj.player.state.mix else 0)
    played = dj.player.state.history
    assert len(set(played[:4])) == 4
    assert all(name not in played[at - 2 : at] for at, name in enumerate(played) if at > 1)
    assert longest == 2 and len(sim.gaps) == 1
    kinds = dj.player.state.kinds
    assert len(kinds) == len(played) - 1
    assert set(kinds) <= {kind.KIND for kind in KINDS}
    assert dj.player.selection_request(0.0).kinds == kinds


def test_a_new_dj_takes_over_from_a_dead_one(sim: SimulatedDj, tmp_path: Path) -> None:
    mix = tone_set(tmp_path, "abcd")
    first = sim.start_dj(SetFileSelector(mix))
    sim.until(lambda: current_track(first) == "b" and first.player.state.stage == "ready")
    assert dj_command(sim, "hold", 1) == ""
    sim.seconds(1.0)
    sim.kill_dj(first)
    sim.seconds(15.0)  # the phrase repeats without a DJ
    assert sim.deck("B", "state") == "playing" and sim.deck("B", "loop")
    second = sim.start_dj(SetFileSelector(mix))
    sim.until(lambda: current_track(second) == "b", 5.0)
    assert "continuing the mix" in second.player.state.note and second.player.state.holding
    assert dj_command(sim, "hold", 0) == ""
    assert start_beat(sim, "B", "D") == pytest.approx(40.0, abs=1e-3)
    assert sim.deck("C", "state") == "empty"
    sim.until(lambda: current_track(second) == "d")
    sim.until(lambda: second.player.state.finished)
    assert len(sim.gaps) == 1


def test_a_new_dj_whose_first_query_is_lost_takes_over_all_the_same(
    sim: SimulatedDj, tmp_path: Path
) -> None:
    mix = tone_set(tmp_path, "abc", beats=208, leave=200.0)
    first = sim.start_dj(SetFileSelector(mix))
    sim.until(lambda: current_track(first) == "a" and first.player.state.stage == "ready")
    sim.seconds(1.0)
    sim.kill_dj(first)
    second = sim.start_dj(SetFileSelector(mix))
    received = next(iter(sim.transports.values())).received

    def asked() -> list[bytes]:
        return [packet for packet in received if packet.startswith(b"/dj/status.reply")]

    sim.until(asked)
    for packet in asked()[-1:]:
        received.remove(packet)
    sim.until(lambda: current_track(second) == "a", 5.0)
    assert list(second.player.override) == []


def test_a_new_dj_recognizes_a_track_whose_name_cannot_be_shown(
    sim: SimulatedDj, tmp_path: Path
) -> None:
    mix = tone_set(tmp_path, ["a\n", "b"], beats=208, leave=200.0)
    first = sim.start_dj(SetFileSelector(mix))
    sim.until(lambda: current_track(first) == "a\n" and first.player.state.stage == "ready")
    sim.seconds(1.0)
    sim.kill_dj(first)
    second = sim.start_dj(SetFileSelector(mix))
    sim.until(lambda: current_track(second) == "a\n", 5.0)
    assert list(second.player.override) == []


def test_a_new_dj_completes_the_transition_of_a_dead_one(sim: SimulatedDj, tmp_path: Path) -> None:
    mix = tone_set(tmp_path, "abc")
    first = sim.start_dj(SetFileSelector(mix))
    sim.until(lambda: current_track(first) == "a")
    sim.until(lambda: sim.deck("B", "beat") > 1.0)
    sim.kill_dj(first)
    second = sim.start_dj(SetFileSelector(mix))
    sim.until(lambda: current_track(second) == "b")
    sim.seconds(1.0)
    assert sim.deck("A", "state") != "playing" and sim.deck("B", "low") == 1.0
    assert start_beat(sim, "B", "C") == pytest.approx(40.0, abs=1e-3)
    assert len(sim.gaps) == 1


def test_a_dj_that_returns_after_another_has_taken_over_ends(
    sim: SimulatedDj, tmp_path: Path
) -> None:
    mix = tone_set(tmp_path, "abc", beats=208, leave=200.0)
    first = sim.start_dj(SetFileSelector(mix))
    sim.until(lambda: current_track(first) == "a" and first.player.state.stage == "ready")
    sim.seconds(1.0)
    second = sim.start_dj(SetFileSelector(mix))
    sim.djs = []  # both are suspended, or cut off from the network
    sim.seconds(10.0)
    assert not sim.core.dj.connected
    sim.djs = [second]
    sim.until(lambda: current_track(second) == "a")
    sim.djs = [first, second]
    sim.until(lambda: first.player.state.finished, 5.0)
    assert "another DJ" in first.player.state.note and not second.player.state.finished


@pytest.mark.parametrize("event", ["death", "reset", "cancel"])
def test_a_trim_that_is_to_follow_a_transition_is_not_lost(
    sim: SimulatedDj, tmp_path: Path, event: str
) -> None:
    mix = tone_set(tmp_path, "ab", beats=240, leave=232.0)
    rows = (AutomationPoint(0, "in", "trim", -6.0), AutomationPoint(40, "in", "trim", 0.0, 8.0))
    first = replace(mix.entries[0], leave=48.0, transition=Transition("blend", 2, rows))
    mix = replace(mix, entries=(first, *mix.entries[1:]))
    dj = sim.start_dj(SetFileSelector(mix))
    sim.until(lambda: current_track(dj) == "b")
    sim.seconds(1.0)
    assert sim.deck("B", "trim") == pytest.approx(10 ** (-6 / 20), abs=1e-3)
    if event == "death":
        sim.kill_dj(dj)
        dj = sim.start_dj(SetFileSelector(mix))
    else:
        sim.send("/clock/reset" if event == "reset" else "/cancel")
    begin = sim.deck("B", "beat")
    sim.until(lambda: sim.deck("B", "beat") > 50.0, 15.0)
    assert begin < 40.0 and sim.deck("B", "trim") == pytest.approx(1.0, abs=1e-3)
    assert current_track(dj) == "b"


def test_a_new_dj_remembers_the_track_that_ended_without_a_dj(
    sim: SimulatedDj, tmp_path: Path
) -> None:
    selector = endless(tmp_path, "abc")
    first = sim.start_dj(selector)
    sim.until(lambda: first.player.state.stage == "going" and current_track(first))
    names = current_track(first), next_track(first)
    sim.seconds(3.0)
    assert first.player.state.stage == "going"
    sim.kill_dj(first)
    sim.until(lambda: sim.deck("A", "state") != "playing", 60.0)
    second = sim.start_dj(selector)
    sim.until(lambda: current_track(second) == names[1], 5.0)
    assert tuple(Path(path).stem for path in second.player.state.history) == names


@pytest.mark.parametrize(
    ("killed", "track", "phrase"),
    [(40.0, "a", 32.0), (87.5, "a", 64.0), (94.0, "a", 64.0), (101.0, "b", 0.0)],
)
def test_after_a_server_restart_the_audible_phrase_is_restored(
    sim: SimulatedDj, tmp_path: Path, killed: float, track: str, phrase: float
) -> None:
    dj = sim.start_dj(SetFileSelector(tone_set(tmp_path, "abc", beats=112, leave=104.0)))
    sim.until(lambda: current_track(dj) == "a" and sim.deck("A", "beat") > killed)
    sim.seconds(0.4)  # the DJ has received that status
    with SimulatedDj() as after:
        sim.crash_server(dj, 4.0, after)
        after.until(lambda: after.deck("A", "state") == "playing", 6.0)
        status = after.status()
        assert status["deck.A.track"] == track and status["bpm"] == BPM
        assert phrase <= status["deck.A.beat"] < phrase + 0.5 and abs(status["deck.A.phase"]) < 1e-3
        assert start_beat(after, "A", "B") == pytest.approx(96.0, abs=1e-3)
        assert len(after.gaps) == 1


@pytest.mark.parametrize(("stage", "steps"), [("none", 0), ("ready", 1)])
def test_commands_that_wait_for_a_new_control_are_carried_out_once(
    sim: SimulatedDj, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, steps: int
) -> None:
    monkeypatch.setattr(player, "GRACE_SECONDS", 0.0)
    dj = sim.start_dj(SetFileSelector(tone_set(tmp_path, "abc", beats=208, leave=200.0)))
    sim.until(lambda: current_track(dj) == "a" and dj.player.state.stage == stage)
    for _ in range(steps):  # the first commands that prepare the track are sent
        sim.step()
    (transport,) = sim.transports.values()
    kept: list[bytes] = []  # in the socket, which outlives control

    def keep(data: bytes) -> int:
        kept.append(data)
        return len(data)

    monkeypatch.setattr(transport, "send", keep)
    sim.seconds(2.3)  # the DJ sends its commands to load or prepare the next track
    monkeypatch.undo()
    monkeypatch.setattr(player, "GRACE_SECONDS", 0.0)
    for packet in kept:
        sim.packet(packet, transport.sender)
    assert start_beat(sim, "A", "B") == pytest.approx(192.0, abs=1e-3)
    sim.until(lambda: current_track(dj) == "b")
    assert not list(dj.player.override) and not dj.player.state.bad


def test_a_dj_that_was_suspended_does_not_start_its_track_again(
    sim: SimulatedDj, tmp_path: Path
) -> None:
    dj = sim.start_dj(SetFileSelector(tone_set(tmp_path, "ab", beats=208, leave=200.0)))
    sim.until(lambda: current_track(dj) == "a" and dj.player.state.stage == "ready")
    (transport,) = sim.transports.values()
    sim.until(lambda: any(b"/status.reply" in packet for packet in transport.received))
    sim.kill_dj(dj)
    sim.seconds(5.0)
    sim.djs.append(dj)
    sim.seconds(2.0)
    assert [sim.deck(deck, "state") for deck in "ABC"] == ["playing", "ready", "empty"]
    assert start_beat(sim, "A", "B") == pytest.approx(192.0, abs=1e-3)
    assert len(sim.gaps) == 1


def test_a_track_whose_load_was_not_reported_is_not_loaded_twice(
    sim: SimulatedDj, tmp_path: Path
) -> None:
    mix = tone_set(tmp_path, "ab")
    late = replace(mix.entries[1], enter=16.0, leave=64.0)
    dj = sim.start_dj(SetFileSelector(replace(mix, entries=(mix.entries[0], late))))
    sim.until(lambda: current_track(dj) == "a" and dj.player.state.stage == "none")
    (transport,) = sim.transports.values()

    def is_ready() -> bool:
        for packet in list(transport.received):
            if b"/changed" in packet and b"/deck/B/load" in packet:
                transport.received.remove(packet)  # lost on the network
        return dj.player.state.stage == "ready"

    sim.until(is_ready)
    sim.seconds(2.0)
    assert sim.deck("B", "sync") == 1.0 and sim.deck("B", "beat") == 16.0
