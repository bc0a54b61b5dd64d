"""The fake PortAudio in a separate process, in real time, with cards that come and go.

`install(folder)` returns the environment in which a server uses it instead of PyAudio. The cards
are those of the latest `plug`: a stream whose card is gone is no longer active.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.environment import PROJECT
from tests.support.fake_portaudio import Device, FakeLibrary, FakePortAudio, FakeStream

CARDS = "CROWDSTREAM_TEST_CARDS"
LOOK_SECONDS = 0.05
_MODULE = """
from tests.support.live_portaudio import LivePortAudio

_live = LivePortAudio()
PyAudio = _live.PyAudio
paFloat32, paInt32, paInt24, paInt16, paContinue = 1, 2, 4, 8, 0
"""


def plug(cards: Path, devices: Sequence[Device]) -> None:
    """Replace the available devices by these."""
    part = cards.with_suffix(".part")
    part.write_text(json.dumps([asdict(device) for device in devices]), encoding="utf-8")
    part.replace(cards)


def install(folder: Path, devices: Sequence[Device]) -> tuple[Path, dict[str, str]]:
    """Return the file for `plug`, and the variables of the server's environment."""
    cards = folder / "cards.json"
    plug(cards, devices)
    place = folder / "modules"
    place.mkdir()
    (place / "pyaudio.py").write_text(_MODULE, encoding="utf-8")
    paths = [str(place), str(PROJECT), os.environ.get("PYTHONPATH", "")]
    return cards, {"PYTHONPATH": os.pathsep.join(filter(None, paths)), CARDS: str(cards)}


def _present() -> list[Device]:
    entries: list[dict[str, Any]] = json.loads(
        Path(os.environ[CARDS]).read_text(encoding="utf-8")
    )
    devices = []
    for entry in entries:
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
        }
        devices.append(Device(**values))
    return devices


class LivePortAudio(FakePortAudio):
    """PortAudio with the cards that are currently plugged in."""

    def PyAudio(self) -> FakeLibrary:
        """See `FakePortAudio`."""
        self.devices = _present()
        library = super().PyAudio()
        library.stream = LiveStream
        return library


class LiveStream(FakeStream):
    """A stream that requests its blocks in real time."""

    def start_stream(self) -> None:
        self.active = True
        self._recorded = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        super().close()
        if hasattr(self, "_thread"):
            self._thread.join()

    def _record_tone(self) -> None:
        # 440 Hz at -12 dB, in time with the device.
        frames = self._recorded + np.arange(self.frames)
        self._recorded += self.frames
        wave = 0.25 * np.sin(2.0 * np.pi * 440.0 * frames / self.rate)
        self.record(np.repeat(wave[:, None], self.channels, 1))

    def _run(self) -> None:
        due = look = time.monotonic()
        while self.active:
            if self.records:
                self._record_tone()
            else:
                self.play(self.frames)
            due += self.frames / self.rate
            time.sleep(max(0.0, due - time.monotonic()))
            if time.monotonic() >= look:
                look = time.monotonic() + LOOK_SECONDS
                if self.device.name not in {one.name for one in _present()}:
                    self.active = False
