"""ruff and mypy find nothing, in any Python file of the project."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.environment import PROJECT


def findings(*command: str) -> str:
    """What a checker prints about the project; empty where it finds nothing."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", *command], cwd=PROJECT, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stdout or f"status {done.returncode}"


def test_ruff_finds_nothing() -> None:
    assert not findings("ruff", "check", "--quiet", ".")


@pytest.mark.timeout(1800)  # without a cache mypy reads numpy, too
def test_mypy_finds_nothing() -> None:
    assert not findings("mypy", "--no-error-summary")
