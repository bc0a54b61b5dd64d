"""A process that compiles nothing does not load a compiler for the machine-code functions."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from crowdstream.desk import atomics
from tests.support.environment import PROJECT, child_environment


@pytest.mark.parametrize(
    "module", ["crowdstream.control.server", "crowdstream.loader.main",
               "crowdstream.recorder.main"],
)  # fmt: skip
def test_processes_that_compile_nothing_do_not_load_a_compiler(module: str) -> None:
    script = f"import sys, {module}; print([n for n in ('llvmlite', 'numba') if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], cwd=PROJECT, env=child_environment(),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    known = platform.machine() in atomics.CODE and sys.platform == "linux"
    assert done.stdout.strip() == ("[]" if known else "['llvmlite']")
