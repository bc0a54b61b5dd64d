"""The benchmark of pages and listeners: all clients are served, and goals are judged fairly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import mix, pages
from benchmarks.audience import AudienceProcess
from benchmarks.common import BenchmarkError
from crowdstream.demo.tracks import Track
from tests.support.offline_server import count, write


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short tracks instead of the demo's, and no long waits."""
    tracks = []
    for letter in "abcd":
        folder = tmp_path / letter
        folder.mkdir()
        for stem in ("bass", "drums"):
            write(folder / f"{stem}.wav", count(5))
        tracks.append(Track(folder, letter, 120.0, 2))
    monkeypatch.setattr(pages, "write_tracks", lambda _folder: tracks)
    monkeypatch.setattr(mix, "STILL_SECONDS", 0.3)
    monkeypatch.setattr(pages, "GONE_SECONDS", 0.2)
    monkeypatch.setattr(pages, "SETTLE_SECONDS", 0.2)


@pytest.mark.usefixtures("small")
def test_both_kinds_of_phases_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "result.json"
    flags = ["--driver", "null", "--pages", "2", "--listeners", "2", "--seconds", "1"]
    status = pages.main([*flags, "--rounds", "1", "--json", str(out)])
    said = capsys.readouterr().out
    assert status == (": reached" not in said)
    without, with_them = json.loads(out.read_text())
    assert (without["what"], with_them["what"]) == ("without", "with")
    assert "page_bytes_per_second" not in without
    # All clients are served; speed and cost depend on the machine.
    assert with_them["page_messages_per_second"] > 0
    assert with_them["sound_bytes_per_second"] > 0
    assert with_them["lost"] == 0
    assert with_them["cpu_web"] > 0
    assert with_them["render_p50_ms"] > 0


def test_clients_that_cannot_connect_report_it() -> None:
    with pytest.raises(BenchmarkError, match="could connect"), AudienceProcess("127.0.0.1:1", 1, 0):
        pass


def test_more_misses_than_by_chance_miss_the_goal() -> None:
    options = pages.parser().parse_args([])

    def judged(without: int, with_them: int, **changes: Any) -> list[str]:
        kind = {"missed": 0, "cpu_control": 2.0, "lost": 0} | changes
        return pages.verdicts([kind | {"missed": without}, kind | {"missed": with_them}], options)

    assert judged(0, 0) == judged(3, 3) == judged(9, 1) == judged(2, 3) == []
    assert "8 deadlines missed with, 1 without" in judged(1, 8)[0]
    assert "5 deadlines" in judged(0, 5)[0]
    assert "control takes 12.0 %" in judged(0, 0, cpu_control=12.0)[0]
    assert "2 of 40 were cut off" in judged(0, 0, lost=2)[0]


def test_chance_is_that_of_a_coin_toss() -> None:
    assert pages.chance(0, 1) == 0.5
    assert pages.chance(0, 5) == 1 / 32
    assert pages.chance(0, 0) == 1.0
