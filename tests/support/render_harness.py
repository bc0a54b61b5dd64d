"""A harness for the engine without a device: arrays and commands in, blocks of any length out."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import PAGE_BYTES, STEMS
from crowdstream.desk.dtypes import COMMAND
from crowdstream.desk.lease import Lease
from crowdstream.desk.opcodes import EV_LATE, EV_STARTED, OP_CLOCK, OP_RAMP, OP_START
from crowdstream.desk.pages import Arena
from crowdstream.desk.rings import pop_events, push_commands
from crowdstream.engine.render import render

RATE = 44100.0
GOLDENS = Path(__file__).parents[1] / "unit" / "engine" / "goldens"


class RenderHarness:
    """A desk with an arena, and the commands as methods.

    All positions are in frames and all gains linear. Close it, or use it in a `with`.
    """

    def __init__(self, sample_rate: float = RATE, pages: int = 256) -> None:
        self.desk = Desk.create(pages * PAGE_BYTES, sample_rate)
        Lease(self.desk, 1).take()
        self.arena = Arena(self.desk)
        self._sources = itertools.count()
        self._serials = itertools.count(1)
        self._grids = itertools.count()
        self._tempos = [(0, 0, 1.0, 1.0)]
        self._samples: dict[int, np.ndarray] = {}
        self._attacks: dict[int, np.ndarray] = {}

    def __enter__(self) -> RenderHarness:
        return self

    def __exit__(self, *_error: object) -> None:
        del self.arena
        self.desk.close()

    # Stems

    def load(
        self, samples: np.ndarray, missing: Iterable[int] = (), attacks: Iterable[int] = ()
    ) -> int:
        """Create a source of int16 or float32 samples, `(frames,)` or `(frames, channels)`.

        `missing`: pages that are left out; `bring` adds them later. `attacks`: frames at which
        attacks begin.
        """
        samples = samples.reshape(len(samples), -1)
        source = next(self._sources)
        self._samples[source] = samples
        self._attacks[source] = np.array(sorted(attacks), np.int64)
        size = self.arena.describe(
            source, len(samples), samples.shape[1], samples.dtype == np.int16
        )
        left_out = set(missing)
        for page in range(-(-len(samples) // size)):
            if page not in left_out:
                self.bring(source, page)
        return source

    def page_frames(self, source: int) -> int:
        """Return the number of frames per page of a source."""
        return 1 << int(self.desk.sources[source]["page_shift"])

    def bring(self, source: int, page: int) -> None:
        """Make a page of a source resident."""
        size = self.page_frames(source)
        place = self.arena.take()
        assert place is not None, "the bench's arena is too small"
        part = self._samples[source][page * size : (page + 1) * size]
        offsets = self._attacks[source] - page * size
        offsets = offsets[(offsets >= 0) & (offsets < size)].astype(np.uint16)
        self.arena.publish(source, page, place, part, offsets)

    # Commands

    def command(self, op: int, **fields: Any) -> np.ndarray:
        """Create one command record; `fields` as in `dtypes.COMMAND`."""
        record = np.zeros(1, COMMAND)
        record["op"] = op
        record["serial"] = fields.pop("serial", None) or next(self._serials)
        for name, value in fields.items():
            if name in ("sources", "gains"):
                record[name][0, : len(value)] = value
            else:
                record[name] = value
        return record

    def push(self, *records: np.ndarray) -> bool:
        """Publish records as one batch; returns False if the ring refused it."""
        return push_commands(self.desk, np.concatenate(records))

    def send(self, op: int, **fields: Any) -> int:
        """Publish one command; return its serial number."""
        record = self.command(op, **fields)
        assert self.push(record)
        return int(record["serial"][0])

    def start_command(
        self,
        voice: int,
        sources: int | list[int],
        *,
        deck: int = 0,
        start: int = 0,
        rate: float = 1.0,
        gain: float = 1.0,
        gains: list[float] | None = None,
        loop: tuple[int, int] | None = None,
        end: int | None = None,
        grid: int = -1,
        frame: int = 0,
    ) -> np.ndarray:
        """Create the record of a start; `loop`: (in, out), or None to play to `end` or the end."""
        numbers = [sources] if isinstance(sources, int) else sources
        length = max(int(self.desk.sources[number]["frames"]) for number in numbers)
        last = length if end is None else end
        loop_in, loop_out = loop or (0, last)
        return self.command(
            OP_START,
            target=voice,
            index=len(numbers),
            flags=deck << 1 | int(loop is not None),
            x=rate,
            y=gain,
            start=start,
            loop_in=loop_in,
            loop_out=loop_out,
            end=last,
            grid=grid,
            sources=numbers,
            gains=gains or [1.0] * STEMS,
            frame=frame,
        )

    def start(self, voice: int, sources: int | list[int], **how: Any) -> int:
        """Publish a start (see `start_command`); return its serial number."""
        record = self.start_command(voice, sources, **how)
        assert self.push(record)
        return int(record["serial"][0])

    def ramp(self, row: int, target: float, frames: int = 0, frame: int = 0) -> None:
        """Ramp a parameter to `target` over `frames` frames, from frame `frame` on."""
        self.send(OP_RAMP, index=row, x=target, y=frames, frame=frame)

    def tempo(self, factor: float, frames: int = 0, frame: int | None = None) -> None:
        """Ramp the clock to `factor` times its base tempo over `frames` frames, from `frame` on."""
        begin = self.desk.frame if frame is None else frame
        base = float(self.desk.clock["tempo_base"])
        rate = self._tempo(begin) * base
        beat = self.beat(begin)
        self._tempos.append((begin, frames, self._tempo(begin), factor))
        self.send(
            OP_CLOCK, frame=begin, start=begin, x=beat, y=rate, z=factor * base, loop_out=frames
        )

    def _tempo(self, frame: int) -> float:
        begin, frames, first, last = self._tempos[-1]
        return first + (last - first) * min(1.0, (frame - begin) / frames) if frames else last

    def beat(self, frame: int) -> float:
        """Return the clock's beat at a frame: a sum of trapezoids."""
        beat = 0.0
        known = [tempo for tempo in self._tempos if tempo[0] <= frame]
        ends = [*(begin for begin, *_rest in known[1:]), frame]
        for (begin, frames, first, last), end in zip(known, ends, strict=True):
            ramp = min(end - begin, frames)
            slope = (last - first) / frames if frames else 0.0
            beat += (first + 0.5 * slope * ramp) * ramp + last * (end - begin - ramp)
        return beat * float(self.desk.clock["tempo_base"])

    def grid(self, *points: tuple[float, float]) -> int:
        """Add a beat grid of pairs `(beat, file frame)`; return its number."""
        number = next(self._grids)
        record = self.desk.grids[number]
        record["count"] = len(points)
        for at, (beat, frame) in enumerate(points):
            record["beats"][at] = beat
            record["frames"][at] = frame
        return number

    # Sound

    def render(self, frames: int, blocks: int | Iterable[int] = 256) -> np.ndarray:
        """Render the next frames, `(frames, 2)`, in blocks of these lengths, used cyclically."""
        lengths = itertools.cycle([blocks] if isinstance(blocks, int) else blocks)
        out = np.full((frames, 2), np.nan, np.float32)
        done = 0
        while done < frames:
            length = min(next(lengths), frames - done)
            render(self.desk, out[done : done + length])
            done += length
        return out

    def events(self) -> np.ndarray:
        """Return the engine's events since the last call."""
        return pop_events(self.desk)

    def started(self) -> list[int]:
        """Return the frames at which voices started, from the events since the last call."""
        events = self.events()
        return [int(frame) for frame in events["frame"][events["kind"] == EV_STARTED]]

    def late(self) -> dict[int, int]:
        """Return the lateness of commands in frames, by serial number."""
        events = self.events()
        chosen = events[events["kind"] == EV_LATE]
        return {int(event["serial"]): int(event["value"]) for event in chosen}


