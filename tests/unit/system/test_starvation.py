"""A thread that gets no processor is distinguished from one that hangs, by files of the kernel."""

from __future__ import annotations

from pathlib import Path

from crowdstream.system.starvation import StarvationMonitor

PID = 1234
BUDGET = 0.05  # s of processor time, after which a process is not starved
MS = 1_000_000


class Process:
    """Threads as `/proc` reports them, and a clock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._now = 0
        self.monitor = StarvationMonitor(PID, str(folder), lambda: self._now)

    def report(self, thread: int, state: str, ran_ms: int, waited_ms: int = 0) -> None:
        """Write a thread's state, and its times since its start."""
        place = self._folder / str(PID) / "task" / str(thread)
        place.mkdir(parents=True, exist_ok=True)
        (place / "schedstat").write_text(f"{ran_ms * MS} {waited_ms * MS} 17\n")
        (place / "stat").write_text(f"{thread} (an (odd) name) {state} 1 2 3\n")

    def starved_after(self, ms: int) -> bool:
        """Whether it is starved so long after the beginning."""
        self._now = ms * MS
        return self.monitor.is_starved(BUDGET)


def begun(folder: Path, state: str = "R") -> Process:
    """A process with one thread that is observed from now on."""
    process = Process(folder)
    process.report(1, state, 100, 50)
    process.monitor.begin()
    return process


def test_a_thread_that_waits_for_its_first_turn_is_starved(tmp_path: Path) -> None:
    process = begun(tmp_path)
    process.report(1, "R", 101, 50)  # the system counts a wait when it ends
    assert process.starved_after(30)


def test_a_thread_that_has_waited_is_starved_even_while_it_runs(tmp_path: Path) -> None:
    process = begun(tmp_path)
    process.report(1, "R", 110, 70)
    assert process.starved_after(30)
    process.report(1, "S", 110, 70)
    assert process.starved_after(30)


def test_one_of_several_threads_is_enough(tmp_path: Path) -> None:
    process = Process(tmp_path)
    for thread in (1, 2):
        process.report(thread, "S", 100)
    process.monitor.begin()
    assert not process.starved_after(30)
    process.report(2, "R", 100)
    assert process.starved_after(30)


def test_a_stopped_or_sleeping_thread_hangs(tmp_path: Path) -> None:
    process = begun(tmp_path, "S")
    for state in ("T", "S", "D", "t"):
        process.report(1, state, 100, 50)
        assert not process.starved_after(30), state


def test_a_thread_that_runs_without_end_hangs(tmp_path: Path) -> None:
    process = begun(tmp_path)
    process.report(1, "R", 128, 51)
    assert not process.starved_after(30)


def test_a_thread_with_enough_processor_time_hangs_even_beside_others(tmp_path: Path) -> None:
    process = begun(tmp_path)
    process.report(1, "R", 149, 101)
    assert process.starved_after(100)
    process.report(1, "R", 150, 110)
    assert not process.starved_after(110)


def test_a_sleeping_thread_is_told_from_a_stopped_one(tmp_path: Path) -> None:
    process = begun(tmp_path, "S")
    assert process.monitor.sleeps(1)
    for state in "TtRD":
        process.report(1, state, 100)
        assert not process.monitor.sleeps(1), state
    assert not process.monitor.sleeps(2)


def test_only_the_time_since_the_beginning_counts(tmp_path: Path) -> None:
    process = Process(tmp_path)
    process.report(1, "S", 100, 90_000)
    process.monitor.begin()
    assert not process.starved_after(30)


def test_without_reports_nothing_is_starved(tmp_path: Path) -> None:
    process = Process(tmp_path)
    process.monitor.begin()
    assert not process.starved_after(30)
    begun(tmp_path)
    process.report(7, "R", 0)  # a thread that was not there at the beginning
    assert not Process(tmp_path / "elsewhere").starved_after(30)
