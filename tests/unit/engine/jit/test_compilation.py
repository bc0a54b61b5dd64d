"""Progress of a compilation, and the timeout of a process that waits for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crowdstream.engine.jit import kernel_cache
from crowdstream.engine.jit.kernel_cache import Compilation, StallTimeout


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    return tmp_path


def test_progress_is_visible_only_during_a_compilation(place: Path) -> None:
    assert kernel_cache.running_compilation() is None
    kernel_cache.part_done()  # by a process that has not announced a compilation
    with kernel_cache.compiling():
        seen = kernel_cache.running_compilation()
        assert seen is not None and (seen.pid, seen.parts) == (os.getpid(), 0)
        for _ in range(12):
            kernel_cache.part_done()
        seen = kernel_cache.running_compilation(place)
        assert seen is not None and seen.parts == 12
        assert "12 of about 450 parts" in str(seen)
    assert kernel_cache.running_compilation() is None
    # The file of an interrupted compilation is ignored.
    (place / "compiling").write_text("1 300", encoding="utf-8")
    assert kernel_cache.running_compilation() is None


def test_compiling_works_without_a_writable_folder(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "compiling").mkdir()
    with kernel_cache.compiling():
        kernel_cache.part_done()
    assert kernel_cache.running_compilation() is None


def test_the_timeout_starts_at_the_last_progress() -> None:
    now, seen = 0.0, None
    patience = StallTimeout(180.0, lambda: now, lambda: seen)

    def over_after(seconds: float) -> bool:
        nonlocal now
        now += seconds
        return patience.expired()

    assert not over_after(179.0)
    for parts in range(40):  # two hours: each part takes almost too long
        seen = Compilation(7, parts, 0)
        assert not over_after(179.0)
    # One part may take longer, as long as the process is working.
    for seconds in range(10):
        seen = Compilation(7, 39, seconds)
        assert not over_after(179.0)
    assert not over_after(179.0)
    assert over_after(2.0)


def test_the_timeout_expires_without_a_compilation() -> None:
    now = 0.0
    patience = StallTimeout(60.0, lambda: now, lambda: None)
    now = 59.0
    assert not patience.expired() and not patience.progress_line()
    now = 61.0
    assert patience.expired() and not patience.progress_line()


def test_a_progress_line_is_due_every_ten_seconds() -> None:
    now = 0.0
    patience = StallTimeout(180.0, lambda: now, lambda: Compilation(7, int(now), int(now)))
    told = []
    for tick in range(600):
        now = tick / 10
        patience.expired()
        if news := patience.progress_line():
            told.append((now, news))
    moments = [moment for moment, _ in told]
    assert moments == pytest.approx([3.4, 13.4, 23.4, 33.4, 43.4, 53.4], abs=0.2)
    assert "53 of about 450 parts, 53 s of processor time" in told[-1][1]
