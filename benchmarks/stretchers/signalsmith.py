"""Signalsmith Stretch, through the package python-stretch, in any Python interpreter that has it.

Run as a program, this module is the subprocess: `python signalsmith.py IN.npy OUT.npy TEMPO RATE`.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from benchmarks.stretchers import Stretched

PACKAGE = "python_stretch"


def process(
    samples: np.ndarray, tempo: float, sample_rate: int
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the sound at another tempo, with its latency (ms) and CPU seconds."""
    module: Any = importlib.import_module(f"{PACKAGE}.Signalsmith")
    stretch = module.Stretch(1)
    stretch.preset(samples.shape[1], sample_rate)
    stretch.setTimeFactor(tempo)
    delay = stretch.inputLatency() + stretch.outputLatency()
    planar = np.ascontiguousarray(
        np.concatenate((samples, np.zeros((sample_rate, samples.shape[1])))).T, np.float32
    )
    # All at once: when it is passed in blocks, this package changes the pitch.
    begin = time.process_time()
    sound = np.array(stretch.process(planar)).T
    used = time.process_time() - begin
    told = {"latency_ms": 1000.0 * delay / sample_rate, "cpu_seconds": used}
    return np.ascontiguousarray(sound, np.float32), told


class Signalsmith:
    """`python`: an interpreter with the package, by default this one."""

    name = "Signalsmith"

    def __init__(self, python: str = sys.executable) -> None:
        self._python = python

    def check(self) -> None:
        """Raise `Absent` without the package."""
        from benchmarks.stretchers import Absent

        code = f"import importlib.util as u, sys; sys.exit(u.find_spec('{PACKAGE}') is None)"
        try:
            missing = subprocess.run([self._python, "-c", code], check=False).returncode
        except OSError as error:
            raise Absent(f"{self._python}: {error.strerror}") from error
        if missing:
            raise Absent(
                "Signalsmith Stretch is not installed (pip install python-stretch into a venv and "
                "name its interpreter with --signalsmith-python)"
            )

    def stretch(self, samples: np.ndarray, tempo: float, sample_rate: int) -> Stretched:
        """See `Stretcher.stretch`."""
        from benchmarks.stretchers import Stretched

        with tempfile.TemporaryDirectory() as folder:
            there, back = Path(folder, "in.npy"), Path(folder, "out.npy")
            np.save(there, samples)
            done = subprocess.run(
                [self._python, __file__, str(there), str(back), str(tempo), str(sample_rate)],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
            told = json.loads(done.stdout)
            return Stretched(np.load(back), told["latency_ms"], told["cpu_seconds"])


def main(arguments: list[str]) -> None:
    """Run the subprocess."""
    there, back, tempo, sample_rate = arguments
    sound, told = process(np.load(there), float(tempo), int(sample_rate))
    np.save(back, sound)
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1:])
