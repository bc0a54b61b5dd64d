"""Buffers: what is loaded under which number, and what it takes to start it."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from crowdstream.commands.errors import BadArgument, Refused
from crowdstream.control.decks.beatgrid import Grid
from crowdstream.control.decks.stems import StemMix
from crowdstream.control.engine_queue.request import Request
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import DECKS, SOURCES
from crowdstream.desk.opcodes import FREE

BUFFERS_PER_DECK = 1000
FIRST_BUFFER = 100
READY_SECONDS = 0.2  # of sound that has to be in memory before a start


def deck_of(buffer: int) -> int:
    """The deck a buffer number belongs to; raises `BadArgument` for any other number."""
    deck, _ = divmod(buffer - FIRST_BUFFER, BUFFERS_PER_DECK)
    if not 0 <= deck < DECKS:
        last = FIRST_BUFFER + DECKS * BUFFERS_PER_DECK - 1
        raise BadArgument(f"id: {buffer} belongs to no deck, {FIRST_BUFFER} to {last} do")
    return deck


def first_buffer(deck: int) -> int:
    """The number of a deck's first buffer."""
    return FIRST_BUFFER + deck * BUFFERS_PER_DECK


class Due(NamedTuple):
    """When a start that the engine has is to come: a frame, or a beat expected there."""

    frame: int
    beat: float | None = None


@dataclass(eq=False)
class Track:
    """One buffer's files.

    `state`: loading (being opened), opened (length known), ready (can be started), failed,
    broken (plays what it has), gone.
    """

    number: int
    buffer: int
    name: str
    path: str
    stems: tuple[str, ...]
    sources: list[int]
    cue: float  # fraction of the length
    state: str = "loading"
    reason: str = ""
    warning: str = ""  # what is odd about its files, which play all the same
    frames: int = 0
    streamed: bool = False
    lufs: float | None = None  # integrated loudness, once it is measured
    complete: bool = False
    request: Request | None = None
    voice: int | None = None
    sounding: int = 0  # serial of the start that plays, 0 for none
    # Serials of starts that the engine still has, and when they come.
    coming: dict[int, Due] = field(default_factory=dict)
    gain: float = 1.0
    rate: float = 1.0
    mix: StemMix = field(default_factory=StemMix)
    files: tuple[str, ...] = ()  # of its stems
    left_out: list[list[Any]] = field(default_factory=list)
    """What of its folder is not played with it: name, reason, whether it should have been."""
    title: str = ""  # as its tags say, like artist and key
    artist: str = ""
    key: str = ""
    cue_frame: int = 0
    grid: Grid | None = None
    grid_slot: int = -1  # of the desk
    cues: dict[int, int] = field(default_factory=dict)  # hot cues: file frames
    ratio: float = 0.0  # synced: its beats per beat of the clock; 0: not synced
    ratio_asked: float = 0.0  # what that was asked to be, 0: what is nearest its own tempo
    quantum: float = 1.0  # beats to a multiple of which its beat is held against the clock's
    looped: bool = False  # a loop was set since the latest start
    loop_begun: bool = False  # so was the beginning of one
    loop_in: int = -1  # where a loop begins that was set by its place in the file
    marked: bool = False  # on leaving: the engine has passed the stop that was sent last

    def to_state(self) -> dict[str, Any]:
        """As JSON holds it; see `from_note`."""
        note = {name: getattr(self, name) for name in _PLAIN}
        note["request"] = self.request.to_state() if self.request else None
        note["coming"] = [[serial, *due] for serial, due in self.coming.items()]
        note["mix"] = self.mix.to_state()
        note["grid"] = self.grid.to_state() if self.grid else None
        note["cues"] = list(self.cues.items())
        return note

    @classmethod
    def from_state(
        cls, note: dict[str, Any], sample_rate: float, request: Request | None
    ) -> Track:
        """The track as it was noted, for the command that loads it."""
        grid = note["grid"]
        return cls(
            **{name: note[name] for name in _PLAIN if name not in ("stems", "files")},
            stems=tuple(note["stems"]),
            files=tuple(note["files"]),
            request=request,
            coming={serial: Due(frame, beat) for serial, frame, beat in note["coming"]},
            mix=StemMix.from_state(note["mix"]),
            grid=Grid.from_state(grid, sample_rate) if grid else None,
            cues={number: frame for number, frame in note["cues"]},
        )

    @property
    def deck(self) -> int:
        """Number of the deck it belongs to."""
        return deck_of(self.buffer)

    def speed_per_bpm(self, rate: float, base_bpm: float) -> float:
        """At how many times its own speed it plays for each beat a minute of the clock."""
        if self.ratio and self.grid:
            return self.ratio / self.grid.bpm
        return rate / base_bpm

    @property
    def settled(self) -> bool:
        """Whether loading has come to an end, good or bad."""
        return self.state not in ("loading", "opened")


