"""What a run of the tests prints at its end, and how several runs are compared."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import summary
from tests.support.costs import HEAD
from tests.support.environment import child_environment

TESTS = """
import pytest

def test_passes(): pass

@pytest.mark.parametrize("number", [1, 2])
def test_fails(number): assert number == 1

def test_is_skipped(): pytest.skip("no such card")

@pytest.fixture
def broken():
    yield
    raise RuntimeError("it does not end")

def test_ends_badly(broken): pass
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of a folder as `run-tests.sh` does."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-p", "xdist", "-p", "tests.support.summary", "-o",
         "console_output_style=classic", *arguments],
        cwd=folder, env=child_environment(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for tier in ("unit", "fuzz"):
        folder = tmp_path / "tests" / tier
        folder.mkdir(parents=True)
        (folder / f"test_{tier}.py").write_text(TESTS)
    return tmp_path


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_table_and_a_command_for_each_failure(project: Path, workers: str) -> None:
    done = run(project, "-n", workers, "--results", "results")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    rows = [line.split() for line in lines if line.startswith(("unit ", "all "))]
    table = {row[0]: row[1:4] for row in rows}
    assert table == {"unit": ["2", "2", "1"], "all": ["4", "4", "2"]}
    assert "skipped in unit (1): no such card" in lines
    again = [line.strip() for line in lines if line.startswith("    ./run-tests.sh")]
    assert [command for command in again if "unit" in command] == [
        "./run-tests.sh tests/unit/test_unit.py::test_ends_badly",
        "./run-tests.sh 'tests/unit/test_unit.py::test_fails[2]'",
    ]
    assert "4 failed" not in lines[-1], "pytest counts an error of a fixture apart"
    for count in ("2 failed", "6 passed", "2 skipped", "2 errors"):
        assert count in lines[-1]
    results = (project / "results").read_text().splitlines()
    outcomes = [json.loads(line)["outcome"] for line in results]
    assert sorted(outcomes) == ["failed"] * 4 + ["passed"] * 4 + ["skipped"] * 2


def test_only_a_run_in_which_everything_passes_succeeds(project: Path) -> None:
    assert run(project, "-k", "passes").returncode == 0


FULL_DISK = """
from pathlib import Path
from tests.support import summary
from tests.support.costs import HEAD

# The process that reports asks for this, whichever process runs the test below.
summary.free_bytes = lambda: (63 << 20) if Path("full").exists() else 1 << 40
"""
FILLS_THE_DISK = """
import pytest
from pathlib import Path

def test_passes(): pass

def test_fills_the_disk(): Path("full").touch()

@pytest.mark.parametrize("number", range(60))
def test_is_left_out(number): pass
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_run_ends_when_the_disk_is_full(project: Path, workers: str) -> None:
    (project / "conftest.py").write_text(FULL_DISK)
    (project / "tests/unit/test_unit.py").write_text(FILLS_THE_DISK)
    done = run(project, "tests/unit", "-n", workers, "--results", "results")
    assert done.returncode == summary.FULL == 28
    assert "the disk is full: 63 MB are left" in done.stdout
    rows = [json.loads(line) for line in (project / "results").read_text().splitlines()]
    tests = [row["test"].partition("::")[2] for row in rows]
    assert tests[:2] == ["test_passes", "test_fills_the_disk"]
    # A worker still runs those that it was sent before.
    assert len(tests) == 2 if workers == "0" else len(tests) < 62


def test_results_that_find_no_room_are_no_fault_of_pytest(project: Path) -> None:
    done = run(project, "tests/unit", "-n", "0", "-k", "passes", "--results", "/dev/full")
    assert done.returncode == summary.FULL and "Traceback" not in done.stdout + done.stderr
    assert "1 passed" in done.stdout.splitlines()[-1]


def write(path: Path, **outcomes: str) -> Path:
    lines = [json.dumps({"test": test, "outcome": how}) for test, how in outcomes.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_test_that_did_not_pass_every_time_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = write(tmp_path / "1", a="passed", b="passed", c="skipped", d="passed")
    second = write(tmp_path / "2", a="passed", b="failed", c="skipped")
    assert summary.unsteady([first, second]) == {
        "b": ["passed", "failed"], "d": ["passed", "missing"],
    }  # fmt: skip
    assert summary.main([str(first), str(second)]) == 1
    printed = capsys.readouterr().out
    assert "b: 1 passed, 1 failed" in printed and "d: 1 passed, 1 missing" in printed
    assert summary.main([str(first), str(first)]) == 0
    assert "2 runs: 0 tests did not pass every time" in capsys.readouterr().out


CALCULATES = """
import subprocess, sys, time

def test_calculates():
    end = time.process_time() + 0.3
    while time.process_time() < end: pass

def test_lets_a_child_calculate():
    program = "import time\\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", program], check=True)
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_cpu_time_of_files_and_of_their_children(project: Path, workers: str) -> None:
    (project / "tests/unit/test_unit.py").write_text(CALCULATES)
    done = run(project, "-n", workers, "-p", "tests.support.costs", "-k", "calculate or passes")
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    rows = [line.split() for line in lines[lines.index(HEAD) + 1 :]]
    costs = {
        row[4]: [float(number) for number in row[:4]] for row in rows
        if row[-1:] and row[-1].endswith(".py")
    }  # fmt: skip
    assert list(costs) == ["tests/unit/test_unit.py", "tests/fuzz/test_fuzz.py"]
    wall, cpu, worker, children = costs["tests/unit/test_unit.py"]
    assert wall > 0.0 and worker > 0.0 and children > 0.0
    assert cpu == pytest.approx(worker + children, abs=0.11)
    assert costs["tests/fuzz/test_fuzz.py"][3] == 0.0
    (collecting,) = [float(row[0]) for row in rows if row[1:2] == ["collecting,"]]
    assert collecting > 0.0
