"""A listener without a browser: it receives chunks from `/listen` and acknowledges them."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from crowdstream.web.streaming.encoding import HEAD

SECONDS = 60.0
REPORT_CHUNKS = 10  # between two acknowledgements


class ListeningClient:
    """Collects `chunks` (head, data) and `texts`; `reports` every `REPORT_CHUNKS` chunks."""

    def __init__(self, url: str, query: str = "", reports: bool = True) -> None:
        address = url.rstrip("/").replace("http", "ws", 1) + "/listen" + query
        self._reports = reports
        self._open = contextlib.ExitStack()
        connection = connect(address, compression=None, max_queue=None, ping_interval=None)
        self.socket: Connection = self._open.enter_context(connection)
        self.texts: list[dict[str, Any]] = []
        self.chunks: list[tuple[tuple[Any, ...], bytes]] = []

    def take(self, seconds: float = SECONDS) -> None:
        """Receive one message."""
        message = self.socket.recv(seconds)
        if isinstance(message, str):
            self.texts.append(json.loads(message))
            return
        head = HEAD.unpack_from(message)
        self.chunks.append((head, message[HEAD.size :]))
        if self._reports and len(self.chunks) % REPORT_CHUNKS == 0:
            self.socket.send(json.dumps({"have": head[5] + head[2]}))

    def take_chunks(self, chunks: int) -> None:
        """Receive `chunks` more chunks."""
        end = len(self.chunks) + chunks
        while len(self.chunks) < end:
            self.take()

    def samples(self) -> np.ndarray:
        """Return the left channel of the 16-bit PCM chunks as floats."""
        parts = [np.frombuffer(data, "<i2")[::2] for head, data in self.chunks if head[0] == 1]
        left: np.ndarray = np.concatenate(parts) / 32768
        return left

    def close(self) -> None:
        """Close the connection."""
        self._open.close()
