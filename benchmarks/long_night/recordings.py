"""Recordings of a night: start, stop, check and delete them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.long_night.line import OscConnection
from benchmarks.long_night.log import Log

STOP_SECONDS = 10.0  # limit for finishing a file
NEAR_SECONDS = 1.0  # tolerated difference of a file's length from the time between the commands
_READ = 65536


@dataclass
class _File:
    path: Path
    began: int  # first frame of the desk
    frames: int = -1  # as reported at the end
    failed: str = ""


@dataclass
class Recordings:
    """At most one recording at a time; its files are checked at its end, then deleted."""

    connection: OscConnection
    log: Log
    folder: Path
    _files: dict[str, _File] = field(default_factory=dict)
    _number: int = 0
    _started: float = 0.0
    _stopped: float = 0.0

    def __post_init__(self) -> None:
        self._clear()  # left by an earlier night in the same folder

    def _clear(self) -> None:
        if self.folder.exists():
            for left in self.folder.iterdir():
                left.unlink()

    def start(self, extension: str, *what: str) -> None:
        """Start a recording, unless one is running."""
        if self._started:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._number += 1
        path = self.folder / f"night-{self._number}{extension}"
        self.connection.expect("/done /record/start")
        self.connection.send_message("/record/start", str(path), *what)
        self._started = time.monotonic()

    def stop(self) -> None:
        """Stop the recording, if one is running."""
        if self._started and not self._stopped:
            self.connection.expect("/done /record/stop")
            self.connection.send_message("/record/stop")
            self._stopped = time.monotonic()

    def on_message(self, address: str, arguments: Sequence[Any]) -> None:
        """Handle a reply."""
        if address == "/done" and arguments[0] == "/record/start":
            self._files[arguments[1]] = _File(Path(arguments[1]), int(arguments[2]))
        elif address == "/done" and arguments[0] == "/record/stop":
            if arguments[1] in self._files:
                self._files[arguments[1]].frames = int(arguments[2])
        elif address == "/record/failed" and arguments[0] in self._files:
            self._files[arguments[0]].failed = str(arguments[1])
        elif address == "/fail" and arguments[0] == "/record/start":
            self.log.write("recording refused", reason=str(arguments[1]))
            self._started = 0.0

    def tick(self, rate: float, struck: float) -> None:
        """Check the files when all are finished or have failed, or time is up.

        `struck`: monotonic time of the latest kill.
        """
        if not self._started:
            return
        over = self._stopped and time.monotonic() > self._stopped + STOP_SECONDS
        files = list(self._files.values())
        ended = files and all(file.frames >= 0 or file.failed for file in files)
        if not over and not (ended and (self._stopped or all(file.failed for file in files))):
            return
        lasted = (self._stopped or time.monotonic()) - self._started
        excused = struck > self._started - NEAR_SECONDS
        for file in files:
            self._check(file, rate, lasted, excused)
        if not files:
            self.log.write("recording", path="", fault="it never began", excused=excused)
        self._files.clear()
        self._started = self._stopped = 0.0
        self._clear()

    def _check(self, file: _File, rate: float, lasted: float, excused: bool) -> None:
        entry: dict[str, Any] = {
            "path": file.path.name, "lasted": round(lasted, 3), "told": file.frames,
            "failed": file.failed, "excused": excused, "fault": "",
        }  # fmt: skip
        try:
            entry["bytes"] = file.path.stat().st_size
            frames, peak, finite = _read(file.path)
            entry |= {"frames": frames, "peak": round(peak, 4)}
            if not finite:
                entry["fault"] = "it contains NaN or infinite samples"
            elif file.failed:
                pass  # only the part up to one second before the end is required
            elif file.frames < 0:
                entry["fault"] = "its end was never reported"
            elif frames != file.frames:
                entry["fault"] = f"it has {frames} frames, but {file.frames} were reported"
            elif abs(frames / rate - lasted) > NEAR_SECONDS:
                entry["fault"] = f"it lasts {frames / rate:.2f} s instead of {lasted:.2f} s"
        except (OSError, RuntimeError) as error:
            entry["fault"] = f"it can't be read: {error}"
        self.log.write("recording", **entry)


def _read(path: Path) -> tuple[int, float, bool]:
    # Frames, peak, and whether all samples are finite.
    frames, peak, finite = 0, 0.0, True
    with soundfile.SoundFile(path) as file:
        while len(block := file.read(_READ, dtype="float32", always_2d=True)):
            frames += len(block)
            finite = finite and bool(np.isfinite(block).all())
            peak = max(peak, float(np.abs(block).max()))
    return frames, peak, finite
