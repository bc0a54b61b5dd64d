"""CPU time and memory of a command and all its children."""

import sys
from pathlib import Path

import psutil
import pytest

from benchmarks import usage
from benchmarks.common import BenchmarkError

WORK = (
    "import time\n"
    "while time.process_time() < {seconds}: pass\n"
)  # fmt: skip
HOLD = "import time; held = bytearray({size}); held[::4096] = b'x' * len(held[::4096]); {then}"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_work_of_a_child_counts(tmp_path: Path) -> None:
    child = f"import subprocess; subprocess.run({python(WORK.format(seconds=0.4))!r})"
    used = usage.run(python(child), tmp_path)
    assert used.cpu >= 0.4
    assert used.wall >= used.cpu * 0.5


def test_waiting_uses_no_cpu_time(tmp_path: Path) -> None:
    used = usage.run(python("import time; time.sleep(0.5)"), tmp_path)
    assert used.wall >= 0.5
    assert used.cpu < 0.4


def test_memory_of_a_child_counts_in_addition_to_its_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pss, sizes = usage._pss, dict[int, int]()

    def recorded(process: psutil.Process) -> int:
        size = sizes[process.pid] = pss(process)
        if sum(sizes.values()) > 70_000_000:  # both hold all that they will
            (tmp_path / "seen").touch()
        return size

    monkeypatch.setattr(usage, "_pss", recorded)
    until_seen = "\nwhile not os.path.exists('seen'): time.sleep(0.01)"
    child = python("import os; " + HOLD.format(size=40_000_000, then=until_seen))
    parent = HOLD.format(size=30_000_000, then=f"import subprocess; subprocess.run({child!r})")
    peak = usage.peak_bytes(python(parent), tmp_path)
    assert 70_000_000 < peak < 150_000_000


def test_the_last_output_of_a_failed_command_is_reported(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"status 3: no such thing"):
        usage.run(python("import sys; print('no such thing'); sys.exit(3)"), tmp_path)


def test_a_hanging_command_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "LIMIT_SECONDS", 0.3)
    for look in (usage.run, usage.peak_bytes):
        with pytest.raises(BenchmarkError, match="status -9"):
            look(python("import time; time.sleep(60)"), tmp_path)


def test_a_command_runs_in_its_folder(tmp_path: Path) -> None:
    usage.run(python("open('here', 'w').close()"), tmp_path)
    assert (tmp_path / "here").exists()
