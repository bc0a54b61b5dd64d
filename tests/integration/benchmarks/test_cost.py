"""The cost of `render`: the measured load is the one in the table."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks import common, cost
from benchmarks.cost import Cost, Load, Table
from crowdstream.desk.block import Desk
from crowdstream.desk.ramps import VOICE_STEM, voice_ramp
from crowdstream.engine.render import render
from crowdstream.offline.session import Session


def audible_stems(mixer: Session) -> int:
    gains = mixer.desk.ramps["value"]
    return sum(
        bool(gains[voice_ramp(int(slot), VOICE_STEM + stem)] > 0.0)
        for slot in np.flatnonzero(mixer.desk.voices["state"])
        for stem in range(int(mixer.desk.voices["stems"][slot]))
    )


@pytest.mark.parametrize(
    ("stems", "sounding", "voices"), [(1, 1, 1), (4, 4, 1), (16, 16, 4), (64, 16, 16), (16, 0, 4)]
)
def test_the_requested_number_of_stems_is_audible(stems: int, sounding: int, voices: int) -> None:
    with cost.playing(Load(stems, sounding, 256), 0.3) as mixer:
        mixer.render(256)
        assert np.count_nonzero(mixer.desk.voices["state"]) == voices
        assert audible_stems(mixer) == sounding
        assert mixer.desk.ledger["missing_frames"] == 0
        assert set(mixer.desk.eq_use["eq_state"]) == {1}


def test_a_measurement_is_of_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = set()

    def recorded(desk: Desk, out: np.ndarray) -> None:
        shapes.add(out.shape)
        render(desk, out)

    monkeypatch.setattr(cost, "render", recorded)
    found = cost.measure(Load(4, 4, 64), 0.1, 0.3)
    assert shapes == {(64, 2)}
    assert found.median_ns > 0.0
    assert found.p99_ns >= found.median_ns


def test_an_unexpected_mix_is_not_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cost, "_silence", lambda *_: None)
    with pytest.raises(common.BenchmarkError, match="0 stems sound and the peak is"):
        cost.measure(Load(4, 0, 256), 0.1, 0.3)


def test_cost_of_a_frame_and_its_budget() -> None:
    found = Cost(Load(4, 4, 441), 100_000.0, 200_000.0, 44100.0)
    assert found.frame_ns == pytest.approx(226.757, abs=0.001)
    assert found.percent == pytest.approx(1.0)


def fake(load: Load) -> Cost:
    return Cost(load, load.block * (40.0 + 6.0 * load.sounding), 1e6, 44100.0)


def test_rows_are_the_loads_of_the_table() -> None:
    stems, silence, block = (make(fake) for make in cost.TABLES)
    assert [row["stems"] for row in stems.rows] == [1, 4, 16, 64]
    assert [row["ns_per_frame"] for row in stems.rows] == [46.0, 64.0, 136.0, 424.0]
    assert stems.remark.startswith("a frame takes 40 ns and 6.00 ns for each stem; no row")
    assert stems.remark.endswith("further than 0% from that line")
    assert silence.remark == "all silent costs 9% of all sounding"
    assert [row["block"] for row in block.rows] == [32, 64, 128, 256, 512, 1024, 2048]


def test_everything_runs_and_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cost, "measure", lambda load, _seconds: fake(load))
    assert cost.main(["--json", str(tmp_path / "cost.json")]) == 0
    found = json.loads((tmp_path / "cost.json").read_text())
    assert list(found) == ["machine", "stems", "silence", "block"]
    assert found["stems"]["rows"][0]["stems"] == 1
    printed = capsys.readouterr().out
    assert "All stems sounding" in printed
    assert "ns_per_frame" in printed


def test_a_further_table_needs_one_function(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def effects(run: Callable[[Load], Cost]) -> Table:
        return Table("effects", "By effect", [{"n": 1.0, "ns_per_frame": 2.0}], "n", False)

    monkeypatch.setattr(cost, "TABLES", (effects,))
    assert cost.main([]) == 0
    assert "By effect" in capsys.readouterr().out


def test_a_plot_without_matplotlib_is_refused_immediately(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cost.main(["--plot", str(tmp_path / "cost.png")]) == 1
    assert "pip install matplotlib" in capsys.readouterr().err
