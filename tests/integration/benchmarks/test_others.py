"""Each further benchmark runs from end to end on the built-in clock, small."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import common, first_sound, memory, osc_flood, second_start

Main = Callable[[list[str]], int]


def results(main: Main, file: Path, *flags: str) -> list[dict[str, Any]]:
    # A goal that this machine misses gives status 1: figures are not asserted here.
    assert main(["--driver", "null", "--json", str(file), *flags]) in (0, 1)
    found: list[dict[str, Any]] = json.loads(file.read_text())
    return found


def test_first_sound(tmp_path: Path) -> None:
    flags = ("--trials", "2", "--bytes", "2000000", "--long-seconds", "60", "--sizes", "256")
    found = results(first_sound.main, tmp_path / "a.json", *flags)
    assert [(entry["page_cache"], entry["trials"]) for entry in found] == [
        ("warm", 2), ("cold", 2), ("warm", 2), ("cold", 2),
    ]  # fmt: skip
    for entry in found:
        assert 0.0 < entry["median_rendered_ms"] < entry["median_ms"] <= entry["max_ms"]


@pytest.mark.parametrize(
    ("first", "callback", "rendered", "sounding"),
    [
        (1000, 1000, 50.0, 60.0),  # the callback at hand rendered it, with its first frame
        (1000, 1400, 10.0, 20.0),  # four blocks of 10 ms earlier
        (1050, 1400, 10.0, 25.0),  # the same block, 5 ms inside it
        (1450, 1400, 50.0, 65.0),
    ],
)
def test_place_of_a_first_frame(
    first: int, callback: int, rendered: float, sounding: float
) -> None:
    sample = first_sound.place(first, callback, 50.0, 100, 10_000.0)
    assert sample.rendered_ms == pytest.approx(rendered)
    assert sample.sounding_ms == pytest.approx(sounding)


def test_memory(tmp_path: Path) -> None:
    flags = ("--stem-seconds", "2", "--seconds", "0.1")
    (entry,) = results(memory.main, tmp_path / "a.json", *flags)
    assert entry["stems"] == 16
    assert entry["pcm_mb"] == pytest.approx(16 * 2 * 44100 * 4 / 1e6, abs=0.1)
    assert entry["besides_pcm_mb"] == pytest.approx(
        entry["all_processes_mb"] - entry["pcm_mb"], abs=0.11
    )
    # The stems are in the shared block, and somebody has them mapped.
    assert entry["shared_block_mb"] >= entry["pcm_mb"]
    assert entry["all_processes_mb"] > entry["before_loading_mb"]
    assert {"guardian_mb", "control_mb", "engine_mb", "standby_mb", "loader_mb"} <= entry.keys()


def test_osc_flood_accounts_for_every_message(tmp_path: Path) -> None:
    flags = ("--rate", "3000", "--seconds", "1", "--stem-seconds", "2")
    (entry,) = results(osc_flood.main, tmp_path / "a.json", *flags)
    assert entry["sent"] == 3000
    assert entry["unaccounted"] == 0
    assert entry["malformed"] > 0
    assert entry["of_these_failed"] > 0
    total = entry["handled"] + entry["malformed"] + entry["refused"] + entry["dropped_by_kernel"]
    assert total == 3000


def test_osc_flood_sees_a_lost_message(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([{"messages": 11 + asked} for asked in range(1, 100)])
    monkeypatch.setattr(osc_flood, "DRAIN_SECONDS", 0.0)
    monkeypatch.setattr(
        osc_flood, "accounted",
        lambda _server: dict.fromkeys(osc_flood.BUCKETS, 0) | next(readings),
    )  # fmt: skip
    before = dict.fromkeys(osc_flood.BUCKETS, 0)
    counts, missing = osc_flood.settle(None, before, 12)  # type: ignore[arg-type]
    assert counts["messages"] == 11
    assert missing == 1


def test_second_start(tmp_path: Path) -> None:
    flags = ("--starts", "1", "--bytes", "2000000")
    (entry,) = results(second_start.main, tmp_path / "a.json", *flags)
    assert 0.0 < entry["median_ready_s"] <= entry["median_sound_s"] == entry["max_sound_s"]


def test_a_server_that_does_not_start_is_told_with_its_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = ["--driver", "pyaudio", "--device", "no such device", "--trials", "1"]
    assert first_sound.main([*flags, "--bytes", "2000", "--long-seconds", "20"]) == 1
    assert "the server has ended" in capsys.readouterr().err
    assert issubclass(common.BenchmarkError, RuntimeError)
