"""Link: decks follow a session or lead it, without jumps, and survive whatever it does."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crowdstream.control import scheduler
from crowdstream.control.peers.link import (
    MAX_CORRECTION,
    MAX_SLEW,
    SILENT_SECONDS,
    STEP_SECONDS,
    octave_of,
    shortest,
)
from tests.support.link_session import (
    LATENCY,
    LOW_RATE,
    FakeSession,
    deck_beat,
    synced_deck,
)
from tests.support.offline_server import Rig
from tests.unit.control.state.test_snapshotter import RestartableRig

TOLERANCE_MS = 3.0
BLOCK = 128


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A follower whose deck A plays in sync with the clock at 120 BPM."""
    with Rig(rate=LOW_RATE, block=BLOCK, link="follower") as rig:
        synced_deck(rig, tmp_path)
        yield rig


def tempi(rig: Rig, session: FakeSession, seconds: float) -> np.ndarray:
    """Run, and return the clock's tempo after each block."""
    found = []
    until = rig.time + seconds
    while rig.time < until:
        session.step()
        found.append(rig.core.beat_clock.bpm_at(rig.desk.frame))
    return np.array(found)


def events(rig: Rig, kind: str) -> list[str]:
    """Texts of the events of one kind."""
    return [event.text for event in rig.core.events.latest() if event.kind == kind]


def state(rig: Rig) -> str:
    """What Link does."""
    return rig.core.link.state


# Following ---------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [0.1, 0.7, 1.6, 2.0, 2.7, 3.9])
def test_a_follower_joins_at_any_phase_without_a_jump(rig: Rig, phase: float) -> None:
    session = FakeSession(rig, 124.0, phase)
    before = deck_beat(rig)
    found = []
    for _ in range(round(40 * LOW_RATE / BLOCK)):
        session.step()
        found.append(deck_beat(rig))
    speeds = np.diff([before, *found]) * 60.0 * LOW_RATE / BLOCK
    assert speeds.min() > 120.0 * (1.0 - 1.01 * MAX_CORRECTION)
    assert speeds.max() < 124.0 * (1.0 + 1.01 * MAX_CORRECTION)
    assert state(rig) == "locked"
    # Bars of four beats are in phase, not only beats.
    assert np.abs(session.deviations(20.0, quantum=4.0)).max() < 0.3


def test_the_tempo_of_a_session_that_is_joined_is_approached_gradually(rig: Rig) -> None:
    session = FakeSession(rig, 150.0)
    found = tempi(rig, session, 6.0)
    per_block = np.abs(np.diff(found) / found[:-1])
    assert per_block[: round(4.0 * LOW_RATE / BLOCK)].max() < 1.1 * MAX_SLEW * BLOCK / LOW_RATE
    # Then the phase is corrected, which is no step either.
    assert per_block.max() < 1.1 * MAX_CORRECTION * BLOCK / LOW_RATE / STEP_SECONDS
    # At most 5 % a second: the 25 % take more than four seconds.
    assert found[round(2.0 * LOW_RATE / BLOCK)] < 120.0 * (1.0 + MAX_SLEW) ** 2.5
    assert found[-1] == pytest.approx(150.0, rel=MAX_CORRECTION)


@pytest.mark.parametrize(("bpm", "step"), [(120.0, 126.0), (120.0, 90.0), (128.0, 174.0)])
def test_steps_of_the_tempo_are_followed_at_once(rig: Rig, bpm: float, step: float) -> None:
    session = FakeSession(rig, bpm)
    session.run(40.0)
    for tempo in (step, bpm, step):
        session.set_tempo(tempo)
        found = np.abs(session.deviations(10.0))
        late = np.flatnonzero(found > TOLERANCE_MS)
        assert late.size == 0 or late.max() * BLOCK / LOW_RATE < 0.6
        assert rig.core.beat_clock.bpm == pytest.approx(tempo, rel=1e-4)


@pytest.mark.parametrize(
    ("bpm", "clock"),
    [(20.0, 40.0), (31.0, 62.0), (60.0, 60.0), (384.0, 384.0), (390.0, 195.0), (999.0, 249.75)],
)
def test_the_whole_range_of_link_is_followed_in_octaves(
    rig: Rig, bpm: float, clock: float
) -> None:
    session = FakeSession(rig, 120.0)
    session.run(20.0)
    session.set_tempo(bpm)
    session.run(90.0)
    assert state(rig) == "locked"
    assert rig.core.beat_clock.bpm == pytest.approx(clock, rel=1e-4)
    found = session.deviations(30.0, per_beat=bpm / clock)
    assert np.abs(found).max() < TOLERANCE_MS


