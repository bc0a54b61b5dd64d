"""The comparison from end to end, on stems of half a second, and its report."""

import json
from pathlib import Path

import pytest

from benchmarks import common, peers, usage
from benchmarks.renderers.base import Renderer
from benchmarks.renderers.ours import NAME, CrowdStream
from benchmarks.scene import Scene, mix_scene


class Fake(Renderer):
    """A program that is absent or fails."""

    does = "nothing"
    get = "nowhere"

    def __init__(self, name: str, version: str | None = "1", says: str = "exit 1") -> None:
        self.name = name
        self._version = version
        self._says = says

    def version(self) -> str | None:
        return self._version

    def command(self, scene: Scene, folder: Path, out: Path) -> list[str]:
        return ["sh", "-c", self._says]


def measured(name: str, cpu: float, thd_n: float = -120.0) -> peers.Measured:
    return peers.Measured(
        Fake(name), "1", cpu=[cpu, cpu, 9.0], start=[0.1], wall=[cpu], thd_n=[thd_n, thd_n]
    )


def test_this_project_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "all_renderers", lambda _: [CrowdStream(), Fake("gone", None)])
    file = tmp_path / "peers.json"
    assert peers.main(["--runs", "1", "--stem-seconds", "0.5", "--json", str(file)]) in (0, 1)
    found = json.loads(file.read_text())
    own, gone = found["programs"]
    assert own["program"] == NAME
    assert own["cpu_seconds"] > 0.0
    assert own["times_real_time"] == pytest.approx(found["seconds"] / own["cpu_seconds"])
    assert own["start_seconds"] > 0.0
    assert own["peak_mb"] > 10.0
    assert own["thd_n_1000_db"] < -100.0
    assert own["thd_n_10000_db"] < -100.0
    assert not gone["installed"]
    assert "cpu_seconds" not in gone


def test_absent_and_failing_programs_are_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    every = [Fake(NAME, says="echo out of paint; exit 2"), Fake("gone", None)]
    monkeypatch.setattr(peers, "all_renderers", lambda _: every)
    assert peers.main(["--runs", "1", "--stem-seconds", "0.5"]) == 1
    said = capsys.readouterr().out
    assert "gone: absent (nowhere)" in said
    assert f"{NAME}: failed: sh ended with status 2: out of paint" in said
    assert f"goal missed: {NAME} did not render the scene" in said


def test_a_program_that_stops_early_has_failed(tmp_path: Path) -> None:
    scene = mix_scene(0.5)
    out = tmp_path / "out.wav"
    usage.run(CrowdStream().command(mix_scene(0.3), tmp_path, out), tmp_path)
    with pytest.raises(common.BenchmarkError, match=f"of {scene.frames}"):
        peers.check_length(out, scene)
    peers.check_length(out, mix_scene(0.3))


def test_missed_goals_are_named() -> None:
    scene = mix_scene(0.5)
    fast, slow = scene.seconds / 150.0, scene.seconds / 50.0
    assert peers.missed([measured(NAME, fast), measured("other", slow)], scene) == []
    assert peers.missed([measured(NAME, slow), measured("other", fast)], scene) == [
        "50 times real time, the goal is 100",
        "other is as fast or faster",
    ]
    (said,) = peers.missed([measured(NAME, fast, -99.0)], scene)[:1]
    assert said == "THD+N -99.0 dB at 1000 Hz, the goal is -100 dB"


def test_the_table_has_the_fastest_first_and_medians() -> None:
    rows = peers.rows([measured("slow", 0.5), measured("fast", 0.25)], mix_scene(0.5))
    assert [row["program"] for row in rows] == ["fast", "slow"]
    assert [row["CPU s"] for row in rows] == ["0.25", "0.50"]


def test_programs_can_be_selected_and_this_project_is_always_included() -> None:
    every = [Fake(NAME), Fake("sox"), Fake("sox summed"), Fake("ffmpeg")]
    assert [each.name for each in peers.chosen(every, ["sox"])] == [NAME, "sox", "sox summed"]
    assert peers.chosen(every, []) == every
