"""Looks at files on a medium that hangs are abandoned in time."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from crowdstream.system import medium
from crowdstream.system.medium import MAX_HANGING, MediumGuard, MediumHangs


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Set when the medium answers again; patience is short meanwhile."""
    monkeypatch.setattr(medium, "PATIENCE_SECONDS", 0.02)
    monkeypatch.setattr(medium, "SHORT_PATIENCE_SECONDS", 0.01)
    answers = threading.Event()
    yield answers
    answers.set()


def test_results_and_errors_are_passed_on() -> None:
    guard = MediumGuard()
    assert guard.run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        guard.run(lambda: 1 // 0)


def test_a_look_that_hangs_is_abandoned_and_others_are_still_made(
    answer: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = MediumGuard()
    with pytest.raises(MediumHangs):
        guard.run(answer.wait)
    monkeypatch.setattr(medium, "SHORT_PATIENCE_SECONDS", 60.0)
    assert guard.run(lambda: 7) == 7


def test_only_a_few_looks_may_hang_until_the_medium_answers(answer: threading.Event) -> None:
    guard = MediumGuard()
    before = set(threading.enumerate())
    looks: list[bool] = []

    def look() -> None:
        looks.append(True)
        answer.wait()

    for _ in range(MAX_HANGING + 5):
        with pytest.raises(MediumHangs):
            guard.run(look)
    assert len(looks) == MAX_HANGING
    answer.set()
    for thread in set(threading.enumerate()) - before:
        thread.join()
    assert guard.run(lambda: 7) == 7