def noise(frames: int, channels: int = 2, *, peak: float = 0.5, seed: int = 0) -> np.ndarray:
    """Return white noise, int16, `(frames, channels)`."""
    rng = np.random.default_rng(seed)
    samples: np.ndarray = (rng.uniform(-peak, peak, (frames, channels)) * 32767).astype(np.int16)
    return samples


def sine(hertz: float, frames: int, *, rate: float = RATE, level: float = 1.0) -> np.ndarray:
    """Return a sine as float32, `(frames,)`."""
    wave = level * np.sin(2 * np.pi * hertz * np.arange(frames) / rate)
    samples: np.ndarray = wave.astype(np.float32)
    return samples


def as_float(samples: np.ndarray) -> np.ndarray:
    """Return the expected output for samples at rate 1: float32, `(frames, 2)`."""
    samples = samples.reshape(len(samples), -1)
    scaled = samples / np.float32(32768.0) if samples.dtype == np.int16 else samples
    stereo: np.ndarray = np.broadcast_to(scaled, (len(scaled), 2)).astype(np.float32)
    return stereo


def check_golden(name: str, actual: np.ndarray, tolerance: float = 2e-6) -> None:
    """Compare with `goldens/<name>.npy`; on a mismatch, write `<name>.actual.npy` beside it."""
    path = GOLDENS / f"{name}.npy"
    beside = GOLDENS / f"{name}.actual.npy"
    beside.unlink(missing_ok=True)
    expected = np.load(path) if path.exists() else np.empty((0, 2), np.float32)
    if expected.shape == actual.shape:
        worst = float(np.max(np.abs(expected - actual)))
        if worst <= tolerance:
            return
        reason = f"differs by up to {worst:g} (allowed: {tolerance:g})"
    else:
        reason = f"has shape {actual.shape}, expected {expected.shape}"
    np.save(beside, actual)
    raise AssertionError(
        f"{name}: the sound {reason}; it was saved as {beside}. If it is correct, rename it"
    )