# What of a track is noted as it is.
_PLAIN = (
    "number", "buffer", "name", "path", "stems", "sources", "cue", "state", "reason", "frames",
    "streamed", "lufs", "complete", "voice", "sounding", "gain", "rate", "cue_frame", "grid_slot",
    "ratio", "ratio_asked", "quantum", "looped", "loop_begun", "loop_in", "marked", "files",
    "title", "artist", "key", "left_out",
)  # fmt: skip


def resident(desk: Desk, track: Track, frame: int) -> bool:
    """Whether every stem has the pages from `frame` on that a start needs."""
    if track.state == "loading":
        return False
    ahead = int(READY_SECONDS * desk.sample_rate)
    for source in track.sources:
        record = desk.sources[source]
        last_frame = int(record["frames"]) - 1
        if frame > last_frame:
            continue
        shift = int(record["page_shift"])
        pages = desk.page_table[
            source, frame >> shift : (min(frame + ahead, last_frame) >> shift) + 1
        ]
        if not pages.all():
            return False
    return True


def in_use(desk: Desk, track: Track) -> bool:
    """Whether any voice, or what is left of one, still reads this track."""
    voices = desk.voices
    for slot in np.flatnonzero(voices["state"] != FREE):
        stems = int(voices["stems"][slot])
        if set(voices["sources"][slot, :stems].tolist()) & set(track.sources):
            return True
    return False


class SourceNumbers:
    """Hands out source numbers of the desk. `used`: those that are taken."""

    def __init__(self, used: Container[int] = ()) -> None:
        self._free = [number for number in range(SOURCES - 1, -1, -1) if number not in used]

    def take(self, count: int) -> list[int]:
        """`count` numbers; raises `Refused` when so many stems can't be loaded at once."""
        if count > len(self._free):
            raise Refused(f"{SOURCES} stems are loaded: unload some")
        return [self._free.pop() for _ in range(count)]

    def give_back(self, numbers: list[int]) -> None:
        """Return numbers whose track is gone."""
        self._free.extend(numbers)

    @property
    def free(self) -> int:
        """Numbers that nobody holds."""
        return len(self._free)


@dataclass(eq=False)
class Item:
    """One track of a start, with how it is to play. Frames and linear gains."""

    track: Track
    request: Request
    rate: float = 1.0
    volume: float = 1.0
    loop: bool = False
    start: float | None = None  # fraction; None: from its cue
    seconds: float | None = None  # of a section
    spin_up: float = 0.0  # seconds that it takes to full speed

    def start_frame(self) -> int:
        """File frame it starts at, once the length is known."""
        if self.start is None:
            return self.track.cue_frame
        return min(int(self.start * self.track.frames), max(0, self.track.frames - 1))

    def to_state(self) -> list[Any]:
        """As JSON holds it."""
        return [
            self.track.number,
            self.request.to_state(),
            self.rate,
            self.volume,
            self.loop,
            self.start,
            self.seconds,
            self.spin_up,
        ]


@dataclass(eq=False)
class Jump:
    """A jump of a playing track that waits for the place it goes to.

    `order`: what the engine is told when that place is in memory, as `Outbox.add` takes it.
    """

    track: Track
    position: int
    request: Request
    deadline: float
    order: dict[str, Any]

    def to_state(self) -> list[Any]:
        """As JSON holds it; see `from_note`."""
        return [
            self.track.number, self.position, self.request.to_state(), self.deadline, self.order
        ]

    @classmethod
    def from_state(
        cls, note: list[Any], tracks: Mapping[int, Track], request: Callable[[list[Any]], Request]
    ) -> Jump:
        """What was noted, with `tracks` by their numbers."""
        number, position, one, deadline, order = note
        return cls(tracks[number], position, request(one), deadline, order)


@dataclass(eq=False)
class Start:
    """A start of one or more tracks on one frame, waiting until all can sound."""

    items: list[Item]
    frame: int
    deadline: float
    beat: float | None = None

    def to_state(self) -> list[Any]:
        """As JSON holds it; see `from_note`."""
        return [[item.to_state() for item in self.items], self.frame, self.deadline, self.beat]

    @classmethod
    def from_state(
        cls, note: list[Any], tracks: Mapping[int, Track], request: Callable[[list[Any]], Request]
    ) -> Start:
        """What was noted, with `tracks` by their numbers."""
        items, frame, deadline, beat = note
        made = [Item(tracks[number], request(one), *rest) for number, one, *rest in items]
        return cls(made, frame, deadline, beat)
