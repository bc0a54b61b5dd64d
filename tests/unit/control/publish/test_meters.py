"""Meters over OSC: to subscribers, at their rate, only when they change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crowdstream.control.engine_queue.request import MAX_SUBSCRIBERS
from crowdstream.control.publish.subscribers import SILENT_SECONDS
from crowdstream.desk.constants import DECKS, STEMS, TAP_STEM
from crowdstream.desk.opcodes import METERS_MIX, METERS_STEMS
from crowdstream.monitor.meters import FLOOR
from tests.support.offline_server import RATE, Rig, playing, write


@pytest.fixture
def tone(tmp_path: Path) -> str:
    """A tone that reads -20 LUFS: 997 Hz at -20 dBFS in both channels, 20 s."""
    wave = 0.1 * np.sin(2 * np.pi * 997 * np.arange(20 * RATE) / RATE)
    return str(write(tmp_path / "tone.wav", np.stack([wave, wave], 1)))


def _latest(rig: Rig) -> dict[str, tuple[Any, ...]]:
    return {str(values[0]): values[1:] for values in rig.heard("/meter")}


def test_meters_show_the_levels_of_a_playing_track(rig: Rig, tone: str) -> None:
    rig.send("/meters", 20.0)
    rig.send("/deck/B/level", 0.5)
    playing(rig, tone, buffer=1100)
    rig.seconds(1.0)
    peak, rms, lufs = _latest(rig)["B"]
    assert (peak, rms, lufs) == pytest.approx((-20.0, -23.0, -20.0), abs=0.15)
    peak, rms, lufs = _latest(rig)["master"]
    assert (peak, rms, lufs) == pytest.approx((-26.0, -29.0, -26.0), abs=0.15)
    assert not {"A", "C", "D", "cue", "B/1"} & _latest(rig).keys()


def test_clients_that_have_vanished_make_room_for_others(rig: Rig) -> None:
    clients = [("127.0.0.1", 50000 + number) for number in range(MAX_SUBSCRIBERS + 1)]
    for client in clients:
        rig.send("/meters", 1.0, sender=client)
    assert rig.fails() == [f"/meters {MAX_SUBSCRIBERS} clients are subscribed to meters already"]
    rig.time += SILENT_SECONDS + 1.0
    for client in clients[1:MAX_SUBSCRIBERS]:
        rig.send("/version", sender=client)  # all but the first keep sending
    rig.send("/meters", 1.0, sender=clients[-1])
    assert len(rig.fails()) == 1
    assert set(rig.core.meters.senders()) == set(clients[1:])
    rig.send("/meters", 1.0, sender=("127.0.0.1", 60000))
    assert len(rig.fails()) == 2


def test_meters_are_sent_on_changes_at_the_requested_rate(rig: Rig, tone: str) -> None:
    rig.send("/meters", 10.0)
    rig.seconds(1.0)
    assert not rig.heard("/meter")
    playing(rig, tone)
    rig.seconds(2.0)
    assert len([values for values in rig.heard("/meter") if values[0] == "A"]) <= 12
    count = len(rig.heard("/meter"))
    rig.seconds(1.0)
    assert len(rig.heard("/meter")) - count <= 4  # a steady tone
    rig.send("/stop_stem", 100)
    rig.seconds(1.0)
    assert _latest(rig)["master"] == (FLOOR, FLOOR, FLOOR)


def test_the_engine_measures_only_for_subscribers(rig: Rig) -> None:
    def on() -> tuple[int, bool]:
        stems = rig.desk.taps["on"][TAP_STEM : TAP_STEM + STEMS * DECKS]
        return int(rig.desk.metering["on"]), bool(stems.all())

    assert on() == (0, False)
    rig.send("/meters", 10.0, "all", sender=("127.0.0.1", 1))
    rig.send("/meters", 10.0, sender=("127.0.0.1", 2))
    assert on() == (METERS_MIX | METERS_STEMS, True)
    rig.send("/meters", 0, sender=("127.0.0.1", 1))
    assert on() == (METERS_MIX, False)
    rig.send("/meters", 0, sender=("127.0.0.1", 2))
    assert on() == (0, False)
    assert len(rig.heard("/done")) == 4


def test_invalid_rates_are_refused(rig: Rig) -> None:
    for rate in (-1.0, 0.5, 61.0):
        rig.send("/meters", rate)
    rig.send("/meters", 10.0, "drums")
    assert len(rig.fails()) == 4
    assert int(rig.desk.metering["on"]) == 0


def test_each_stem_of_a_deck_has_a_meter(rig: Rig, tmp_path: Path) -> None:
    wave = 0.1 * np.sin(2 * np.pi * 997 * np.arange(4 * RATE) / RATE)
    (tmp_path / "track").mkdir()
    for name, level in (("drums", 1.0), ("bass", 0.1)):
        write(tmp_path / "track" / f"{name}.wav", level * np.stack([wave, wave], 1))
    rig.send("/meters", 20.0, "all")
    playing(rig, str(tmp_path / "track"), buffer=2100)
    rig.seconds(1.0)
    assert _latest(rig)["C/1"] == pytest.approx((-20.0, -23.0, -20.0), abs=0.15)
    assert _latest(rig)["C/2"] == pytest.approx((-40.0, -43.0, -40.0), abs=0.15)
    assert not {"C/3", "A/1", "D/1"} & _latest(rig).keys()
