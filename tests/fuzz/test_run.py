"""The search itself: it finds a fault, stores the input and reports it by its exit status."""

from __future__ import annotations

import itertools
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.fuzz import mutate, registry, run
from tests.fuzz.mutate import needed
from tests.fuzz.registry import NAMES, Fault, Target, load, with_time_limit
from tests.support.byte_source import ByteSource


def _seeds() -> Iterator[bytes]:
    yield b"good"


def _raises(data: bytes) -> None:
    if data[:1] > b"\xf0":
        raise Fault("the first byte is too high")


def _branches(data: bytes) -> None:
    if data[:1] == b"x":
        data = data[1:]
    if data[:1] == b"y":
        data = data[1:]


BAD = Target("osc", "", _raises, _seeds, ("tests.fuzz.test_run",))


@pytest.fixture(autouse=True)
def _corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "CORPUS", tmp_path / "corpus")


@pytest.mark.parametrize("name", NAMES)
def test_each_target_has_the_name_of_its_module(name: str) -> None:
    assert load(name).name == name
    assert load(name).about


def test_a_fault_is_stored_in_the_corpus_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "load", lambda name: BAD)
    # Each read of the clock advances it by 1 ms, so every machine tries 500 inputs.
    passed = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: next(passed) / 1000)
    monkeypatch.setattr(mutate, "time", clock)
    assert run.fuzz_without_atheris("osc", 0.5, 1, tmp_path / "work") == 1
    kept = BAD.corpus()
    assert kept and all(name.startswith("fault-") for name in kept)
    assert all(data[:1] > b"\xf0" for data in kept.values())
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("FAULT in osc, kept as ")
    assert json.loads(printed[-1])["faults"] == len(kept)


def test_a_search_without_faults_does_not_change_the_corpus(tmp_path: Path) -> None:
    assert run.fuzz_without_atheris("osc", 0.1, 1, tmp_path / "work") == 0
    assert not load("osc").corpus()


def test_an_input_beyond_the_time_limit_is_a_fault() -> None:
    def endless(_data: bytes) -> None:
        while True:
            pass

    target = with_time_limit(Target("osc", "", endless, _seeds, (), budget=0.05))
    with pytest.raises(Fault, match=r"takes more than 0\.05 s"):
        target.run(b"")
    with_time_limit(Target("osc", "", lambda data: None, _seeds, ())).run(b"")
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_the_smallest_input_that_reaches_a_line_is_kept() -> None:
    target = Target("osc", "", _branches, _seeds, ("tests.fuzz.test_run",))
    inputs = [b"none", b"x long", b"x", b"xy", b"y", b"yy"]
    assert needed(target, inputs) == [b"x", b"y"]


def test_choices_default_to_zero_after_the_last_byte() -> None:
    source = ByteSource(bytes([3, 255, 255]))
    assert source.pick("abcd") == "d"
    assert source.share() == 1.0
    assert (source.left, source.byte(), source.pick("abcd"), source.share()) == (0, 0, "a", 0.0)