def test_the_octave_is_the_nearest_that_can_be_played() -> None:
    assert octave_of(120.0, lambda bpm: 30 <= bpm <= 400) == 0
    assert octave_of(999.0, lambda bpm: 30 <= bpm <= 400) == 2
    assert octave_of(20.0, lambda bpm: 30 <= bpm <= 400) == -1
    assert octave_of(200.0, lambda bpm: bpm in (100, 400)) == 1
    assert octave_of(200.0, lambda bpm: False) is None


def test_a_clock_that_drifts_stays_in_phase(rig: Rig) -> None:
    session = FakeSession(rig, 120.0)
    session.run(20.0)
    session.drift = 2e-4  # the crystals of two machines differ by less
    session.run(5.0)
    assert np.abs(session.deviations(120.0, quantum=4.0)).max() < 1.0
    assert state(rig) == "locked"


def test_the_latency_of_the_output_is_compensated(rig: Rig) -> None:
    session = FakeSession(rig, 120.0)
    session.run(20.0)
    rendered = session.beat_at(rig.time) - deck_beat(rig)
    early = shortest(-rendered, 1.0) * 0.5
    assert early == pytest.approx(LATENCY, abs=3e-4)


@pytest.mark.parametrize("mode", ["follower", "leader"])
def test_a_latency_that_the_device_does_not_report_can_be_added(rig: Rig, mode: str) -> None:
    rig.send("/link/mode", mode)
    rig.send("/link/offset", 40.0)
    session = FakeSession(rig, 120.0)
    session.run(20.0)
    late = session.deviations(2.0)  # as it would be heard without the additional latency
    assert late.min() == pytest.approx(-40.0, abs=1.0)
    assert late.max() == pytest.approx(-40.0, abs=1.0)


def test_a_session_that_moves_its_beats_is_approached(rig: Rig) -> None:
    session = FakeSession(rig, 120.0)
    session.run(20.0)
    session.move(0.5)
    found = tempi(rig, session, 10.0)
    assert found.max() <= 120.0 * (1.0 + 1.001 * MAX_CORRECTION)
    assert np.abs(session.deviations(5.0)).max() < 0.3


def test_without_a_playing_deck_the_clock_takes_the_phase_at_once() -> None:
    with Rig(rate=LOW_RATE, block=BLOCK, link="follower") as rig:
        session = FakeSession(rig, 133.0, 2.3)
        session.run(1.0)
        assert state(rig) == "locked"
        beat = rig.core.beat_clock.beat(rig.desk.frame)
        late = shortest(session.beat_at(rig.time + LATENCY) - beat, 4.0) * 60.0 / 133.0
        assert abs(late) < 3e-4
        assert rig.core.beat_clock.zero is None  # time zero is not affected


def test_commands_at_beats_act_in_phase_with_the_session(rig: Rig) -> None:
    session = FakeSession(rig, 120.0, 1.0)
    session.run(40.0)
    rig.send("/clock/next", "bar", "/deck/A/level", 0.25, 0.0)
    level = rig.desk.ramps["value"]
    before = level.copy()
    while np.array_equal(level, before):
        session.step()
    beat = session.beat_at(rig.time + LATENCY)
    assert shortest(beat, 4.0) == pytest.approx(0.0, abs=2.1 * BLOCK / LOW_RATE)


def test_a_follower_refuses_tempo_commands_and_rests_the_crowd(rig: Rig) -> None:
    session = FakeSession(rig, 120.0)
    session.run(40.0)
    for address in ("/clock/tempo", "/set_tempo"):
        rig.send(address, 130.0)
        assert "follows a Link session" in rig.fails()[-1]
    session.run(1.0)
    assert rig.core.beat_clock.bpm == pytest.approx(120.0, rel=1e-3)
    assert session.bpm == 120.0


