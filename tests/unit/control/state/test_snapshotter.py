"""A new control process that restores saved state and desk behaves as the old one would have."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from crowdstream.control.dispatcher import Dispatcher
from crowdstream.control.state.snapshotter import Snapshotter
from crowdstream.control.state.state_log import StateLog, create_state_log
from crowdstream.desk.constants import TAP_STEM
from crowdstream.desk.effects import ACTIVE
from crowdstream.desk.opcodes import PLAYING
from crowdstream.desk.taps import CONTROL, request_tap
from crowdstream.offline.session import START, WALL
from crowdstream.osc.codec import build
from tests.support.offline_server import ME, RATE, Rig, bundle_at, count, level, write
from tests.support.stem_folders import mixed, parts, put, put_all


class RestartableRig(Rig):
    """A rig whose control can die: `die` replaces it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.fd = create_state_log()
        self.core.snapshotter = Snapshotter(self.core, StateLog(os.dup(self.fd)))
        self.core.snapshotter.begin()
        self.note()

    def note(self) -> None:
        assert self.core.snapshotter
        self.core.snapshotter.save()

    def step(self, frames: int | None = None) -> None:
        super().step(frames)
        self.note()

    def restart_control(self) -> None:
        """Control dies with all unsaved state, and another one takes over."""
        old = self.core
        assert old.snapshotter
        old.snapshotter.close()
        self.core = Dispatcher(
            old.settings, self.desk, self, self.requests.append, old.info, old.processes,
            lambda: self.time, lambda: self.time - START + WALL, StateLog(os.dup(self.fd)),
            tolerant=True,
        )
        assert self.core.snapshotter
        self.core.snapshotter.restore()

    def close(self) -> None:
        if self.core.snapshotter:
            self.core.snapshotter.close()
        os.close(self.fd)
        super().close()


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("tracks")
    noise = np.random.default_rng(1).uniform(-0.3, 0.3, (4 * RATE, 2)).astype(np.float32)
    stems = folder / "stems"
    stems.mkdir()
    write(stems / "one.wav", noise[: 3 * RATE])
    write(stems / "two.wav", noise[::-1][: 3 * RATE].copy())
    return [str(write(folder / "noise.wav", noise)), str(write(folder / "n.wav", count(3))),
            str(stems)]


DECK = st.sampled_from("ABC")
FLOAT = st.floats(0.0, 1.0, width=32)
COMMANDS = st.one_of(
    st.tuples(st.just("/deck/{}/load"), DECK, st.sampled_from([0, 1, 2])),
    st.tuples(st.sampled_from([
        "/deck/{}/play", "/deck/{}/stop", "/deck/{}/unload", "/deck/{}/loop/exit",
        "/deck/{}/loop/halve", "/deck/{}/grid/clear",
    ]), DECK),
    st.tuples(st.just("/deck/{}/seek"), DECK, FLOAT),
    st.tuples(st.just("/deck/{}/grid"), DECK, st.sampled_from([100.0, 124.0])),
    st.tuples(st.just("/deck/{}/loop"), DECK, st.sampled_from([0.25, 0.5])),
    st.tuples(st.just("/deck/{}/loop/set"), DECK, st.just(0.5), st.sampled_from([0.7, 1.0])),
    st.tuples(st.just("/deck/{}/hotcue/set"), DECK, st.integers(1, 3)),
    st.tuples(st.just("/deck/{}/hotcue"), DECK, st.integers(1, 3)),
    st.tuples(st.just("/deck/{}/rate"), DECK, st.sampled_from([0.9, 1.0, 1.1])),
    st.tuples(st.just("/deck/{}/level"), DECK, FLOAT, st.sampled_from([0.02, 1.0])),
    st.tuples(st.just("/deck/{}/gain"), DECK, FLOAT),
    st.tuples(st.just("/deck/{}/eq/low"), DECK, FLOAT),
    st.tuples(st.just("/deck/{}/kill"), DECK, st.just("mid"), st.integers(0, 1)),
    st.tuples(st.just("/deck/{}/stem/1/mute"), DECK, st.integers(0, 1)),
    st.tuples(st.just("/deck/{}/stem/1/eq/low"), DECK, FLOAT),
    st.tuples(st.just("/deck/{}/sync"), DECK, st.integers(0, 1)),
    st.tuples(st.just("/deck/{}/quantize"), DECK, st.sampled_from([0.0, 1.0])),
    st.tuples(st.just("/deck/{}/trim/auto"), DECK),
    st.tuples(st.just("/deck/{}/fx/insert"), DECK, st.integers(1, 3),
              st.sampled_from(["echo", "drive", "flanger"])),
    st.tuples(st.just("/deck/{}/fx/remove"), DECK, st.integers(1, 3)),
    st.tuples(st.just("/deck/{}/fx/swap"), DECK, st.integers(1, 3), st.just("reverb")),
    st.tuples(st.just("/deck/{}/fx/move"), DECK, st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.just("/set_tempo"), st.sampled_from([110.0, 120.0, 130.0])),
    st.tuples(st.just("/clock/tempo"), st.sampled_from([115.0, 125.0]), st.just(2.0)),
    st.tuples(st.just("/clock/meter"), st.integers(3, 4)),
    st.tuples(st.just("/reset")),
    st.tuples(st.just("/clock/next"), st.just("beat"), st.just("/deck/A/seek"), FLOAT),
)
OF_THE_MACHINE = {"read_max_ms", "stalls", "stalled_s"}
STEP = st.tuples(COMMANDS, st.sampled_from([0.0, 0.0, 0.2, 0.8]), st.integers(1, 20))


