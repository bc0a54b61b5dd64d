"""Key compatibility, energy curves, the tempo map, track features, the plot and explanations."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from crowdstream.control.engine_queue.request import discard_reply
from crowdstream.desk.snapshot import read_snapshot
from crowdstream.dj.key_compatibility import best_key_fit, key_fit, transposed
from crowdstream.dj.planning.candidates import Candidates
from crowdstream.dj.planning.energy_curve import CurveError, find_curve
from crowdstream.dj.planning.explain import explain
from crowdstream.dj.planning.planner import Plan, Planner, PlanOptions, entry_of
from crowdstream.dj.planning.plot import plot_set
from crowdstream.dj.setfile.tempo_map import TempoMap
from crowdstream.dj.track_features import TrackFeatures
from crowdstream.library.refit import with_downbeat
from crowdstream.offline.session import Session
from crowdstream.settings import Settings
from tests.support.track_analyses import analysis, club


def test_key_costs_follow_the_steps_on_the_wheel() -> None:
    order = [("8A", "8A"), ("12A", "1A"), ("8A", "8B"), ("8A", "10A"), ("8A", "9B"), ("8A", "3A"),
             ("8A", "2A")]  # fmt: skip
    costs = [key_fit(*pair).cost for pair in order]
    assert costs == sorted(costs)
    assert costs[0] == 0
    assert costs[-1] == 1
    assert 0 < key_fit("", "8A").cost < 1
    assert "boost" in key_fit("11B", "1B").words


def test_a_clashing_track_is_transposed_by_up_to_two_semitones() -> None:
    assert transposed("8A", 1) == "3A"  # A minor to B flat minor
    assert transposed("8A", -12) == "8A"
    assert transposed("", 2) == ""
    keys = [f"{hour}{ring}" for hour in range(1, 13) for ring in "AB"]
    for key in keys:
        fit = best_key_fit("8A", key)
        heard = key_fit("8A", transposed(key, fit.shift))
        assert fit.cost == pytest.approx(heard.cost + (0, 0.15, 0.25)[abs(fit.shift)])
        assert fit.cost <= key_fit("8A", key).cost
        assert fit.cost < 0.7
    assert [best_key_fit("8A", key).shift for key in ("8A", "9A", "8B", "3A", "1A")] == [
        0, 0, 0, -1, 1,
    ]  # fmt: skip
    assert "transposed by -1: same key, 8A" in best_key_fit("8A", "3A").words


def test_named_energy_curves() -> None:
    rise, peak, wave = (find_curve(name).energy for name in ("rise", "peak", "wave"))
    assert [rise(n / 10) for n in range(11)] == sorted(rise(n / 10) for n in range(11))
    assert max(range(11), key=lambda n: peak(n / 10)) == 7
    for curve in (rise, peak, wave):
        assert all(0 <= curve(n / 100) <= 1 for n in range(101))


def test_an_energy_curve_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "curve.txt"
    path.write_text("# percent, energy\n0 0.2\n50, 1.0\n100 0.4\n")
    curve = find_curve(str(path)).energy
    assert [curve(share) for share in (0, 0.25, 0.5, 0.75, 1)] == pytest.approx(
        [0.2, 0.6, 1.0, 0.7, 0.4]
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [("0 x\n", "line 1: expected percent"), ("0 0\n0 1\n", "line 2: percent must ascend"),
     ("0 0\n\n50 3\n", "line 3: percent must be"), ("", "no line with percent"),
     ("\n".join(f"{n / 20} 0.5" for n in range(1001)), "1001 points; the maximum is 1000"),
     ("nan 0.5", "line 1: percent must be")],
)  # fmt: skip
def test_an_error_in_a_curve_file_is_reported(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "curve.txt"
    path.write_text(text)
    with pytest.raises(CurveError, match=reason):
        find_curve(str(path))


def test_an_unknown_curve_name_is_reported() -> None:
    with pytest.raises(CurveError, match="must be one of rise, wave, peak, or a readable file"):
        find_curve("sideways")


def test_the_tempo_map_matches_the_servers_clock() -> None:
    tempo = TempoMap(120.0)
    assert tempo.second(60) == pytest.approx(30.0)
    tempo.add(8, 130.0, 16)
    # Ramps are linear in time (docs/concepts/time-and-sync.md): 16 beats at 125 BPM on average.
    assert tempo.second(24) - tempo.second(8) == pytest.approx(16 * 60 / 125)
    assert tempo.bpm(24) == 130
    assert tempo.bpm(16) == pytest.approx(((120**2 + 130**2) / 2) ** 0.5)
    for beat in (0.0, 5.0, 9.0, 17.3, 24.0, 40.0):
        assert tempo.beat(tempo.second(beat)) == pytest.approx(beat)
    with Session(Settings(bpm=120.0), 4 << 20) as session:
        session.render(256)
        session.perform("/clock/reset", (), discard_reply, session.desk.frame)
        begin = session.desk.frame
        session.send("/clock/at", 8.0, "/clock/tempo", 130.0, 16.0)
        for beat in (4.0, 12.0, 20.0, 30.0):
            while (moment := read_snapshot(session.desk)).beat < beat:
                session.render(4096)
            second = (moment.frame - begin) / 44100
            assert tempo.second(moment.beat) == pytest.approx(second, abs=2 / 44100)
            assert tempo.bpm(moment.beat) == pytest.approx(moment.bpm, abs=1e-3)


def test_a_later_ramp_starts_from_the_tempo_reached() -> None:
    tempo = TempoMap(100.0)
    tempo.add(0, 200.0, 64)
    tempo.add(32, 120.0, 8)
    reached = ((100**2 + 200**2) / 2) ** 0.5
    assert tempo.bpm(32) == pytest.approx(reached)
    assert tempo.bpm(40) == 120
    assert tempo.bpm(1000) == 120


def test_tempo_changes_may_be_added_in_any_order() -> None:
    changes = [(8, 130.0, 16), (40, 118.0, 8), (64, 122.0, 0)]
    maps = [TempoMap(120.0) for _ in range(2)]
    for tempo, order in zip(maps, (changes, changes[::-1]), strict=True):
        for change in order:
            tempo.add(*change)
    for beat in (4, 12, 30, 44, 64, 100):
        assert maps[1].bpm(beat) == pytest.approx(maps[0].bpm(beat))
        assert maps[1].second(beat) == pytest.approx(maps[0].second(beat))


def test_features_are_indexed_by_beats() -> None:
    features = TrackFeatures("/x", "x", analysis(120, sung=[(8, 12)]))
    assert features.second(4) == pytest.approx(2.1)
    assert features.beat(2.1) == pytest.approx(4)
    assert (features.begin, features.end) == (0, 384)
    assert features.has_vocals(32, 48)
    assert not features.has_vocals(48, 96)
    assert not features.has_vocals(0, 32)
    assert features.energy(0, 32) < features.energy(96, 128)
    assert features.loudness(96, 128) > features.loudness(0, 32) + 3


def test_a_corrected_downbeat_may_move_the_first_anchor_before_the_file() -> None:
    corrected = with_downbeat(analysis(120), 0.4)
    assert corrected.tempo.anchors[0][1] < 0.0
    features = TrackFeatures("/x", "x", corrected)
    assert len(features.anchors) == 2
    assert [features.second(beat) for beat in (0, 4)] == pytest.approx([0.4, 2.4])
    assert entry_of(features, 0.0, 1.0, "").bpm == pytest.approx(120.0)


def test_a_track_without_a_beat_has_bars_of_two_seconds() -> None:
    features = TrackFeatures("/x", "x", analysis(0, bars=30))
    assert features.second(4) == 2
    assert features.end == 120
    assert len(features.phrases) > 2


@pytest.fixture(scope="module")
def candidates() -> Candidates:
    return club(6)


@pytest.fixture(scope="module")
def plan(candidates: Candidates) -> Plan:
    return Planner(candidates, PlanOptions(8)).plan()


def test_the_plot_shows_each_track(candidates: Candidates, plan: Plan) -> None:
    paths = {entry.path for entry in plan.mix.entries}
    known = {path: candidates.features(path) for path in paths}
    energies = {path: candidates.energy(candidates.card(path)) for path in paths}
    text = plot_set(plan.mix, known, energies, find_curve("wave").energy)
    root = ElementTree.fromstring(text)
    words = " ".join(element.text or "" for element in root.iter() if element.tag.endswith("text"))
    for entry in plan.mix.entries:
        assert entry.path.rpartition("/")[2] in words
    for entry in plan.mix.entries[:-1]:
        assert entry.transition is not None
        assert entry.transition.kind in words
    assert all(f"Deck {deck}" in words for deck in "ABCD")
    assert "nan" not in text
    ElementTree.fromstring(plot_set(plan.mix, {}, {}))


def test_explanations_cover_each_track(plan: Plan) -> None:
    lines = explain(plan.mix, plan.others)
    text = "\n".join(lines)
    assert "opens the set" in lines[1]
    assert text.count("-> ") == sum(entry.transition is not None for entry in plan.mix.entries)
    assert text.count("instead of") >= len(plan.mix.entries) - 1
    assert "wanted" in text