def test_movement_does_not_change_the_tempo_of_a_session(tmp_path: Path) -> None:
    chart = tmp_path / "map.toml"
    chart.write_text("steps = [[0.0, 100.0], [1.0, 140.0]]\n")
    with Rig(rate=LOW_RATE, block=BLOCK, link="follower", movement_map=chart) as rig:
        session = FakeSession(rig, 120.0)
        session.run(2.0)
        rig.send("/dance/total_movement", 1.0)
        session.run(5.0)
        assert rig.core.beat_clock.bpm == pytest.approx(120.0, rel=1e-3)
        rig.send("/link/enable", 0)
        session.run(5.0)
        assert rig.core.beat_clock.bpm > 121.0


def test_a_peer_sends_its_tempo_to_the_session_and_follows_it(rig: Rig) -> None:
    session = FakeSession(rig, 120.0)
    session.run(20.0)
    rig.send("/link/mode", "peer")
    rig.send("/clock/tempo", 128.0)
    session.run(10.0)
    assert session.bpm == 128.0
    assert rig.core.beat_clock.bpm == pytest.approx(128.0, rel=1e-4)
    assert np.abs(session.deviations(5.0, quantum=4.0)).max() < TOLERANCE_MS
    assert rig.fails() == []


# Leading -----------------------------------------------------------------------------------


def test_a_leader_sets_tempo_and_phase_and_keeps_its_own(rig: Rig) -> None:
    rig.send("/link/mode", "leader")
    session = FakeSession(rig, 133.0, 1.7)
    found = tempi(rig, session, 5.0)
    assert found.min() == found.max() == 120.0
    assert session.bpm == 120.0
    assert state(rig) == "leading"
    assert np.abs(session.deviations(20.0, quantum=4.0)).max() < 1.0


def test_a_session_follows_the_ramps_of_its_leader(rig: Rig) -> None:
    rig.send("/link/mode", "leader")
    session = FakeSession(rig, 120.0)
    session.run(2.0)
    rig.send("/clock/tempo", 132.0, 16.0)
    assert np.abs(session.deviations(12.0, quantum=4.0)).max() < TOLERANCE_MS
    assert session.bpm == pytest.approx(132.0, rel=1e-5)
    rig.send("/clock/reset")
    session.run(1.0)
    beat = rig.core.beat_clock.beat(rig.core.clock.audible_frame(rig.time))
    assert shortest(session.beat_at(rig.time) - beat, 4.0) == pytest.approx(0.0, abs=1e-2)


def test_two_leaders_are_reported_once_and_do_not_flood_the_network(rig: Rig) -> None:
    rig.send("/link/mode", "leader")
    session = FakeSession(rig, 120.0)
    session.run(2.0)
    session.sent.clear()
    for _ in range(600):
        session.set_tempo(140.0)
        session.run(0.1)
    assert state(rig) == "contested"
    assert len([text for text in events(rig, "link") if "keeps changing" in text]) == 1
    assert len([one for one in session.sent if one["do"] == "timeline"]) < 20
    session.run(60.0)
    assert session.bpm == 120.0
    assert state(rig) == "leading"  # nobody else has changed the tempo for long


# Alone -------------------------------------------------------------------------------------


def test_alone_the_clock_is_free_and_a_peer_finds_its_tempo(rig: Rig) -> None:
    session = FakeSession(rig, 100.0, 2.2, peers=0)
    rig.send("/clock/tempo", 126.0)
    found = tempi(rig, session, 2.0)
    assert found[-1] == 126.0
    assert state(rig) == "alone"
    assert session.bpm == 126.0
    session.peers = 1  # adopts the session as it is
    before = deck_beat(rig)
    session.run(5.0)
    assert rig.core.beat_clock.bpm == pytest.approx(126.0, rel=1e-4)
    assert deck_beat(rig) - before == pytest.approx(5.0 * 126.0 / 60.0, abs=0.05)
    assert rig.fails() == []


def test_a_session_that_is_joined_is_not_overwritten_before_its_peers_are_known(rig: Rig) -> None:
    session = FakeSession(rig, 120.0, peers=0)
    session.run(5.0)
    session.set_tempo(137.0)
    session.run(0.5)
    assert session.bpm == 137.0
    session.peers = 1
    session.run(30.0)
    assert session.bpm == 137.0
    assert rig.core.beat_clock.bpm == pytest.approx(137.0, rel=MAX_CORRECTION)


