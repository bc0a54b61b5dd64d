"""Streaming while the engine is killed."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np

from tests.support.listening_client import ListeningClient
from tests.support.listening_page import tone
from tests.support.server import server

CHUNK = 882  # frames


def test_streaming_continues_when_the_engine_is_killed(tmp_path: Path) -> None:
    with server(tmp_path, "--http", "--driver", "null", "--buffer-size", "256") as running:
        client = ListeningClient(running.page())
        client.take_chunks(10)
        running.client.send("/test_tone", 1000.0)
        while not np.abs(client.samples()).max() > 0.001:
            client.take()
        # The sound after the fade-in, without frames that a busy machine has skipped.
        first = len(client.chunks) + 5
        while True:
            client.take_chunks(5 + 30)
            frames = np.array([head[5] for head, _ in client.chunks[first : first + 30]])
            if (np.diff(frames) == CHUNK).all():
                break
            first = len(client.chunks)
        parts = [np.frombuffer(data, "<i2")[::2] for _, data in client.chunks[first : first + 30]]
        hertz, _, rest = tone(np.concatenate(parts) / 32768, 44100, 1000.0)
        assert abs(hertz - 1000.0) < 0.01 and rest < -50.0
        running.child_named("engine").send_signal(signal.SIGKILL)
        last = client.chunks[-1][0][5]
        while client.chunks[-1][0][5] < last + 80 * CHUNK:
            client.take()
        at = [int(head[5]) for head, _ in client.chunks]
        assert at == sorted(at)
        client.close()
