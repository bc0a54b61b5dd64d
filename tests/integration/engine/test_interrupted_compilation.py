"""A killed compilation resumes where it stopped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.environment import PROJECT, child_environment

KERNELS = """
from numba import types
from crowdstream.engine.jit.compile import entry, kernel

@kernel
def lowest(x):
    return x + 0.5

@kernel
def middle(x):
    return lowest(x) * 3.0

@kernel
def upper(x):
    return middle(x) - lowest(x)

@entry(types.float64(types.float64))
def whole(x):
    return upper(x)
"""
RESULT = "result 3.5"
PARTS = ["lowest", "middle", "upper"]
PROGRAM = """
import resource, sys
from crowdstream.engine.jit import compile as compiler

left, full = int(sys.argv[1]), sys.argv[2] == "full"
save = compiler.kept.save

def noted(key, compiled):
    global left
    save(key, compiled)
    print(compiled.fndesc.qualname, flush=True)
    left -= 1
    if left == 0:
        sys.stdin.read()

compiler.kept.save = noted
if full:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
import small_kernels
print("result", small_kernels.whole(1.25), flush=True)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "small_kernels.py").write_text(KERNELS, encoding="utf-8")
    return tmp_path


def start(place: Path, parts: int = 1000, disk: str = "") -> subprocess.Popen[str]:
    """Compile the kernels in a process that stops after `parts` parts."""
    return subprocess.Popen(
        [sys.executable, "-P", "-c", PROGRAM, str(parts), disk], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, env=child_environment(
            NUMBA_CACHE_DIR=str(place / "cache"), PYTHONPATH=f"{PROJECT}:{place}",
        ),
    )  # fmt: skip


def lines(process: subprocess.Popen[str]) -> list[str]:
    """Return all lines that a process prints until it ends."""
    printed = process.communicate(timeout=300)[0].splitlines()
    assert process.returncode == 0
    return printed


def test_a_killed_compilation_is_resumed(place: Path) -> None:
    process = start(place, parts=2)
    assert process.stdout and process.stdin
    assert [process.stdout.readline().strip() for _ in range(2)] == PARTS[:2]
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    assert lines(start(place)) == [*PARTS[2:], RESULT]
    assert lines(start(place)) == [RESULT], "the last run loads numba's own cache"


def test_compilations_may_run_concurrently_or_on_a_full_disk(place: Path) -> None:
    assert lines(start(place, disk="full")) == [*PARTS, RESULT]
    assert not list((place / "cache" / "parts").iterdir())
    both = [start(place), start(place)]
    for process in both:
        printed = lines(process)
        assert printed[-1] == RESULT and printed[:-1] == PARTS[len(PARTS) + 1 - len(printed) :]
    assert lines(start(place)) == [RESULT]