def test_a_session_that_is_joined_once_more_is_not_overwritten_either(rig: Rig) -> None:
    session = FakeSession(rig, 120.0, peers=0)
    session.run(5.0)
    for bpm in (137.0, 128.0):
        session.set_tempo(bpm)
        session.run(0.5)
        assert session.bpm == bpm
        session.peers = 1
        session.run(30.0)
        session.peers = 0
        session.run(5.0)
    assert session.bpm == pytest.approx(128.0, rel=1e-4)
    assert rig.core.beat_clock.bpm == pytest.approx(128.0, rel=1e-3)


def test_when_the_peers_are_gone_the_tempo_stays_and_they_find_it_again(rig: Rig) -> None:
    session = FakeSession(rig, 128.0)
    session.run(20.0)
    for _ in range(3):
        session.peers = 0
        session.run(3.0)
        assert rig.core.beat_clock.bpm == pytest.approx(128.0, rel=1e-4)
        session.peers = 1
        session.run(3.0)
    assert session.bpm == pytest.approx(128.0, rel=1e-4)
    assert np.abs(session.deviations(5.0, quantum=4.0)).max() < 0.3
    assert len(events(rig, "link_peers")) == 7


def test_a_session_in_another_octave_keeps_its_tempo_when_its_peers_are_gone(rig: Rig) -> None:
    session = FakeSession(rig, 999.0)
    session.run(40.0)
    session.peers = 0
    session.run(2.0)
    assert session.bpm == pytest.approx(999.0, rel=1e-4)


def test_enabling_and_disabling_change_nothing_by_themselves(rig: Rig) -> None:
    rig.send("/link/enable", 0)
    session = FakeSession(rig, 120.0, peers=0)
    rig.send("/clock/tempo", 131.0)
    rig.seconds(0.5)
    for on in (1, 0, 1, 0):
        before = deck_beat(rig)
        rig.send("/link/enable", on)
        assert session.enabled == bool(on)
        session.run(2.0)
        assert rig.core.beat_clock.bpm == 131.0
        passed = 131.0 / 60.0 * math.ceil(2.0 * LOW_RATE / BLOCK - 1e-6) * BLOCK / LOW_RATE
        assert deck_beat(rig) - before == pytest.approx(passed, abs=1e-3)
    assert state(rig) == "off"


# Start and stop ------------------------------------------------------------------------------


def plays(rig: Rig, deck: int = 0) -> bool:
    """Whether a deck plays."""
    return any(track.deck == deck for track in rig.core.voice_allocator.sounding())


def test_a_session_that_starts_starts_the_decks_at_its_next_bar(rig: Rig) -> None:
    session = FakeSession(rig, 120.0, 0.3)
    session.run(40.0)
    rig.send("/link/startstop", 1)
    session.play(False)
    rig.send("/deck/A/stop")
    session.run(1.0)
    assert not plays(rig)
    session.play(True)
    while not plays(rig):
        session.step()
        assert rig.time < session.play_at + 5.0
    track = rig.core.deck_manager.playing(0)
    assert track.voice is not None
    begun = rig.time - int(rig.desk.voices[track.voice]["position"]) / LOW_RATE
    assert shortest(session.beat_at(begun + LATENCY), 4.0) == pytest.approx(0.0, abs=0.05)
    session.play(False)
    session.run(0.5)
    assert not plays(rig)


@pytest.mark.parametrize("left", [1.2, 0.4, 0.1])  # beats until the bar when it is stopped
def test_a_session_that_is_stopped_before_its_bar_starts_nothing(rig: Rig, left: float) -> None:
    session = FakeSession(rig, 120.0, 0.3)
    session.run(40.0)
    rig.send("/link/startstop", 1)
    rig.send("/deck/A/stop")
    session.run(1.0)
    while session.beat_at(rig.time + LATENCY) % 4.0 > 0.2:
        session.step()
    session.play(True)
    while session.beat_at(rig.time + LATENCY) % 4.0 < 4.0 - left:
        session.step()
    session.play(False)
    session.run(4.0)
    assert not plays(rig)
    session.play(True)
    session.run(4.0)
    assert plays(rig)


