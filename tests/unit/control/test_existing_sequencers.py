"""Existing sequencers play unchanged, also a second time on the same server."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crowdstream.control.python_api import PythonAudioServer
from crowdstream.osc.codec import build
from tests.support.offline_server import RATE, Rig, at_once, level, write
from tests.support.sequencer_traffic import SECONDS, STARTS, STOPPED, packet, traffic

VALUES = (0.25, 0.125, 0.0625)


@pytest.fixture
def tracks(tmp_path: Path) -> list[str]:
    """A constant for each deck: the size of a step in the sum shows which deck started."""
    return [
        str(write(tmp_path / f"{deck}.wav", level(6, value)))
        for deck, value in zip("ABC", VALUES, strict=True)
    ]


def play(rig: Rig, tracks: list[str]) -> int:
    """Send all of a sequencer's traffic at its times; return the frame of its reset."""
    begin = rig.desk.frame
    zero = None
    for seconds, one in traffic(tracks):
        rig.run(begin + round(seconds * RATE) - rig.desk.frame)
        rig.raw(one)
        if one.startswith(b"/reset"):
            zero = rig.core.beat_clock.zero
    rig.run(begin + round(SECONDS * RATE) - rig.desk.frame)
    assert zero is not None and zero >= begin
    return zero


@pytest.mark.parametrize("block", [256, 1024])
def test_a_sequencer_plays_twice_with_exact_starts_and_nothing_fails(
    tracks: list[str], block: int, caplog: pytest.LogCaptureFixture
) -> None:
    with Rig(block=block) as rig:
        zeros = []
        for run in (1, 2):
            begin = rig.desk.frame
            zeros.append(play(rig, tracks))
            out = rig.out[begin:, 0]
            steps = begin + 1 + np.flatnonzero(np.abs(np.diff(out)) > 0.01)
            due = [zeros[-1] + round(seconds * RATE) for seconds in STARTS.values()]
            assert steps[:3].tolist() == due, f"run {run}"
            sums = [float(rig.out[frame, 0]) for frame in due]
            assert sums == pytest.approx(np.cumsum(VALUES).tolist(), abs=1e-6)
            assert not rig.out[begin + round((STOPPED + 0.1) * RATE) :].any()
        assert zeros[1] - zeros[0] == round(SECONDS * RATE)
        assert rig.fails() == []
        assert rig.heard("/late") == []
        status = rig.status()
        assert (status["failed"], status["malformed"], status["late_commands"]) == (0, 0, 0)
        assert status["messages"] == 2 * len(traffic(tracks))
        assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []


def test_a_reset_with_an_empty_array_is_a_reset(rig: Rig) -> None:
    rig.seconds(1)
    for one in (packet("/reset", []), packet("/reset"), packet("/reset", [[]]), b"/reset\0\0"):
        rig.seconds(0.1)
        now = rig.core.clock.now()
        rig.raw(one)
        assert rig.core.beat_clock.zero == now
    assert rig.fails() == []


def test_the_arguments_of_a_command_may_be_one_array(rig: Rig, steady: str) -> None:
    rig.raw(packet("/deck_levels", [0.5, 0.25, [0.125], 1]))
    rig.raw(packet("/cue", ["A", [steady]]))
    rig.raw(packet("/start_group", [[0.0], "A"]))
    rig.run(4096)
    status = rig.status()
    assert [status[f"deck.{deck}.level"] for deck in "ABCD"] == [0.5, 0.25, 0.125, 1.0]
    assert status["deck.A.state"] == "playing"
    rig.raw(packet("/deck_levels", [1.0] * 5))
    [failure] = rig.fails()
    assert failure.startswith("/deck_levels 5 arguments are too many")


def test_a_malformed_message_does_not_affect_the_rest_of_its_bundle(rig: Rig) -> None:
    unknown = b"/deck/B/level\0\0\0,z\0\0"
    torn = b"/deck/C/level\0\0\0,f\0\0"
    rig.raw(at_once(
        build("/deck/A/level", (0.5,)), unknown, at_once(torn, build("/deck/C/level", (0.25,))),
        packet("/deck/D/level", ["loud"]), packet("/set_tempo", [90.0]),
    ))
    rig.run(4096)
    status = rig.status()
    assert [status[f"deck.{deck}.level"] for deck in "ABCD"] == [0.5, 1.0, 0.25, 1.0]
    assert rig.core.beat_clock.bpm == 90.0
    addresses = [address for address, _ in rig.heard("/fail")]
    assert sorted(addresses) == ["/deck/B/level", "/deck/C/level", "/deck/D/level"]
    assert (status["malformed"], status["failed"]) == (2, 1)


def test_the_python_api_flattens_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    server = PythonAudioServer(osc_port=0, driver="null")
    carried_out: list[tuple[str, tuple[Any, ...]]] = []

    class Carrier:
        """Stands in for the running server."""

        def run_command(self, address: str, arguments: tuple[Any, ...], _reply: object) -> bool:
            carried_out.append((address, arguments))
            return True

    monkeypatch.setattr(server, "_server", Carrier())
    assert server.osc_reset("", [])
    assert server.osc_deck_levels("/deck_levels", [1.0, (0.5, [0.0])], 0.25)
    assert carried_out == [("/reset", ()), ("/deck_levels", (1.0, 0.5, 0.0, 0.25))]
