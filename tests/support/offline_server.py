"""Helpers for tests of control: a session that keeps its output, files, bundles."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from crowdstream.desk.constants import PAGE_BYTES
from crowdstream.loader.loader import budget_pages
from crowdstream.offline.session import WALL, Session
from crowdstream.osc.codec import UNIX_EPOCH, build
from crowdstream.settings import validate

RATE = 44100
ME = ("127.0.0.1", 50000)


class Answers:
    """Recorded replies."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, str, tuple[Any, ...]]] = []

    def keep(self, sender: Any, address: str, arguments: tuple[Any, ...]) -> None:
        """Record one reply, which must fit into a packet."""
        assert len(build(address, arguments)) < 65000
        self.said.append((sender, address, arguments))


class Rig(Session):
    """A session that runs the loader after each block and keeps all output as `out`.

    `pages_a_block`: pages that the loader may read per rendered block; 0 stops it. `rate`: sample
    rate in Hz, lower for tests with long stretches of music.
    """

    def __init__(
        self,
        memory_mb: int = 64,
        block: int = 256,
        pages_a_block: int = 1000,
        rate: int = RATE,
        inputs: Sequence[Path] = (),
        **settings: Any,
    ) -> None:
        # No look-ahead, so that the output is not delayed.
        settings = {"limiter_lookahead": 0.0, "limiter_ceiling": 0.0, **settings}
        self.answers = Answers()
        self.pages_a_block = pages_a_block
        self._kept = np.zeros((4 * rate, 2), np.float32)
        self._length = 0
        self.block = block
        self.rate = rate
        super().__init__(
            validate(**settings), budget_pages(memory_mb) * PAGE_BYTES, rate, block, inputs=inputs
        )

    def answer(self, sender: Any, address: str, *arguments: Any) -> None:
        """Record a reply."""
        self.answers.keep(sender, address, arguments)

    def send(self, address: str, *arguments: Any, sender: Any = ME) -> None:
        """Receive one message now."""
        super().send(address, *arguments, sender=sender)

    def raw(self, packet: bytes) -> None:
        """Receive a packet now."""
        self.packet(packet, ME)

    def step(self, frames: int | None = None) -> None:
        """Render one block, and let control and loader do their work."""
        block = self.render(self.block if frames is None else frames)
        end = self._length + len(block)
        while end > len(self._kept):
            self._kept = np.concatenate([self._kept, np.zeros_like(self._kept)])
        self._kept[self._length : end] = block
        self._length = end
        self.load(self.pages_a_block)

    def run(self, frames: int) -> None:
        """Render `frames` frames in blocks."""
        until = self.desk.frame + frames
        while self.desk.frame < until:
            self.step(min(self.block, until - self.desk.frame))

    def seconds(self, seconds: float) -> None:
        """Render for a number of seconds."""
        self.run(round(seconds * self.rate))

    @property
    def out(self) -> np.ndarray:
        """All rendered frames, float32 `(frames, 2)`."""
        return self._kept[: self._length]

    def first_sound(self, since: int = 0, channel: int = 0) -> int:
        """Return the first frame from `since` on that is not silent, or -1."""
        found = np.flatnonzero(self.out[since:, channel])
        return since + int(found[0]) if len(found) else -1

    def heard(self, address: str) -> list[tuple[Any, ...]]:
        """Return the arguments of all replies with that address so far."""
        return [arguments for _, said, arguments in self.answers.said if said == address]

    def fails(self) -> list[str]:
        """Return all failures so far, as "address reason"."""
        return [f"{values[0]} {values[1]}" for values in self.heard("/fail")]

    def status(self) -> dict[str, Any]:
        """Return the named values of the status."""
        values = self.core.status.values()[9:]
        return dict(zip(values[::2], values[1::2], strict=True))

    def state(self) -> dict[str, Any]:
        """Return the state that a failed command must not change."""
        buffers, waiting = self.core.track_table, self.core.deck_manager.to_state()
        return {
            "buffers": {n: (t.number, t.state, t.gain, t.rate, tuple(t.mix.gains), t.voice,
                            t.sounding, dict(t.pending_starts), t.cue_frame)
                        for n, t in buffers.current.items()},
            "incoming": buffers.to_state()["incoming"],
            "tracks": sorted(buffers.numbers()),
            "sources": buffers.free_sources,
            "voices": [t.number if t else 0 for t in self.core.voice_allocator.holders()],
            "starts": [(frame, len(items)) for items, frame, *_ in waiting["starts"]],
            "jumps": len(waiting["jumps"]),
            "syncs": len(waiting["syncs"]),
            "bpm": self.core.beat_clock.bpm,
            "meter": self.core.beat_clock.meter,
            "zero": self.core.beat_clock.zero,
            "watch": self.core.watch,
            "movement": self.core.follower.movement,
            "subscribers": len(self.core.subscribers),
            "published": int(self.desk.rings["command_head"]),
            "requests": len(self.requests),
        }


def write(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> Path:
    """Write a WAV file of float samples, shape `(frames, channels)` or `(frames,)`."""
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def level(seconds: float, value: float = 0.25, rate: int = RATE) -> np.ndarray:
    """Return a constant signal, whose first audible frame shows exactly where it was started."""
    return np.full((round(seconds * rate), 2), value, np.float32)


def count(seconds: float, rate: int = RATE) -> np.ndarray:
    """Return 16-bit samples that repeatedly count from 1 to 8192 and so encode their position."""
    lap = np.repeat(np.arange(1, 8193, dtype=np.float32)[:, None] / 32768, 2, axis=1)
    return np.resize(lap, (round(seconds * rate), 2))


def place(sample: float) -> int:
    """Return the position that a sample of `count` encodes, modulo 8192."""
    return round(float(sample) * 32768) - 1


def playing(rig: Rig, path: str, buffer: int = 100, loop: int = 1) -> None:
    """Load a file into a buffer and play it at full gain."""
    rig.send("/load_buffer", buffer, path)
    rig.send("/play_stem", buffer, 1.0, 1.0, loop)
    rig.run(2048)
    assert rig.core.track_table.find(buffer).sounding


def bundle(seconds: float, *elements: bytes) -> bytes:
    """Return a bundle with a time tag, in seconds after the rig's start."""
    tag = round((WALL + seconds + UNIX_EPOCH) * 2**32)
    packed = b"".join(struct.pack(">i", len(element)) + element for element in elements)
    return b"#bundle\0" + struct.pack(">Q", tag) + packed


def bundle_at(tag: float, address: str, *arguments: Any) -> bytes:
    """Return a message with a time tag in Unix seconds."""
    return bundle(tag - WALL, build(address, arguments))


def at_once(*elements: bytes) -> bytes:
    """Return a bundle that takes effect immediately."""
    packed = b"".join(struct.pack(">i", len(element)) + element for element in elements)
    return b"#bundle\0" + struct.pack(">Q", 1) + packed


def stem_of(tmp_path: Path, channel: int) -> str:
    """Write 2 s of a constant signal in one channel only (0 left, 1 right)."""
    samples = level(2)
    samples[:, 1 - channel] = 0
    return str(write(tmp_path / f"side{channel}.wav", samples))
