"""The long night: a short run on a real server, and the judging of logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks import soak
from benchmarks.long_night import judge, log
from benchmarks.long_night.log import Night
from crowdstream.desk.opcodes import CAUSES
from tests.support.long_night import files, plan
from tests.support.long_night.model import Piece

RATE, BLOCK = 44100, 256
Entry = dict[str, Any]


def night(*more: Entry, minutes: float = 2.0, **changes: Any) -> Night:
    """Return the log of a good night with additional entries; `changes`: to every second."""
    entries: list[Entry] = [
        {"what": "night", "t": 0.0, "memory_mb": 256},
        {"what": "desk", "t": 0.0, "rate": RATE, "block": BLOCK, "pages": 10},
    ]
    for second in range(round(minutes * 60)):
        entries.append({
            "what": "second", "t": float(second), "asked_ns": int((second + 1) * 1e9),
            "frame": second * RATE, "p50": 0.1, "p99": 0.2, "p100": 0.3, "playing": 2,
            "engine_waited": 0.0, "card_waited": 0.0, "stolen": 0.0, "guarded": 0,
            "events_lost": 0, "pending_refused": 0, "gaps": [0] * len(CAUSES), **changes,
        })  # fmt: skip
        if second % 10 == 0:
            entries.append(family(float(second)))
    entries += [
        {"what": "set begins", "t": 1.0}, {"what": "answer", "t": 5.0, "key": "/synced", "ms": 9.0},
        {"what": "status", "t": 60.0 * minutes, "pages_used_mb": 0.0, "dropped": 0},
        {"what": "calm", "t": 60.0 * minutes},
        {"what": "shut down", "t": 60.0 * minutes, "left": [], "shared_memory": []},
    ]  # fmt: skip
    return Night(iter([*entries, *more]))


def family(at: float, own: float = 60e6, files: int = 14) -> Entry:
    """Return a reading of the processes: one engine."""
    row = {"role": "engine", "pid": 7, "own": own, "pss": own, "files": files, "threads": 5,
           "cpu": 0.1 * at}
    return {"what": "family", "t": at, "members": [row], "shared": 100e6, "own_cpu": 0.0}


def killed(kind: str = "engine", **changes: Any) -> list[Entry]:
    """Return the entries of a survived kill at 50 s, with changes."""
    entry = {
        "what": "killed", "t": 54.0, "kind": kind, "number": 1, "gap_ms": 12.0, "answered": 0.1,
        "ended": 0.5, "replaced": 2.0, "moved": 0.02, "playing": 2, "on": 2, "noted": 1,
    }  # fmt: skip
    return [{"what": "kill", "t": 50.0, "kind": kind, "number": 1}, entry | changes]


def gap(at: float, cause: str = "late_callback") -> Entry:
    """Return a gap of 12 ms."""
    return {"what": "gap", "t": at, "number": 0, "frame": 1, "excess_ms": 12.0, "cause": cause,
            "at": at}


def failed(made: Night, tmp_path: Path) -> set[str]:
    """Return the names of the missed requirements."""
    return {one.name for one in judge.verdicts(made, tmp_path, 20.0) if one.met is False}


def test_a_good_night_passes(tmp_path: Path) -> None:
    assert failed(night(), tmp_path) == set()
    assert failed(night(*killed(), gap(50.02, "engine")), tmp_path) == set()


@pytest.mark.parametrize(
    ("made", "demand"),
    [
        (night(gap(30.0)), "every gap is explained"),
        (night(gap(30.0, "engine")), "every gap is explained"),
        (night(gap(30.0, "missing_page")), "every gap is explained"),
        (night({"what": "no answer", "t": 9.0, "key": "/synced", "excused": False}),
         "all answers come"),
        (night({"what": "fail", "t": 9.0, "words": "/x internal error (KeyError)"}),
         "no internal error"),
        (night(family(121.0, files=40)), "no files or threads are left"),
        (night(family(1501.0, files=40), minutes=25.0), "no files or threads are left"),
        (night(family(121.0, own=900e6)), "memory stays within the budget and 300 MB"),
        (night({"what": "status", "t": 121.0, "pages_used_mb": 1.5, "dropped": 0}),
         "all pages come back"),
        (night(guarded=1), "nothing is lost inside"),
        (night({"what": "recording", "t": 9.0, "path": "a.wav", "fault": "it can't be read: x",
                "failed": "", "excused": True}), "recordings are readable and whole"),
        (night(*killed(gap_ms=51.0)), "the music survives each kill"),
        (night(*killed("control", answered=2.5)), "the music survives each kill"),
        (night(*killed(noted=0)), "the music survives each kill"),
        (night(*killed(on=0)), "the music survives each kill"),
        (night(*killed("loader", replaced=-1.0)), "the music survives each kill"),
        (night(*killed("hang", ended=-1.0)), "the music survives each kill"),
        (night(killed()[0]), "the music survives each kill"),
        (night({"what": "ended", "t": 9.0, "reason": "gone"}), "the server ran to the end"),
        (night({"what": "shut down", "t": 99.0, "left": [12], "shared_memory": []}),
         "nothing is left after the end"),
    ],
)  # fmt: skip
def test_each_fault_is_found(made: Night, demand: str, tmp_path: Path) -> None:
    assert failed(made, tmp_path) == {demand}


def test_a_gap_is_explained_by_a_machine_that_held_up_the_engine(tmp_path: Path) -> None:
    assert failed(night(gap(30.0), engine_waited=0.005), tmp_path) == set()
    many = [gap(2.0 * number) for number in range(1, 30)]
    assert failed(night(*many, engine_waited=0.005), tmp_path) == {
        "at most 20 gaps an hour outside of kills"
    }
    jump = {"what": "action", "t": 25.0, "kind": "send", "words": "('/deck/A/seek', 9.0)"}
    assert failed(night(jump, gap(30.0, "missing_page")), tmp_path) == set()


def test_lost_frames_must_be_in_the_ledger(tmp_path: Path) -> None:
    made = night(*killed(), gap(50.01, "engine"))
    missed = {"no frame is lost without an entry in the ledger"}
    for lost_at, demands in ((50, set()), (90, missed)):
        for entry in made.all("second"):
            entry["frame"] = round(entry["t"] * RATE) - (600 if entry["t"] > lost_at else 0)
        assert failed(made, tmp_path) == demands
    # Two seconds are not explained by a gap of 12 ms.
    made = night(gap(50.01), engine_waited=0.01)
    for entry in made.all("second"):
        entry["frame"] = round(entry["t"] * RATE) - (2 * RATE if entry["t"] > 50 else 0)
    assert failed(made, tmp_path) == missed


def test_a_long_night_is_judged_by_growth_and_clock(tmp_path: Path) -> None:
    made = night(minutes=30.0)
    assert failed(made, tmp_path) == set()
    for entry in made.all("family"):
        entry["members"][0]["own"] += 20e6 * entry["t"] / 3600.0
    assert failed(made, tmp_path) == {"memory of the processes' own does not grow"}
    made = night(minutes=30.0)
    for entry in made.all("second"):
        entry["frame"] = round(entry["t"] * RATE * (1.0 - 150e-6))
    assert failed(made, tmp_path) == {"the engine's frames keep to the card's clock"}


def test_a_truncated_line_is_ignored(tmp_path: Path) -> None:
    lines = [json.dumps({"what": "gap", "t": number}) for number in (1, 2)]
    (tmp_path / log.NAME).write_text("\n".join([*lines, '{"what": "ga']))
    assert [entry["t"] for entry in log.read(tmp_path).all("gap")] == [1, 2]


def test_a_short_night_on_the_built_in_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Slightly longer than waveform files are kept for a page that may reconnect.
    monkeypatch.setattr(soak, "CALM_SECONDS", 6.0)
    monkeypatch.setattr(soak, "STICK_SECONDS", 8.0)
    monkeypatch.setattr(plan, "FAULT_SECONDS", (2.0, 4.0))
    monkeypatch.setattr(files, "pieces", lambda _seconds: [
        Piece("a", 8.0, 1, 120.0, "16"), Piece("b", 6.0, 3, 110.0, "24 mono"),
        Piece("c", 9.0, 1, 125.0, "flac 16"),
    ])  # fmt: skip
    out = tmp_path / "out"
    flags = ["--hours", "0.005", "--seed", "5", "--driver", "null", "--pace", "0.2", "--kills",
             "recorder", "--kill-every", "4", "--faults", "stick", "--fault-every", "4",
             "--no-input", "--gaps-per-hour", "1e9", "--out", str(out)]
    status = soak.main(flags)
    said, trouble = capsys.readouterr()
    made = log.read(out)
    assert made.one("calm") and not made.one("ended")
    assert len(made.all("action")) > 20
    assert len(made.all("second")) > 5
    assert {entry["kind"] for entry in made.all("fault")} == {"stick"}
    assert made.all("answer") and made.all("recording") and made.all("family")
    assert max(entry["playing"] for entry in made.all("second")) > 0
    # A busy machine may cause gaps, which are judged; nothing else may be wrong.
    missed = {line for line in said.splitlines() if line.startswith("FAIL ")}
    assert all("gap" in line or "frame is lost" in line for line in missed), missed
    assert status == bool(missed), trouble
    assert (out / "report.txt").read_text() in said
    assert (out / "report.png").stat().st_size > 10_000
    assert not list((out / "recordings").iterdir())
    assert soak.main(["--report", str(out), "--gaps-per-hour", "1e9"]) == status
    members = [entry["members"] for entry in made.all("family")]
    assert {row["role"] for row in members[-1]} >= {"engine", "loader"}
    assert not [row for row in members[-1] if psutil.pid_exists(row["pid"])]
