"""What tests of control need: a session that keeps what it renders, files, bundles."""

from __future__ import annotations

import struct
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
    """What was answered."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, str, tuple[Any, ...]]] = []

    def keep(self, sender: Any, address: str, arguments: tuple[Any, ...]) -> None:
        """Keep one answer; it has to fit a packet."""
        assert len(build(address, arguments)) < 65000
        self.said.append((sender, address, arguments))


class Rig(Session):
    """A session that loads after each block and keeps all that it has rendered, as `out`.

    `pages_a_block`: pages the loader may read while one block is rendered; 0 holds it up.
    `rate`: frames per second, fewer where long stretches of music have to go by.
    """

    def __init__(
        self,
        memory_mb: int = 64,
        block: int = 256,
        pages_a_block: int = 1000,
        rate: int = RATE,
        **settings: Any,
    ) -> None:
        # No look-ahead: what is rendered is heard on the frame it was made for.
        settings = {"limiter_lookahead": 0.0, "ceiling": 0.0, **settings}
        self.answers = Answers()
        self.pages_a_block = pages_a_block
        self._kept = np.zeros((4 * rate, 2), np.float32)
        self._length = 0
        self.block = block
        self.rate = rate
        super().__init__(
            validate(**settings), budget_pages(memory_mb) * PAGE_BYTES, rate, block
        )

    def answer(self, sender: Any, address: str, *arguments: Any) -> None:
        """Keep an answer."""
        self.answers.keep(sender, address, arguments)

    def send(self, address: str, *arguments: Any, sender: Any = ME) -> None:
        """One message comes in now."""
        super().send(address, *arguments, sender=sender)

    def raw(self, packet: bytes) -> None:
        """Any packet comes in now."""
        self.packet(packet, ME)

    def step(self, frames: int | None = None) -> None:
        """Render one block, and let control and loader do what they do meanwhile."""
        block = self.render(self.block if frames is None else frames)
        end = self._length + len(block)
        while end > len(self._kept):
            self._kept = np.concatenate([self._kept, np.zeros_like(self._kept)])
        self._kept[self._length : end] = block
        self._length = end
        self.load(self.pages_a_block)

    def run(self, frames: int) -> None:
        """Render so many frames, in blocks."""
        until = self.desk.frame + frames
        while self.desk.frame < until:
            self.step(min(self.block, until - self.desk.frame))

    def seconds(self, seconds: float) -> None:
        """Render so many seconds."""
        self.run(round(seconds * self.rate))

    @property
    def out(self) -> np.ndarray:
        """All that was rendered, float32 `(frames, 2)`."""
        return self._kept[: self._length]

    def first_sound(self, since: int = 0, channel: int = 0) -> int:
        """The first frame from `since` on that is not silent; -1 if there is none."""
        found = np.flatnonzero(self.out[since:, channel])
        return since + int(found[0]) if len(found) else -1

    def heard(self, address: str) -> list[tuple[Any, ...]]:
        """Arguments of all answers of that address so far."""
        return [arguments for _, said, arguments in self.answers.said if said == address]

    def fails(self) -> list[str]:
        """What failed so far, as "address reason"."""
        return [f"{values[0]} {values[1]}" for values in self.heard("/fail")]

    def status(self) -> dict[str, Any]:
        """The named values of the status."""
        values = self.core.status.values()[9:]
        return dict(zip(values[::2], values[1::2], strict=True))

    def state(self) -> dict[str, Any]:
        """What a failed command must not change."""
        buffers, waiting = self.core.buffers, self.core.mixer.to_state()
        return {
            "buffers": {n: (t.number, t.state, t.gain, t.rate, tuple(t.mix.gains), t.voice,
                            t.sounding, dict(t.coming), t.cue_frame)
                        for n, t in buffers.current.items()},
            "incoming": buffers.to_state()["incoming"],
            "tracks": sorted(buffers.numbers()),
            "sources": buffers.free_sources,
            "voices": [t.number if t else 0 for t in self.core.voices.holders()],
            "starts": [(frame, len(items)) for items, frame, *_ in waiting["starts"]],
            "jumps": len(waiting["jumps"]),
            "syncs": len(waiting["syncs"]),
            "bpm": self.core.beats.bpm,
            "meter": self.core.beats.meter,
            "zero": self.core.beats.zero,
            "watch": self.core.watch,
            "movement": self.core.follower.movement,
            "subscribers": len(self.core.subscribers),
            "published": int(self.desk.rings["command_head"]),
            "requests": len(self.requests),
        }


def write(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> Path:
    """A WAV file of float samples, shape `(frames, channels)` or `(frames,)`."""
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def level(seconds: float, value: float = 0.25, rate: int = RATE) -> np.ndarray:
    """A constant: its first sounding frame shows to the frame where it was started."""
    return np.full((round(seconds * rate), 2), value, np.float32)


def count(seconds: float, rate: int = RATE) -> np.ndarray:
    """16-bit samples that count up from 1 to 8192 and begin again: each shows its place."""
    lap = np.repeat(np.arange(1, 8193, dtype=np.float32)[:, None] / 32768, 2, axis=1)
    return np.resize(lap, (round(seconds * rate), 2))


def place(sample: float) -> int:
    """Which place of `count` a sample shows, modulo 8192."""
    return round(float(sample) * 32768) - 1


def playing(rig: Rig, path: str, buffer: int = 100, loop: int = 1) -> None:
    """Load a file into a buffer and play it at full gain."""
    rig.send("/load_buffer", buffer, path)
    rig.send("/play_stem", buffer, 1.0, 1.0, loop)
    rig.run(2048)
    assert rig.core.buffers.find(buffer).sounding


def bundle(seconds: float, *elements: bytes) -> bytes:
    """A bundle whose time tag is so many seconds after the rig's start."""
    tag = round((WALL + seconds + UNIX_EPOCH) * 2**32)
    packed = b"".join(struct.pack(">i", len(element)) + element for element in elements)
    return b"#bundle\0" + struct.pack(">Q", tag) + packed


def bundle_at(tag: float, address: str, *arguments: Any) -> bytes:
    """A message with a time tag in Unix seconds."""
    return bundle(tag - WALL, build(address, arguments))


def at_once(*elements: bytes) -> bytes:
    """A bundle without a time."""
    packed = b"".join(struct.pack(">i", len(element)) + element for element in elements)
    return b"#bundle\0" + struct.pack(">Q", 1) + packed


def stem_of(tmp_path: Path, channel: int) -> str:
    """A constant on one side only (0 left, 1 right), 2 s."""
    samples = level(2)
    samples[:, 1 - channel] = 0
    return str(write(tmp_path / f"side{channel}.wav", samples))