def test_only_the_chosen_decks_start_and_none_when_a_playing_session_is_joined(rig: Rig) -> None:
    rig.send("/deck/A/stop")
    rig.send("/link/startstop", 1, "b")
    session = FakeSession(rig, 120.0)
    session.playing = True
    session.run(5.0)
    assert not plays(rig)
    for on in (False, True):
        session.play(on)
        session.run(5.0)
        assert not plays(rig)
    rig.send("/link/startstop", 1, "AX")
    assert "decks: must be letters of ABCD" in rig.fails()[-1]


def test_a_leaders_session_plays_while_a_deck_plays(rig: Rig) -> None:
    rig.send("/link/mode", "leader")
    session = FakeSession(rig, 120.0)
    session.run(1.0)
    assert not [one for one in session.sent if one["do"] == "play"]  # not shared
    rig.send("/link/startstop", 1)
    session.run(1.0)
    assert session.playing
    rig.send("/deck/A/stop")
    session.run(1.0)
    assert not session.playing
    assert len([one for one in session.sent if one["do"] == "play"]) == 2


# Faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, -120.0, 5.0, 1e6, math.nan, math.inf])
def test_an_absurd_tempo_is_reported_once_and_ignored(rig: Rig, value: float) -> None:
    session = FakeSession(rig, 120.0)
    session.run(20.0)
    for _ in range(20):
        session.report(bpm=value)
        rig.seconds(0.05)
    assert state(rig) == "failed"
    assert rig.core.beat_clock.bpm == pytest.approx(120.0, rel=1e-4)
    assert len(events(rig, "link")) == 1
    session.run(5.0)
    assert state(rig) == "locked"
    assert rig.status()["link.faults"] == 20


@pytest.mark.parametrize("name", ["at", "beat", "play_at"])
def test_numbers_that_are_not_finite_are_ignored(rig: Rig, name: str) -> None:
    session = FakeSession(rig, 120.0)
    session.run(20.0)
    session.report(**{name: math.nan})
    rig.seconds(1.0)
    assert rig.core.beat_clock.bpm == pytest.approx(120.0, rel=1e-4)
    session.run(5.0)
    assert state(rig) == "locked"


def test_a_process_that_dies_or_hangs_is_reported_once_and_found_again(rig: Rig) -> None:
    session = FakeSession(rig, 126.0)
    session.run(20.0)
    for _ in range(3):
        rig.core.link.lost("its process has died (signal 9) and is restarted")
    assert len(events(rig, "link")) == 1
    assert state(rig) == "failed"
    rig.seconds(2.0)
    assert rig.core.beat_clock.bpm == pytest.approx(126.0, rel=1e-4)
    session.run(20.0)
    assert state(rig) == "locked"
    session.silent = True
    session.move(0.3)
    session.run(SILENT_SECONDS + 1.0)
    assert state(rig) == "failed"
    assert "does not answer" in events(rig, "link")[-1]
    assert session.kills == 1
    session.silent = False
    session.run(20.0)
    assert state(rig) == "locked"
    assert np.abs(session.deviations(2.0, quantum=4.0)).max() < 0.3


