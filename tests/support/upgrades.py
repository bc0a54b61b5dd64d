"""A second installation: a copy of the package, which the same Python runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

import crowdstream
from tests.support.environment import PROJECT, child_environment
from tests.support.server import Running

NEXT = "9.0.0"

Patch = tuple[str, str, str]
"""A file of the package, text in it, and what replaces it."""


_TOOK = """        report({"took": asdict(self._info), "why": why, "lost": lost})

    def _handover"""
_THEN = """        report({{"took": asdict(self._info), "why": why, "lost": lost}})
        import threading
        threading.Timer(0.5, lambda: {fault}).start()

    def _handover"""


def engine_fault(fault: str) -> Patch:
    """Return a patch with which the engine fails half a second after it has taken over."""
    return "engine/main.py", _TOOK, _THEN.format(fault=fault)


def installation(folder: Path, version: str = NEXT, patches: Sequence[Patch] = ()) -> Path:
    """Copy the package to a new folder, with another version and changes; return the folder.

    Unchanged files have their bytecode: it is valid, as the times of the files are copied, too.
    """
    package = folder / "crowdstream"
    shutil.copytree(PROJECT / "crowdstream", package, copy_function=_copy)
    own = f'__version__ = "{crowdstream.__version__}"'
    for name, old, new in (("__init__.py", own, f'__version__ = "{version}"'), *patches):
        path = package / name
        text = path.read_text(encoding="utf-8")
        if old not in text:
            raise ValueError(f"{name} does not contain {old!r}")
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return folder


def _copy(source: str, target: str) -> None:
    # Python replaces bytecode and never changes it, so the copy may be the same file.
    if source.endswith(".pyc"):
        with contextlib.suppress(OSError):  # another file system
            os.link(source, target)
            return
    shutil.copy2(source, target)


def begin(
    running: Running, path: Path, *options: str, trial: float = 2.0, **variables: str
) -> subprocess.Popen[str]:
    """Start `crowdstream upgrade`."""
    command = [
        sys.executable, "-P", "-m", "crowdstream", "upgrade", str(path), "--port",
        str(running.port), "--python", sys.executable, "--trial", str(trial), *options,
    ]  # fmt: skip
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env=child_environment(**variables), cwd="/",
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for `crowdstream upgrade`; return its exit status and its output."""
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def upgrade(
    running: Running, path: Path, *options: str, trial: float = 2.0, **variables: str
) -> tuple[int, str]:
    """Run `crowdstream upgrade`; return its exit status and its output."""
    return finish(begin(running, path, *options, trial=trial, **variables))


def roots(running: Running, recorder: bool = True) -> set[str]:
    """The folders of the packages that the server's processes run, except the supervisor's.

    The recorder is only replaced when its recordings have ended: without it, if not `recorder`.
    """
    found = set()
    for one in running.children():
        with contextlib.suppress(psutil.Error):  # it has just ended
            words = one.cmdline()
            if "-m" in words and (recorder or "crowdstream.recorder.main" not in words):
                found.add(one.environ()["PYTHONPATH"].split(":")[0])
    return found
