"""ruff, mypy and import-linter report nothing for any Python file of the project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.environment import PROJECT


def findings(*command: str) -> str:
    """The output of a checker for the project; empty if it reports nothing."""
    program, *arguments = command
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *arguments], cwd=PROJECT,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stdout or f"status {done.returncode}"


def test_ruff_reports_nothing() -> None:
    assert not findings("ruff", "check", "--quiet", ".")


@pytest.mark.timeout(1800)  # without a cache mypy also analyses numpy
def test_mypy_reports_nothing() -> None:
    assert not findings("mypy", "--no-error-summary")


def test_every_package_imports_only_what_its_contract_allows() -> None:
    # The contracts of pyproject.toml: layers, circles, clients, the audio path, the engine.
    assert not findings("lint-imports", "--no-cache")
