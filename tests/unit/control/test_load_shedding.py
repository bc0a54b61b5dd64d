"""Load shedding as clients see it: levels are held, reported and restored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crowdstream.engine.schedule.ledger import end_block
from tests.support.offline_server import RATE, Rig, write

HERTZ = 441.0


@pytest.fixture
def tone(tmp_path: Path) -> str:
    """A sine of 441 Hz."""
    wave = 0.3 * np.sin(2 * np.pi * HERTZ * np.arange(12 * RATE) / RATE)
    return str(write(tmp_path / "tone.wav", np.stack([wave, wave], 1)))


def _overload(rig: Rig, share: float, blocks: int) -> None:
    # Make the engine report that `blocks` blocks took this share of their duration.
    rig.seconds(1.0)
    for _ in range(blocks):
        rig.step()
        end_block(rig.desk.address, 256, round(share * 256 / RATE * 1e9))
    rig.step()


def _heard(rig: Rig) -> float:
    rig.seconds(0.3)
    begin = len(rig.out)
    rig.seconds(1.0)
    sound = rig.out[begin:, 0]
    return float(np.argmax(np.abs(np.fft.rfft(sound * np.hanning(len(sound))))))


def test_a_level_is_held_until_auto_releases_it(rig: Rig) -> None:
    rig.send("/quality", 2)
    rig.run(1024)
    assert (rig.status()["quality"], rig.status()["quality_asked"]) == (2, "2")
    rig.send("/quality", "AUTO")
    rig.run(1024)
    assert (rig.status()["quality"], rig.status()["quality_asked"]) == (2, "auto")
    rig.seconds(10.0)
    assert rig.status()["quality"] == 0
    assert rig.status()["quality_lowered"] == 0
    assert not rig.fails()


def test_an_overload_and_its_end_are_reported_with_the_reason(rig: Rig) -> None:
    rig.send("/notify", 1)
    _overload(rig, 1.5, 20)
    reports = rig.heard("/quality")
    assert [level for level, _reason in reports] == [1, 2, 3]
    assert {reason for _level, reason in reports} <= {"deadline", "load"}
    assert rig.status()["quality"] == 3 and rig.status()["quality_lowered"] == 3
    rig.seconds(30.0)
    assert rig.heard("/quality")[3:] == [(2, "calm"), (1, "calm"), (0, "calm")]
    rig.send("/quality", 1)
    rig.run(512)
    assert rig.heard("/quality")[-1] == (1, "command")


def test_only_subscribers_are_notified(rig: Rig) -> None:
    _overload(rig, 1.5, 20)
    assert rig.heard("/quality") == []


def test_full_quality_is_never_lowered() -> None:
    rig = Rig(load_shedding="full")
    _overload(rig, 1.5, 40)
    status = rig.status()
    assert (status["quality"], status["quality_asked"], status["quality_lowered"]) == (0, "0", 0)
    rig.close()


def test_the_load_is_in_the_status(rig: Rig) -> None:
    assert rig.status()["load_percent"] < 1.0
    _overload(rig, 0.6, 60)
    assert 40.0 < rig.status()["load_percent"] < 60.1


def test_a_bypassed_keylock_is_restored(rig: Rig, tone: str) -> None:
    rig.send("/deck/A/load", tone)
    rig.run(2048)
    assert (rig.status()["deck.A.keylock"], rig.status()["deck.A.pitch"]) == (0, 0.0)
    rig.send("/deck/A/rate", 1.06)
    rig.send("/deck/A/keylock", 1)
    rig.send("/deck/A/play")
    assert _heard(rig) == pytest.approx(HERTZ, abs=1.5)
    rig.send("/quality", 2)
    assert _heard(rig) == pytest.approx(1.06 * HERTZ, abs=1.5)
    assert rig.status()["deck.A.keylock"] == 1
    rig.send("/quality", 0)
    assert _heard(rig) == pytest.approx(HERTZ, abs=1.5)
    rig.send("/deck/B/pitch", -3.0)
    rig.run(512)
    assert rig.status()["deck.B.pitch"] == -3.0 and rig.status()["deck.A.pitch"] == 0.0


def test_an_invalid_level_is_refused(rig: Rig) -> None:
    for wrong in (4, -1, "high", float("nan")):
        rig.send("/quality", wrong)
    rig.run(512)
    assert len(rig.fails()) == 4
    assert rig.status()["quality"] == 0 and rig.status()["quality_asked"] == "auto"
