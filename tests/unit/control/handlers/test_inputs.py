"""Commands of live inputs: what they change in the sound, in the state, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crowdstream.control.decks.live_inputs import Talkover
from crowdstream.desk.constants import TAP_INPUT, TAP_MASTER
from tests.support.offline_server import RATE, Rig, bundle_at, level, write
from tests.unit.control.state.test_snapshotter import RestartableRig

MUSIC, VOICE = 0.5, 0.25


class FakeRecorder:
    """A recorder process that keeps what it is asked for."""

    finished = False
    exit_description = ""
    is_foreign = False

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def push(self) -> None:
        pass

    def read(self) -> list[dict[str, Any]]:
        return []

    def stop(self, seconds: float = 0.0) -> None:
        pass


def silence(seconds: float) -> np.ndarray:
    """A file of silence."""
    return level(seconds, 0.0)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Deck A plays 0.5; input 1 carries 0.25 from the first second to the second one."""
    voice = np.concatenate([silence(1.0), level(1.0, VOICE), silence(4.0)])
    with Rig(inputs=[write(tmp_path / "voice.wav", voice)]) as rig:
        rig.send("/deck/A/load", str(write(tmp_path / "music.wav", level(8.0, MUSIC))))
        rig.run(1024)
        rig.start_inputs(rig.desk.frame)
        rig.send("/deck/A/play")
        yield rig


def at(rig: Rig, seconds: float) -> float:
    """The output at a time after the beginning of the input, rounded to 4 digits."""
    frame = 1024 + round(seconds * RATE)
    while rig.desk.frame <= frame:
        rig.run(1024)
    return round(float(rig.out[frame, 0]), 4)


def test_the_input_joins_the_mix_and_talkover_ducks_the_music(rig: Rig) -> None:
    rig.send("/input/1/talkover", 1)
    rig.send("/input/1/talkover/depth", 20.0)
    rig.send("/input/1/talkover/hold", 0.5)
    rig.send("/input/1/talkover/release", 0.25)
    assert rig.fails() == []
    assert at(rig, 0.9) == MUSIC
    assert at(rig, 1.5) == pytest.approx(0.1 * MUSIC + VOICE, abs=1e-3)
    assert rig.status()["input.1.talking"] == 1
    assert at(rig, 2.4) == pytest.approx(0.1 * MUSIC, abs=1e-3)
    assert at(rig, 3.5) == MUSIC
    assert rig.status()["input.1.talking"] == 0


def test_without_talkover_the_music_stays(rig: Rig) -> None:
    assert at(rig, 1.5) == MUSIC + VOICE
    assert rig.status()["input.1.state"] == "playing"


def test_a_voice_below_the_threshold_does_not_duck(rig: Rig) -> None:
    rig.send("/input/1/talkover", 1)
    rig.send("/input/1/talkover/threshold", -6.0)
    assert at(rig, 1.5) == MUSIC + VOICE


def test_levels_act_at_the_frame_of_a_bundle(rig: Rig) -> None:
    when = rig.desk.frame + RATE + 777
    rig.raw(bundle_at(rig.tag_of(when), "/input/1/level", 0.0, 0.0))
    at(rig, 1.2)
    assert rig.fails() == []
    changed = np.flatnonzero(rig.out[when - 100 : when + 100, 0] != MUSIC + VOICE)
    assert int(changed[0]) == 100


def test_an_input_that_does_not_exist_is_refused_with_the_remedy(rig: Rig) -> None:
    for address, *arguments in (
        ("/input/2/level", 1.0), ("/input/2/mute",), ("/input/2/talkover",),
        ("/input/2/guard", 1), ("/input/2/kill", "low"), ("/input/2/fx/insert", 1, "echo"),
        ("/input/2/fx/list",), ("/input/2/talkover/hold", 1.0),
    ):
        rig.send(address, *arguments)
        assert "there is no input 2: it needs a second --input at the start" in rig.fails()[-1]
    assert len(rig.fails()) == 8


def test_numbers_out_of_range_are_refused(rig: Rig) -> None:
    for address, value in (
        ("/input/1/gain", 17.0), ("/input/1/level", -0.1), ("/input/1/filter", 1.5),
        ("/input/1/talkover/threshold", 1.0), ("/input/1/talkover/depth", 61.0),
        ("/input/1/talkover/hysteresis", -1.0), ("/input/1/mute", 2),
    ):
        rig.send(address, value)
        assert "out of range" in rig.fails()[-1]
    assert rig.core.live_inputs.inputs[0].talkover == Talkover()


def test_effects_of_an_input_are_heard_and_listed(rig: Rig) -> None:
    rig.send("/input/1/fx/insert", 1, "crusher", "bits", 2, "rate", 192000.0)
    rig.send("/input/1/fx/list")
    assert rig.heard("/input/1/fx/list.reply")[0][:2] == (1, "crusher")
    assert at(rig, 1.5) != MUSIC + VOICE
    assert rig.status()["input.1.fx"].startswith("crusher")


def test_inputs_are_recorded_alone_and_in_the_master(rig: Rig, tmp_path: Path) -> None:
    recorder = FakeRecorder()
    rig.core.recordings.launch = lambda _desk: recorder
    rig.send("/record/start", str(tmp_path / "mix.wav"), "master", "inputs", "input1")
    assert rig.fails() == []
    (start,) = recorder.sent
    assert start["files"] == [
        (TAP_MASTER, str(tmp_path / "mix.wav")),
        (TAP_INPUT, str(tmp_path / "mix-input-1.wav")),
    ]
    rig.send("/record/start", str(tmp_path / "mix.wav"), "input2")
    assert "there is no input 2" in rig.fails()[0]


def test_without_inputs_none_can_be_recorded(tmp_path: Path) -> None:
    with Rig() as rig:
        rig.send("/record/start", str(tmp_path / "mix.wav"), "inputs")
        assert "there are no inputs: they need --input at the start" in rig.fails()[0]


def test_a_successor_of_control_keeps_mutes_and_talkover(tmp_path: Path) -> None:
    path = write(tmp_path / "voice.wav", silence(1.0))
    with RestartableRig(inputs=[path]) as rig:
        rig.send("/input/1/talkover", 1)
        rig.send("/input/1/talkover/depth", 30.0)
        rig.send("/input/1/mute", 1)
        rig.send("/input/1/guard", 0)
        rig.run(4096)
        before = rig.core.live_inputs.to_state()
        rig.restart_control()
        assert rig.core.live_inputs.to_state() == before
        one = rig.core.live_inputs.inputs[0]
        assert one.muted and not one.guard and one.talkover.depth == 30.0
