"""The engine with one effect more, compiled anew: one compilation for all tests that need one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import crowdstream

ROOT = Path(crowdstream.__file__).parents[1]

HALVE = '''
"""Halve: half as loud."""

from crowdstream.desk.effects import ROW_FIRST, Module, Parameter

MODULE = Module("halve", "Half as loud.", (Parameter("share", "what is left", 0, 1, 0.5),))


def _times(x, share):
    return x * share


def process(memory, registers, values, beats, tempo, left, right, count, rate):
    """No state."""
    for i in range(count):
        left[i] = _times(left[i], values[ROW_FIRST, i])
        right[i] = _times(right[i], values[ROW_FIRST, i])
'''

# What comes from numba's cache can't be inspected: this process compiles.
PROGRAM = """
import importlib, json, sys
folder = sys.argv[1]
import crowdstream
assert folder in crowdstream.__file__
found = {}
for module in ("crowdstream.engine.render", "crowdstream.engine.ledger"):
    for name, value in vars(importlib.import_module(module)).items():
        options = getattr(value, "targetoptions", None)
        if options is None or not getattr(value, "signatures", None):
            continue
        if value.py_func.__module__ != module or value._can_compile:
            continue
        found[name] = {
            "llvm": "\\n".join(value.inspect_llvm().values()),
            "nogil": bool(options.get("nogil")),
            "signatures": len(value.signatures),
        }
with open(f"{folder}/found", "w") as file:
    json.dump(found, file)
"""


@dataclass
class Afresh:
    """A copy of the package, with the effect `halve`, whose kernels were compiled."""

    folder: Path
    kernels: dict[str, dict[str, object]]  # name: llvm, nogil, signatures

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program with the copy in the place of the package."""
        return subprocess.run(
            [sys.executable, "-P", "-c", program, str(self.folder), *arguments],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join((str(self.folder), str(ROOT))),
                "NUMBA_CACHE_DIR": str(self.folder / "cache"),
            },
            cwd=self.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip


@pytest.fixture(scope="session")
def afresh(tmp_path_factory: pytest.TempPathFactory) -> Afresh:
    """The engine, compiled by this test run."""
    folder = tmp_path_factory.mktemp("afresh")
    shutil.copytree(
        ROOT / "crowdstream", folder / "crowdstream", ignore=shutil.ignore_patterns("__pycache__")
    )
    new = folder / "crowdstream" / "engine" / "effects" / "halve.py"
    new.write_text(HALVE, encoding="utf-8")
    made = Afresh(folder, {})
    done = made.run(PROGRAM)
    assert done.returncode == 0, done.stderr[-2000:]
    made.kernels.update(json.loads((folder / "found").read_text()))
    return made
