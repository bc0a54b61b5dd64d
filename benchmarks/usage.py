"""Measure a command: CPU time and memory of its whole process tree."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.common import BenchmarkError

NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
SAMPLE_SECONDS = 0.01  # between two samples of a command's memory
LIMIT_SECONDS = 600.0  # after which a command counts as hanging and is killed
MAX_OUTPUT_CHARACTERS = 600  # last characters of a failed command's output that are shown


@dataclass(frozen=True)
class Usage:
    """CPU seconds (user and system) of a command and all its children, and its duration."""

    cpu: float
    wall: float


def run(command: Sequence[str], folder: Path) -> Usage:
    """Run a command in `folder`. Raise `BenchmarkError` with its last output if it fails."""
    usage, _ = _run(command, folder, watch=False)
    return usage


def peak_bytes(command: Sequence[str], folder: Path) -> int:
    """Run a command and return the maximum memory of all its processes together, in bytes.

    The proportional set size counts shared memory once. It is sampled every 10 ms, which disturbs
    the command: do not take times from such a run.
    """
    _, peak = _run(command, folder, watch=True)
    return peak


def _run(command: Sequence[str], folder: Path, watch: bool) -> tuple[Usage, int]:
    with tempfile.TemporaryFile() as output:
        begin = time.monotonic()
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=_env()
        )
        limit = threading.Timer(LIMIT_SECONDS, process.kill)
        limit.start()
        try:
            peak = _watch(process.pid) if watch else 0
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            limit.cancel()
        wall = time.monotonic() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            words = output.read().decode(errors="replace").strip()[-MAX_OUTPUT_CHARACTERS:]
            raise BenchmarkError(f"{command[0]} ended with status {process.returncode}: {words}")
    return Usage(used.ru_utime + used.ru_stime, wall), peak


def _env() -> dict[str, str]:
    # Python programs keep their bytecode, like installed ones; their start would otherwise mostly
    # consist of compiling their sources.
    return {name: value for name, value in os.environ.items() if name != NO_BYTECODE}


def _watch(pid: int) -> int:
    # Until the process has ended; it remains a zombie until it is waited for.
    process = psutil.Process(pid)
    peak = 0
    while True:
        total = 0
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return peak
            for each in (process, *process.children(recursive=True)):
                total += _pss(each)
        except psutil.NoSuchProcess:
            pass
        peak = max(peak, total)
        time.sleep(SAMPLE_SECONDS)


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.AccessDenied, psutil.ZombieProcess):
        return 0