def test_a_tempo_that_no_octave_makes_playable_leaves_the_clock_alone(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = FakeSession(rig, 120.0, 1.0)
    session.run(2.0)
    monkeypatch.setattr(
        rig.core.deck_manager, "speeds",
        lambda bpm, _base: [("track", 1.0, 1.0 if 110 < bpm < 130 else 9.0)],
    )
    session.set_tempo(150.0)
    session.run(5.0)
    assert state(rig) == "unplayable"
    assert rig.core.beat_clock.bpm == pytest.approx(120.0, rel=1e-3)
    assert len(events(rig, "link")) == 1
    session.set_tempo(122.0)
    session.run(40.0)
    assert state(rig) == "locked"


def test_a_session_is_followed_again_when_other_tracks_play(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = FakeSession(rig, 120.0)
    session.run(2.0)
    with monkeypatch.context() as patch:
        patch.setattr(
            rig.core.deck_manager, "speeds",
            lambda bpm, _base: [("track", 1.0, 1.0 if 110 < bpm < 130 else 9.0)],
        )
        session.set_tempo(150.0)
        session.run(5.0)
        assert state(rig) == "unplayable"
    session.run(30.0)
    assert state(rig) == "locked"
    assert rig.core.beat_clock.bpm == pytest.approx(150.0, rel=1e-3)


def test_frames_that_the_device_has_lost_are_made_up_for_by_tempo(rig: Rig) -> None:
    session = FakeSession(rig, 120.0)
    session.run(20.0)
    rig.core.clock.reset_estimate()
    rig.time += 0.15  # time passes, and no frames
    found = tempi(rig, session, 10.0)
    assert found.max() <= 120.0 * (1.0 + 1.001 * MAX_CORRECTION)
    assert state(rig) == "locked"


def test_a_start_that_cannot_be_scheduled_is_reported(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = FakeSession(rig, 120.0)
    session.run(30.0)
    rig.send("/link/startstop", 1)
    rig.send("/deck/A/stop")
    session.run(1.0)
    monkeypatch.setattr(scheduler, "MAX_SCHEDULED", 0)
    session.play(True)
    session.run(5.0)
    assert not plays(rig)
    assert "does not start deck A" in events(rig, "link")[0]


@pytest.mark.parametrize("at", [-1e9, 9e12])
def test_a_stop_at_an_absurd_time_comes_at_the_latest_after_a_minute(rig: Rig, at: float) -> None:
    session = FakeSession(rig, 120.0)
    session.run(30.0)
    rig.send("/link/startstop", 1)
    session.playing = True
    session.run(1.0)
    session.playing, session.play_at = False, at
    session.run(62.0)
    assert not plays(rig)


def test_tempi_that_alternate_do_not_flood_the_logs(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    session = FakeSession(rig, 120.0)
    session.run(5.0)
    caplog.clear()
    for number in range(200):
        session.report(bpm=(5.0, 120.0, 999.0)[number % 3])
        session.step()
    assert len(caplog.records) < 20
    assert len(events(rig, "link")) < 20


# Reports and state -----------------------------------------------------------------------------


def test_the_status_names_state_peers_and_deviation(rig: Rig) -> None:
    assert rig.status()["link.state"] == "joining"
    session = FakeSession(rig, 120.0, 0.5, peers=2)
    session.run(0.5)
    rig.send("/link/status")
    state_, mode, peers, bpm, deviation, start_stop, playing, reason = rig.heard(
        "/link/status.reply"
    )[-1]
    assert (state_, mode, peers, bpm) == ("approaching", "follower", 2, 120.0)
    assert abs(deviation) > 1.0
    assert (start_stop, playing, reason) == (0, 0, "")
    session.run(40.0)
    status = rig.status()
    assert status["link.state"] == "locked"
    assert abs(status["link.deviation_ms"]) < 1.0


def test_subscribers_are_notified_of_states(rig: Rig) -> None:
    rig.send("/notify", 1)
    session = FakeSession(rig, 120.0, 1.0)
    session.run(40.0)
    assert [values[0] for values in rig.heard("/link")] == ["approaching", "locked"]


def test_nothing_is_due_while_link_is_off() -> None:
    with Rig(rate=LOW_RATE, block=BLOCK) as rig:
        rig.seconds(0.1)
        assert rig.core.link.due() == math.inf
        assert state(rig) == "off"


def test_a_new_control_process_follows_on(tmp_path: Path) -> None:
    with RestartableRig(rate=LOW_RATE, block=BLOCK, link="follower") as rig:
        synced_deck(rig, tmp_path)
        rig.send("/link/startstop", 1, "A")
        session: Any = FakeSession(rig, 126.0, 1.0)
        session.run(40.0)
        rig.restart_control()
        assert rig.core.link.decks == "A"
        rig.core.link.attach(session)
        found = tempi(rig, session, 2.0)
        assert found.max() - found.min() < 126.0 * 1e-3
        assert np.abs(session.deviations(2.0, quantum=4.0)).max() < 0.5


def test_corrections_are_as_frequent_as_needed(rig: Rig) -> None:
    session = FakeSession(rig, 120.0)
    session.run(20.0)
    published = int(rig.desk.rings["command_head"])
    session.run(10.0)
    assert int(rig.desk.rings["command_head"]) == published  # in phase: nothing is sent
    session.move(1.0)
    session.run(5.0)
    sent = int(rig.desk.rings["command_head"]) - published
    assert 0 < sent <= 5.0 / STEP_SECONDS + 5
