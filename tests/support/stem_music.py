"""Music whose stems are distinct tones, and a capture of the master that measures them."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import soundfile
from playwright.sync_api import Page
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from crowdstream.web.streaming.encoding import HEAD
from tests.support.chromium import box_of
from tests.support.page_server import PAGE_SERVER
from tests.support.server import Running, server, until

RATE = 44100
SECONDS = 60
TONES = {"drums": 400.0, "bass": 150.0, "vocals": 1000.0, "other": 2500.0}  # Hz
LEVEL = 0.1  # amplitude of each stem's tone
HEARD = 0.5 * LEVEL  # a tone counts as audible from this level
QUIET = 0.02 * LEVEL  # and as silent up to this one
LONG_MINUTES = 15
REPORTED = RATE // 5  # frames between two reports, as pages do
MEASURED = round(0.1 * RATE)  # frames whose level is measured


def make_media(root: Path, minutes: int = LONG_MINUTES) -> Path:
    """Write a track of four stems, each with its own tone, and a long file of noise."""
    at = np.arange(SECONDS * RATE) / RATE
    folder = root / "Tones"
    folder.mkdir(parents=True)
    for stem, hertz in TONES.items():
        tone = (LEVEL * np.sin(2 * np.pi * hertz * at)).astype("f4")
        soundfile.write(folder / f"{stem}.wav", tone, RATE, subtype="PCM_16")
    noise = np.random.default_rng(1).uniform(-0.8, 0.8, 60 * RATE).astype("f4")
    with soundfile.SoundFile(root / "Long.wav", "w", RATE, 1, "PCM_16") as file:
        for _ in range(minutes):
            file.write(noise)
    return root


@contextlib.contextmanager
def tone_server(folder: Path, media: Path, *options: str) -> Iterator[Running]:
    """Run a server on the internal clock with that music, and its page."""
    with server(folder, *PAGE_SERVER, "--media-root", str(media), *options) as running:
        yield running


class MasterCapture:
    """Captures the master over `/listen` and measures its tones; a context manager."""

    def __init__(self, url: str) -> None:
        address = url.replace("http", "ws", 1) + "/listen?bus=master&format=pcm16"
        self._open = contextlib.ExitStack()
        self._socket = self._open.enter_context(connect(address, max_queue=None))
        self._run: list[np.ndarray] = []  # without a loss
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._listen)
        self._latest = np.zeros(MEASURED)
        self._next = self._reported = -1
        self._end = "the capture goes on"
        self.lost = 0
        """Frames missing since the capture began."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        self._thread.join()

    def _listen(self) -> None:
        try:
            for data in self._socket:
                if isinstance(data, bytes):
                    self._take(data)
            self._end = "the capture was closed"
        except ConnectionClosed as error:
            self._end = f"the capture has ended: {error}"

    def _take(self, data: bytes) -> None:
        _form, channels, frames, _own, _rate, frame, _at = HEAD.unpack_from(data)
        samples = np.frombuffer(data, "<i2", offset=HEAD.size).reshape(-1, channels) / 32768.0
        with self._lock:
            if self._next >= 0 and frame != self._next:
                self.lost += frame - self._next
                self._run = []
            self._next = frame + frames
            self._run = [*self._run[-100:], samples[:, 0]]
            if sum(map(len, self._run)) >= MEASURED:
                self._latest = np.concatenate(self._run)[-MEASURED:]
        if self._next - self._reported >= REPORTED:
            self._reported = self._next
            self._socket.send(json.dumps({"have": self._next}))

    def level(self, hertz: float) -> float:
        """Return the amplitude of a tone in the most recent audio without a loss."""
        with self._lock:
            samples = self._latest
        window = np.hanning(len(samples))
        turn = np.exp(-2j * np.pi * hertz * np.arange(len(samples)) / RATE)
        return float(2 * abs((samples * window * turn).sum()) / max(window.sum(), 1.0))

    def has_tones(self, *hertz: float) -> bool:
        """Return whether exactly these stem tones are audible."""
        wanted = set(hertz)
        return all(
            self.level(tone) > HEARD if tone in wanted else self.level(tone) < QUIET
            for tone in TONES.values()
        )

    def wait_for_tones(self, *hertz: float) -> None:
        """Wait until exactly these stem tones are audible; raises `TimeoutError`."""
        try:
            until(lambda: self.has_tones(*hertz))
        except TimeoutError as error:
            levels = {name: round(self.level(tone), 4) for name, tone in TONES.items()}
            raise TimeoutError(
                f"{error}: levels {levels} before frame {self._next}, {self.lost} frames lost; "
                f"{self._end}"
            ) from None


def deck(page: Page, letter: str = "A") -> Any:
    """Return the page's state of a deck."""
    return page.evaluate(
        "async (letter) => { const { live } = await import('/page/live.js');"
        " return live.get(`deck.${letter}`); }", letter,
    )  # fmt: skip


def canvas(page: Page, name: str, letter: str = "A") -> dict[str, float]:
    """Return the position and size of a deck's close-up or overview on the screen."""
    box = box_of(page.locator(f".deck[data-deck={letter}] .waveform-{name}"))
    return {"x": box["x"], "y": box["y"], "width": box["width"], "height": box["height"]}