def carry_out(rig: RestartableRig, files: list[str], step: Any) -> None:
    (address, *arguments), ahead, blocks = step
    if "{}" in address:
        address = address.format(arguments.pop(0))
    if address.endswith("/load"):
        arguments = [files[arguments[0]]]
    if ahead:
        rig.raw(bundle_at(WALL + rig.time - START + ahead, address, *arguments))
    else:
        rig.send(address, *arguments)
    rig.note()
    rig.run(blocks * rig.block)


def told(rig: RestartableRig) -> dict[str, Any]:
    # All fields of a status except the time this machine took to read files.
    rig.run(10 * rig.block)
    return {name: value for name, value in rig.status().items() if name not in OF_THE_MACHINE}


# Failing cases are not shrunk: each attempt renders seconds of audio.
@settings(max_examples=12, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(steps=st.lists(STEP, min_size=3, max_size=14), deaths=st.sets(st.integers(0, 13)))
def test_control_may_die_at_any_time_without_audible_or_lost_state(
    tracks: list[str], steps: list[Any], deaths: set[int]
) -> None:
    # Two decks play from the beginning; the rest is random.
    begin = [(("/deck/{}/load", "A", 0), 0.0, 4), (("/deck/{}/grid", "A", 124.0), 0.0, 1),
             (("/deck/{}/play", "A", 0.0, 1), 0.0, 4), (("/deck/{}/load", "B", 2), 0.0, 4),
             (("/deck/{}/play", "B", 0.0, 1), 0.0, 4)]
    with RestartableRig() as alone, RestartableRig() as mortal:
        for number, step in enumerate([*begin, *steps]):
            carry_out(alone, tracks, step)
            carry_out(mortal, tracks, step)
            if number - len(begin) in deaths:
                mortal.restart_control()
        left, right = told(alone), told(mortal)
        assert mortal.out.shape == alone.out.shape
        assert np.array_equal(mortal.out, alone.out)
        assert right == left
        assert sorted(mortal.fails()) == sorted(alone.fails())


def test_scheduled_commands_are_carried_out_by_the_next_control_process(tracks: list[str]) -> None:
    with RestartableRig() as rig:
        rig.send("/cue", "A", tracks[1])
        rig.run(1024)
        # Pending in the engine, in control, at a beat, and waiting for its file.
        rig.raw(bundle_at(rig.tag_of(9000), "/start_group", 0.0, "A"))
        rig.raw(bundle_at(rig.tag_of(90_000), "/deck/A/stop"))
        rig.send("/clock/at", 3.0, "/deck/B/level", 0.5)
        rig.pages_a_block = 0
        rig.send("/play", "C", tracks[1])
        rig.send("/sync", 7)
        rig.step()
        rig.restart_control()
        rig.pages_a_block = 1000
        rig.run(100_000)
        assert rig.first_sound(8000) == 9000 or rig.status()["deck.C.state"] == "playing"
        status = rig.status()
        assert status["deck.A.state"] == "ready"
        assert status["deck.B.level"] == 0.5
        assert status["deck.C.state"] == "playing"
        assert rig.heard("/synced") == [(7,)]
        assert rig.heard("/done") == [("/cue", 100), ("/play", 2100)]
        assert not rig.fails()


def test_an_unsaved_turn_is_corrected_from_the_desk(tracks: list[str]) -> None:
    with RestartableRig() as rig:
        for deck in "AB":
            rig.send("/cue", deck, tracks[1])
        rig.run(2048)
        rig.send("/start_group", 0.0, "B")
        rig.note()
        # None of this is saved: only the desk contains it.
        Rig.send(rig, "/start_group", 0.0, "A")
        Rig.send(rig, "/deck/A/fx/insert", 1, "echo")
        Rig.send(rig, "/cue", "D", tracks[0])
        Rig.step(rig)
        Rig.step(rig)
        number = rig.core.track_table.find(3100).number
        rig.restart_control()
        rig.run(4096)
        assert rig.status()["deck.A.state"] == rig.status()["deck.B.state"] == "playing"
        # Effect and track are unknown to the new control process: they are released.
        assert rig.status()["deck.A.fx"] == "- - - -"
        rig.run(8192)
        assert ACTIVE not in rig.desk.effects["state"]  # at most its tail is left
        assert number not in rig.loader._tracks and len(rig.core.track_table.numbers()) == 2
        assert int(rig.desk.sources["used"].sum()) == 2
        rig.send("/deck/A/stop")
        rig.run(2048)
        assert rig.status()["deck.A.state"] == "ready"


def test_a_voice_of_an_unknown_track_is_silenced(tracks: list[str]) -> None:
    with RestartableRig() as rig:
        Rig.send(rig, "/cue", "A", tracks[1])
        for _ in range(4):
            Rig.step(rig)
        Rig.send(rig, "/start_group", 0.0, "A")
        Rig.step(rig)
        assert (rig.desk.voices["state"] == PLAYING).any()
        rig.restart_control()
        rig.run(8192)
        assert not rig.desk.voices["state"].any()
        assert not rig.loader._tracks
        assert not rig.out[-1024:].any()


def test_subscribers_are_notified_after_a_restart(tracks: list[str]) -> None:
    other = ("127.0.0.1", 50001)
    with RestartableRig() as rig:
        rig.send("/notify", 1)
        rig.core.handle_packet(build("/notify", (1,)), other)
        rig.send("/meters", 50.0, "all")
        rig.send("/clock/ticks", 24)
        rig.send("/set_meter", 3)
        rig.send("/print_clock", 0)
        rig.run(1024)
        before = rig.desk.taps["on"].copy()
        rig.restart_control()
        rig.core.adopted()
        rig.core.restarted("control", 1)
        assert np.array_equal(rig.desk.taps["on"], before)
        assert [(who, said) for who, said, _ in rig.answers.said if said == "/restarted"] == [
            (ME, "/restarted"), (other, "/restarted")
        ]
        # Whatever the earlier control process reported of the device, a change is reported again.
        for there in (True, True, False):
            rig.core.notify_device(there)
        assert [values for who, said, values in rig.answers.said if (who, said) == (
            ME, "/device"
        )] == [(1,), (0,)]
        ticks, meters = len(rig.heard("/clock/tick")), len(rig.heard("/meter"))
        rig.send("/cue", "A", tracks[0])
        rig.send("/deck/A/play")
        rig.run(RATE)
        assert len(rig.heard("/clock/tick")) - ticks == 48
        assert len(rig.heard("/meter")) > meters
        counts = [values[0] for values in rig.heard("/clock/tick")]
        assert counts == list(range(1, counts[-1] + 1))
        assert rig.status()["restarts_control"] == 1


def test_taps_without_an_owner_are_released() -> None:
    with RestartableRig() as rig:
        rig.send("/meters", 10.0, "all")
        rig.step()
        request_tap(rig.desk, 0, CONTROL)
        request_tap(rig.desk, TAP_STEM, CONTROL)
        rig.restart_control()
        assert int(rig.desk.taps["on"][0]) == 0
        assert int(rig.desk.taps["on"][TAP_STEM]) == 1


def test_a_load_that_never_reached_the_loader_is_requested_again(
    tracks: list[str], tmp_path: Path
) -> None:
    gone = write(tmp_path / "gone.wav", level(1))
    with RestartableRig() as rig:
        rig.send("/cue", "A", tracks[1])
        rig.send("/cue", "B", str(gone))
        rig.note()
        rig.requests.clear()  # they were lost in the pipe when it died
        gone.unlink()
        rig.restart_control()
        rig.run(2048)
        assert rig.status()["deck.A.state"] == "ready"
        assert rig.heard("/done") == [("/cue", 100)]
        [reason] = rig.fails()
        assert "gone.wav" in reason


def test_what_the_loader_found_is_recovered_if_control_has_not_saved_it(
    tmp_path: Path,
) -> None:
    folder = put_all(tmp_path / "song", dict(parts()))
    put(folder / "Night.wav", mixed(dict(parts())))
    (folder / "crowdstream.toml").write_text("[grid]\nbpm = 100.0\n")
    with RestartableRig() as rig:
        free = rig.core.track_table.free_sources
        rig.send("/deck/A/load", str(folder))
        rig.note()
        rig.load()
        rig.restart_control()
        rig.run(2048)
        assert rig.status()["deck.A.state"] == "ready"
        assert rig.core.track_table.free_sources == free - 4
        [track] = rig.core.track_table.tracks()
        assert sorted(track.stems) == ["bass", "drums", "other", "vocals"]
        assert len(track.left_out) == 1
        assert track.grid is not None and track.grid.bpm == 100.0


def test_warnings_about_files_survive_a_restart(tmp_path: Path) -> None:
    path = write(tmp_path / "cut.wav", level(4))
    os.truncate(path, path.stat().st_size // 2)
    with RestartableRig() as rig:
        rig.send("/deck/A/load", str(path))
        rig.run(2048)
        [track] = rig.core.track_table.tracks()
        assert "are missing" in track.warning
        rig.restart_control()
        [restored] = rig.core.track_table.tracks()
        assert restored.warning == track.warning


def test_unsaved_engine_events_are_recovered_from_the_desk(tracks: list[str]) -> None:
    with RestartableRig() as rig:
        rig.send("/cue", "A", tracks[1])
        rig.run(1024)
        rig.send("/start_group", 0.0, "A")
        rig.note()
        Rig.step(rig)  # the start is reported, but not saved
        rig.restart_control()
        assert rig.status()["deck.A.state"] == "playing"
        rig.send("/deck/A/stop")
        rig.note()
        Rig.run(rig, RATE)
        rig.restart_control()
        rig.run(RATE)
        assert rig.status()["deck.A.state"] == "ready"
        assert rig.core.voice_allocator.free_voices() == 64


class Engines:
    """The saved state of the engines: whether they have a sound device."""

    def __init__(self) -> None:
        self.there = True

    def to_state(self) -> bool:
        return self.there


@pytest.mark.parametrize("there", [False, True])
def test_a_change_of_the_device_is_saved_before_clients_are_notified(there: bool) -> None:
    # A client that kills control as soon as it is notified must find the change known.
    engines = Engines()
    saved: list[bool] = []
    with RestartableRig() as rig:
        assert rig.core.snapshotter
        rig.core.snapshotter.others = {"engines": engines}
        rig.note()

        def notify(*_message: Any) -> None:
            saved.append(StateLog(os.dup(rig.fd)).values["engines"])

        rig.core.notify = notify  # type: ignore[assignment]
        engines.there = there
        if there:
            rig.core.engine_changed(rig.core.info, "found")
        else:
            rig.core.device_lost("device")
        rig.core.snapshotter.others = {}
    assert saved and set(saved) == {there}


def test_a_save_wakes_control_only_after_a_change() -> None:
    with RestartableRig() as rig:
        snapshotter = rig.core.snapshotter
        assert snapshotter
        snapshotter.save_if_due()
        assert snapshotter.wake_at() == math.inf
        assert snapshotter.due() < math.inf
        rig.send("/deck/A/level", 0.5)
        assert snapshotter.wake_at() == snapshotter.due() < math.inf
        rig.note()
        assert snapshotter.wake_at() == math.inf


def test_a_track_that_is_loaded_right_after_the_restart_takes_its_memory_once(
    tracks: list[str],
) -> None:
    """The loader has answered control's first question before it receives the track."""
    rig = RestartableRig()
    rig.run(4 * rig.block)
    rig.restart_control()
    rig.send("/deck/A/load", tracks[0])
    rig.run(40 * rig.block)
    assert rig.loader.status()["reserved"] > 0 and len(rig.loader.inventory()) == 1
    rig.send("/deck/A/unload")
    rig.run(40 * rig.block)
    assert rig.loader.status()["reserved"] == 0
    rig.close()
