"""Write and render sets in tests."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crowdstream.offline.renderer import Renderer, Summary
from crowdstream.offline.session import Session
from crowdstream.offline.set_formats import read_set
from crowdstream.osc.codec import build
from crowdstream.settings import Settings
from tests.support.offline_server import RATE

MEMORY_BYTES = 64 << 20


def mix(
    path: Path, text: str | bytes, seconds: float | None = None, memory: int = MEMORY_BYTES,
    whole: bool = False, inputs: Sequence[Path] = (), **settings: Any,
) -> tuple[np.ndarray, Summary]:
    """Render a set with these contents in the folder `path`; return float32 `(frames, 2)`.

    `inputs`: files on the live inputs.
    """
    path = path / "set.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    blocks: list[np.ndarray] = []
    with Session(Settings(**settings), memory, RATE, whole=whole, inputs=inputs) as session:
        renderer = Renderer(session, read_set(path), lambda block: blocks.append(block.copy()))
        summary = renderer.run(seconds)
    out = np.concatenate(blocks) if blocks else np.zeros((0, 2), np.float32)
    assert len(out) == summary.frames
    return out, summary


def score(*bundles: tuple[float, list[tuple[str, tuple[Any, ...]]]]) -> bytes:
    """Return a binary score from the time in seconds and the messages of each bundle."""
    data = b""
    for seconds, messages in bundles:
        packet = b"#bundle\0" + struct.pack(">Q", round(seconds * 2**32))
        for address, arguments in messages:
            message = build(address, arguments)
            packet += struct.pack(">i", len(message)) + message
        data += struct.pack(">i", len(packet)) + packet
    return data
