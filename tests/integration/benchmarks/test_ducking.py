"""The benchmark of ducking finds no deviations, and detects provoked ones."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks import common, ducking
from benchmarks.ducking import MUSIC, RATE, Setup
from crowdstream.control.decks.deck_manager import DeckManager
from crowdstream.desk.ramps import RAMP_DUCK


def test_the_mix_gives_way_as_set_and_without_a_click(tmp_path: Path) -> None:
    file = tmp_path / "ducking.json"
    assert ducking.main(["--trials", "12", "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    assert result["faults"] == [] and result["trials"] == 12
    assert set(result["named"]) == set(ducking.NAMED)
    assert result["largest_deviation"]["down_ms"] >= 0.0
    *ducks, step = result["clicks"]
    assert all(one["peak_above_4_khz_dbfs"] < -100 for one in ducks)
    assert step["peak_above_4_khz_dbfs"] > -80, "what a click would look like"


def test_a_late_or_shallow_duck_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = DeckManager.ramp

    def slower(self: DeckManager, request: object, row: int, value: float, *rest: float) -> None:
        if row == RAMP_DUCK and value < 1.0:
            value, rest = 1.1 * value, (2.0 * rest[0], *rest[1:])
        ramp(self, request, row, value, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(DeckManager, "ramp", slower)
    result = ducking.run(3, 1, tmp_path, common.Progress(9))
    assert len(result["faults"]) == 3 + len(ducking.NAMED)
    assert all("depth_db" in one for one in result["faults"])


SETUP = Setup(depth=20.0, attack=0.1, hold=0.2, release=0.3, ahead=0.15, silence=0.05)
SPOKEN = ducking.words(SETUP.silence, 3)


def rendered(
    depth: float = 20.0, attack: float = 0.1, hold: float = 0.2, release: float = 0.3,
    ahead: float = 0.15,
) -> np.ndarray:  # fmt: skip
    """An announcement of `SPOKEN` with these values, as an ideal server renders it."""
    out = np.zeros((3 * RATE, 2), np.float32)
    begin = RATE
    falls = begin - round(ahead * RATE)
    rises = begin + len(SPOKEN) + round(hold * RATE)
    low = 10 ** (-depth / 20)
    points = [0, falls, falls + attack * RATE, rises, rises + release * RATE, len(out)]
    gain = np.interp(np.arange(len(out)), points, [1.0, 1.0, low, low, 1.0, 1.0])
    out[:, 0] = MUSIC * gain
    out[begin : begin + len(SPOKEN)] += SPOKEN
    return out


def test_an_ideal_duck_has_no_deviations() -> None:
    found = ducking.measure(SETUP, rendered(), SPOKEN)
    assert ducking.faults(SETUP, found) == []
    assert found.down_ms == pytest.approx(100.0, abs=0.1)
    for name in ("depth_db", "attack_ms", "hold_ms", "release_ms", "ahead_ms"):
        assert abs(getattr(found, name)) < 0.1, name


@pytest.mark.parametrize(
    ("name", "values", "deviation"),
    [
        ("depth_db", {"depth": 19.0}, 1.0),
        ("attack_ms", {"attack": 0.12}, 20.0),
        ("hold_ms", {"hold": 0.25}, 50.0),
        ("release_ms", {"release": 0.2}, -100.0),
        ("ahead_ms", {"ahead": 0.13}, -20.0),
    ],
)
def test_each_deviation_is_measured(name: str, values: dict[str, float], deviation: float) -> None:
    found = ducking.measure(SETUP, rendered(**values), SPOKEN)
    assert getattr(found, name) == pytest.approx(deviation, rel=0.05, abs=0.1)


def test_words_that_come_early_or_damaged_and_a_step_are_found() -> None:
    late = ducking.measure(SETUP, rendered(ahead=0.02), SPOKEN)
    assert late.down_ms < 0.0 and "down_ms" in ducking.faults(SETUP, late)
    out = rendered()
    out[RATE + 9000, 1] += 0.01
    assert "words" in ducking.faults(SETUP, ducking.measure(SETUP, out, SPOKEN))
    out = rendered()
    out[RATE + 9000 :, 0] *= 0.5
    out[-2000:, 0] = MUSIC
    assert "step" in ducking.faults(SETUP, ducking.measure(SETUP, out, SPOKEN))
    with pytest.raises(common.BenchmarkError, match="not heard"):
        ducking.measure(SETUP, np.full((100, 2), [MUSIC, 0.0], np.float32), SPOKEN)


def test_a_click_is_seen_above_a_tone() -> None:
    frames = np.arange(2 * RATE)
    wave = np.stack([MUSIC * np.sin(2 * math.pi * 100 * frames / RATE)] * 2, axis=1)
    assert ducking.clicks_dbfs(wave) < -130
    wave[RATE + 123 :] *= 0.99
    assert ducking.clicks_dbfs(wave) > -80
