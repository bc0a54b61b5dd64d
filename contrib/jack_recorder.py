"""A client of a JACK server, as a process of its own: records ports, and moves the transport.

    with JackRecorder(card.env, folder, ["crowdstream:deck_A_1"]) as recorder:
        recorder.command("start")  # the transport
        samples = recorder.stop()

It needs the package JACK-Client. Its callback is written in Python: with a period of less than 512
frames it is late now and then, and frames are missing.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

OUTPUTS = ("system:playback_1", "system:playback_2")
"""Of these inputs of the card, the sum of what is connected to them is recorded."""

WAIT_SECONDS = 60.0
LOOK_SECONDS = 0.02  # between two looks for ports
HALF = 1 << 31  # of the range of frame times


class JackRecorder:
    """Records ``ports``, which it waits for; of ``OUTPUTS``, what is connected to them."""

    def __init__(self, env: Mapping[str, str], folder: Path, ports: Sequence[str]) -> None:
        self._file = folder / "recorded.f4"
        self._count = len(ports)
        script = [sys.executable, "-P", str(Path(__file__).resolve()), str(self._file), *ports]
        self._process = subprocess.Popen(
            script, env={**os.environ, **env}, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._expect("connected")

    def _expect(self, answer: str) -> None:
        assert self._process.stdout is not None
        received = self._process.stdout.readline().strip()
        if received != answer:
            raise RuntimeError(f"the JACK recorder has failed: {received}")

    def command(self, text: str) -> None:
        """Carry out "start" or "stop" of the transport, or "tempo 120" as its timebase."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()
        self._expect("done")

    def frames(self) -> int:
        """Return the number of frames recorded so far."""
        return self._file.stat().st_size // (4 * self._count)

    def stop_after(self, frames: int) -> npt.NDArray[np.float32]:
        """End after ``frames`` more frames; see ``stop``."""
        end = self.frames() + frames
        until = time.monotonic() + WAIT_SECONDS + frames / 8000
        while self.frames() < end:
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError("the JACK server has stopped calling the recorder")
            time.sleep(LOOK_SECONDS)
        return self.stop()

    def read(self) -> npt.NDArray[np.float32]:
        """Return what is recorded so far; see `stop`."""
        count = self.frames() * self._count
        return np.fromfile(self._file, np.float32, count).reshape(-1, self._count)

    def stop(self) -> npt.NDArray[np.float32]:
        """End the recording; return shape ``(frames, ports)``, NaN where the recorder was late."""
        self._process.communicate("")
        return np.fromfile(self._file, np.float32).reshape(-1, self._count)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()


class _Client:
    """The client, in its process."""

    def __init__(self, file: Any, ports: Sequence[str]) -> None:
        import jack

        self._jack = jack
        self._client = jack.Client("recorder", no_start_server=True)
        self._inputs = [
            self._client.inports.register(f"in_{number}") for number in range(len(ports))
        ]
        self._ports = list(ports)
        self._file = file
        self._expected = -1
        self._tempo = 0.0
        self._client.set_process_callback(self._process)
        self._client.activate()

    def _process(self, frames: int) -> None:
        now = self._client.last_frame_time
        # Frame times have 32 bits, and may go back a little when JACK corrects them.
        late = (now - self._expected + HALF) % (2 * HALF) - HALF if self._expected >= 0 else 0
        if late > 0:
            silence = np.full((late, len(self._inputs)), np.nan, np.float32)
            self._file.write(silence.tobytes())
        self._expected = (now + frames) % (2 * HALF)
        self._file.write(np.stack([port.get_array() for port in self._inputs], 1).tobytes())

    def connect(self) -> bool:
        """Connect what is there by now; return whether everything is connected."""
        client = self._client
        done = True
        for ours, wanted in zip(self._inputs, self._ports, strict=True):
            there = client.get_ports(f"^{wanted}$")
            if there and wanted in OUTPUTS:
                there = client.get_all_connections(there[0])
            connected = {port.name for port in client.get_all_connections(ours)}
            for port in there:
                if port.name not in connected:
                    with contextlib.suppress(self._jack.JackError):  # it is gone again
                        client.connect(port, ours)
            done = done and (bool(there) or wanted in OUTPUTS)
        return done

    def command(self, name: str, *values: str) -> None:
        """Carry out a command; see ``JackRecorder.command``."""
        if name == "start":
            self._client.transport_start()
        elif name == "stop":
            self._client.transport_stop()
        else:
            self._tempo = float(values[0])
            self._client.set_timebase_callback(self._timebase)

    def _timebase(self, _state: int, _frames: int, position: Any, _new: bool) -> None:
        position.valid = 0x10  # JackPositionBBT
        position.bar = position.beat = 1
        position.beats_per_bar = position.beat_type = 4.0
        position.ticks_per_beat, position.beats_per_minute = 1920.0, self._tempo


def main(path: str, ports: Sequence[str]) -> None:
    """Record until standard input closes."""
    import select

    with open(path, "wb", buffering=0) as file:
        client = _Client(file, ports)
        while not client.connect():
            time.sleep(LOOK_SECONDS)
        print("connected", flush=True)
        while True:
            if select.select([sys.stdin], [], [], LOOK_SECONDS)[0]:
                line = sys.stdin.readline()
                if not line:
                    break
                client.command(*line.split())
                print("done", flush=True)
            client.connect()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
