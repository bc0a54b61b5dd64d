"""Environments for the child processes of tests.

A child with its own environment must still find the project, the compiled kernels and, while
coverage is measured, the settings of coverage.py. Therefore no test creates an environment from
scratch: it modifies one of these.
"""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]

_KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "NUMBA_CACHE_DIR", "CROWDSTREAM_GIVE_WAY",
         "CROWDSTREAM_TEST_RUN", "COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")  # fmt: skip


def child_environment(**changes: str | None) -> dict[str, str]:
    """Return this process's variables plus the project's path; None removes a variable."""
    return _changed({**os.environ, "PYTHONPATH": str(PROJECT)}, changes)


def bare_environment(**changes: str | None) -> dict[str, str]:
    """Return a minimal environment: program path, home and compiled kernels."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return _changed({**kept, "PYTHONPATH": str(PROJECT)}, changes)


def _changed(env: dict[str, str], changes: dict[str, str | None]) -> dict[str, str]:
    for name, value in changes.items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return env
