"""A stream: the master, encoded once for all mounts of the same format and bit rate."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from crowdstream.broadcast.encoders import Chunk, make_encoder
from crowdstream.broadcast.outputs import BUFFER_SECONDS, GET_SECONDS
from crowdstream.broadcast.queues import DropQueue

Title = tuple[str, str]


class Stream:
    """Encodes in a thread of its own, while at least one output has joined.

    `queue` receives blocks of frames, float32, `(count, 2)`; `rate`: their sample rate.
    """

    def __init__(self, format: str, bitrate: int, rate: float) -> None:
        self.rate = rate
        self.queue: DropQueue[np.ndarray] = DropQueue(round(BUFFER_SECONDS * rate))
        self._encoder = make_encoder(format, bitrate, rate)
        self._lock = threading.Lock()
        self._listeners: list[DropQueue[Any]] = []
        self._title: Title = ("", "")
        self._next_title: Title = ("", "")
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=f"encode {format}", daemon=True)

    @property
    def encoded_rate(self) -> int:
        """Sample rate of the encoded stream, Hz."""
        return self._encoder.rate

    def start(self) -> None:
        """Start encoding."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Does not wait."""
        self._stopped = True
        self.queue.close()

    def set_title(self, artist: str, title: str) -> None:
        """Put a title into the stream, from the next block on."""
        self._next_title = (artist, title)

    @contextlib.contextmanager
    def joined(self, queue: DropQueue[Any]) -> Iterator[None]:
        """Put the stream into `queue` for the duration of a `with` block, headers first."""
        with self._lock:
            queue.clear()
            if self._encoder.headers:
                queue.put(Chunk(self._encoder.headers, 0), 0)
            self._listeners.append(queue)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(queue)
                queue.clear()

    def _run(self) -> None:
        while not self._stopped:
            block = self.queue.get(GET_SECONDS)
            if block is None or not self._listeners:
                continue
            # The lock covers the encoder's headers, so that a listener that joins receives either
            # these headers and the pages behind them, or the next ones.
            with self._lock:
                chunks: list[Chunk] = []
                if self._next_title != self._title:
                    self._title = self._next_title
                    chunks += self._encoder.set_title(*self._title)
                chunks += self._encoder.encode(block)
                for chunk in chunks:
                    for listener in self._listeners:
                        listener.put(chunk, chunk.frames)
