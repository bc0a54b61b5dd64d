"""Faults of a long night: a stick that is pulled out, and how gaps and recoveries are judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.long_night import analysis, judge
from benchmarks.long_night.log import Night
from tests.support.long_night.stick import Stick


def entry(what: str, t: float, **values: Any) -> dict[str, Any]:
    """A line of a night's log."""
    return {"what": what, "t": t, **values}


def night(*entries: dict[str, Any]) -> Night:
    """A night of ten minutes in which the machine never kept anything waiting."""
    seconds = [
        entry("second", float(at), engine_waited=0.0, card_waited=0.0, stolen=0.0)
        for at in range(600)
    ]
    return Night(iter([*seconds, *entries]))


def fault(kind: str, begin: float, end: float, name: str = "", **values: Any) -> Any:
    """The two lines of a fault."""
    number = round(begin)
    return (
        entry("fault", begin, kind=kind, number=number, name=name),
        entry("fault over", end, kind=kind, number=number, name=name, **values),
    )


def gap(at: float, cause: str, excess_ms: float = 5.0) -> dict[str, Any]:
    """A gap in the ledger."""
    return entry("gap", at, at=at, cause=cause, excess_ms=excess_ms)


def test_files_on_a_stick_that_is_pulled_out_end_also_for_those_who_read_them(
    tmp_path: Path,
) -> None:
    (tmp_path / "track").mkdir()
    (tmp_path / "track" / "stem.wav").write_bytes(b"x" * 1000)
    (tmp_path / "single.wav").write_bytes(b"y" * 1000)
    sources = {"stems": tmp_path / "track", "one": tmp_path / "single.wav"}
    stick = Stick(tmp_path / "stick", sources)
    assert stick.there
    with (stick.paths["stems"] / "stem.wav").open("rb", buffering=0) as file:
        assert file.read(10) == b"x" * 10
        stick.pull_out()
        file.seek(500)
        assert file.read(10) == b""
    assert not stick.there and not stick.paths["one"].exists()
    assert (tmp_path / "single.wav").stat().st_size == 1000
    stick.plug_in()
    assert stick.there and stick.paths["one"].read_bytes() == b"y" * 1000
    stick.close()
    assert not stick.there


@pytest.mark.parametrize(
    ("cause", "at", "why"),
    [
        ("late_callback", 105.0, "upgrade"),
        ("late_callback", 150.0, ""),
        ("missing_page", 205.0, "stick"),
        ("late_callback", 205.0, ""),
        ("missing_page", 250.0, ""),
    ],
)
def test_gaps_are_attributed_to_upgrades_and_to_missing_music(
    cause: str, at: float, why: str
) -> None:
    found = night(
        *fault("upgrade", 100.0, 120.0, status=0, replaced=True, text=""),
        *fault("stick", 200.0, 220.0, back=1.0), gap(at, cause),
    )  # fmt: skip
    (only,) = analysis.gaps(found)
    assert only.why == why


GOOD = fault("upgrade", 100.0, 120.0, status=0, replaced=True, text="done")
TAKEN_BACK = fault("bad-upgrade", 200.0, 230.0, "engine exits", status=1, replaced=False, text="")
RETURNED = fault("input", 300.0, 330.0, back=3.0, states=["playing", "searching", "playing"])


def verdict(*entries: dict[str, Any]) -> judge.Verdict:
    """The verdict on the faults."""
    (only,) = judge._faults(night(*entries))
    return only


def test_faults_that_were_survived_pass() -> None:
    found = verdict(*GOOD, *TAKEN_BACK, *RETURNED, gap(110.0, "late_callback", 12.0))
    assert found.met, found.reason
    assert "12.0 ms" in found.reason


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        (fault("upgrade", 100.0, 120.0, status=1, replaced=False, text="no room"), "no room"),
        (fault("upgrade", 100.0, 120.0, status=0, replaced=False, text=""), "replaced False"),
        (fault("bad-upgrade", 100.0, 120.0, "x", status=0, replaced=True, text=""), "status 0"),
        ((*GOOD, gap(110.0, "engine", 900.0)), "a gap of 900 ms"),
        (fault("input", 100.0, 150.0, back=-1.0, states=["searching"]), "did not return"),
        ((GOOD[0],), "never completed"),
    ],
)
def test_faults_that_were_not_survived_fail(entries: Any, reason: str) -> None:
    found = verdict(*entries)
    assert found.met is False and reason in found.reason


def status(t: float, gaps: int, state: str = "playing") -> dict[str, Any]:
    """A reading of the live input."""
    return entry("status", t, **{
        "input.1.state": state, "input.1.gaps": gaps, "input.1.drift_ppm": 2.0,
    })  # fmt: skip


def test_a_gap_of_the_input_needs_a_reason() -> None:
    steady = [status(50.0, 0), status(55.0, 0)]
    (found,) = judge._input(night(*steady))
    assert found.met
    (found,) = judge._input(night(*steady, status(60.0, 2)))
    assert found.met is False and "2 at 60 s" in found.reason
    lost = fault("input", 56.0, 58.0, back=1.0, states=[])
    (found,) = judge._input(night(*steady, status(60.0, 2), *lost))
    assert found.met
    (found,) = judge._input(night(*steady, status(60.0, 2), gap(59.0, "device")))
    assert found.met
