"""Run the same device with an empty callback: the underruns are the machine's own.

The process is set up like the engine, with the same driver, priority and garbage collection, but
without rendering. `EmptyCallback` runs it and communicates over two pipes.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import psutil

from benchmarks.common import BenchmarkError
from crowdstream.desk.block import Desk
from crowdstream.desk.stream_info import DeviceError
from crowdstream.engine.drivers.callback import Callback, raise_priority
from crowdstream.engine.drivers.internal_clock import InternalClockDriver
from crowdstream.engine.drivers.portaudio import PortAudioDriver
from tests.support.environment import PROJECT

END_SECONDS = 10.0  # time for closing the device


class _Silence(Callback):
    def __init__(self, desk: Desk, frames: int) -> None:
        super().__init__(desk, frames)
        self.missed = 0

    def fill(self, frames: int, flagged: bool, heard_ns: int = 0) -> np.ndarray:
        if self._first:
            self._first = False
            raise_priority()
        if flagged:
            self.missed += 1
        return self._usual if frames == self._frames else self._whole[:frames]


def _measure(callback: _Silence) -> None:
    me = psutil.Process()
    sys.stdin.readline()
    before, missed = me.cpu_times(), callback.missed
    sys.stdin.readline()
    after = me.cpu_times()
    used = max(0.0, after.user - before.user) + max(0.0, after.system - before.system)
    print(json.dumps({"underruns": callback.missed - missed, "cpu_seconds": used}), flush=True)


def main(arguments: list[str]) -> int:
    """Run the process. `arguments`: the request as JSON."""
    request: dict[str, Any] = json.loads(arguments[0])
    frames, rate = int(request["frames"]), float(request["sample_rate"])
    callback = _Silence(Desk.create(0, rate), frames)
    driver: InternalClockDriver | PortAudioDriver
    if request["driver"] == "null":
        driver = InternalClockDriver(callback, rate, frames)
    else:
        driver = PortAudioDriver(callback, request["device"], rate, frames)
        try:
            driver.open()
        except DeviceError as error:
            print(json.dumps({"error": str(error)}), flush=True)
            return 1
    gc.collect()
    gc.freeze()
    gc.disable()
    driver.start()
    print("{}", flush=True)
    _measure(callback)
    driver.stop()
    return 0


class EmptyCallback:
    """The empty callback on a device, for the duration of a `with` block.

    `driver`, `device`: as reported by the server; `frames`: per block; `sample_rate` in Hz.
    """

    def __init__(
        self, driver: str, device: str | None, frames: int, sample_rate: float,
        env: Mapping[str, str],
    ) -> None:  # fmt: skip
        request = {
            "driver": driver, "device": device, "frames": frames, "sample_rate": sample_rate,
        }  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.empty_callback", json.dumps(request)],
            env={**os.environ, **env}, cwd=PROJECT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def __enter__(self) -> Self:
        try:
            self._answer()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # The process closes its device when its input ends. Killing it during that would leave
        # the JACK server hanging, which would permanently occupy a place in JACK's short list of
        # servers.
        try:
            self._process.communicate(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    @property
    def exit_status(self) -> int | None:
        """Exit status of the process; None while it runs."""
        return self._process.poll()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line or '{"error": "it ended immediately"}')
        if "error" in answer:
            raise BenchmarkError(f"the empty callback: {answer['error']}")
        return answer

    def _signal(self) -> None:
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def begin(self) -> None:
        """Reset the counters."""
        self._signal()

    def end(self) -> dict[str, Any]:
        """Return the counts: `underruns`, `cpu_seconds`."""
        self._signal()
        return self._answer()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
