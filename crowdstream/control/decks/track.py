"""Tracks in buffers, and the starts and jumps that wait for them.

Settings of a track's stems: gain, mute and solo, EQ, filter and sends.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from crowdstream.commands.errors import BadArgument, Refused
from crowdstream.commands.registry import DECK_LETTERS
from crowdstream.control.decks.beatgrid import Grid
from crowdstream.control.engine_queue.queue import EngineQueue
from crowdstream.control.engine_queue.request import Request
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import DECKS, SAMPLER, SOURCES
from crowdstream.desk.opcodes import FREE, OP_RAMP
from crowdstream.desk.ramps import voice_ramp


class StemMix:
    """The stem settings of one track. Gains are linear; stems are counted from 0.

    Mute and solo do not change the gains. A stem is audible if it is not muted and, if any stem of
    the track is soloed, is one of those.
    """

    def __init__(self, count: int = 0) -> None:
        self.own_gains = [1.0] * count
        self.mutes: set[int] = set()
        self.solos: set[int] = set()
        self.rows: dict[int, float] = {}
        """Values of the voice's ramp rows (`ramps.VOICE_...`) that were set."""

    def keep(self, count: int) -> None:
        """Drop the settings of all stems but the first `count`."""
        del self.own_gains[count:]
        self.mutes = {number for number in self.mutes if number < count}
        self.solos = {number for number in self.solos if number < count}

    def to_state(self) -> list[Any]:
        """Return the settings as JSON-compatible state; see `from_state`."""
        return [
            list(self.own_gains), sorted(self.mutes), sorted(self.solos), list(self.rows.items())
        ]

    @classmethod
    def from_state(cls, state: list[Any]) -> StemMix:
        """Restore the settings from `to_state`."""
        made = cls()
        made.own_gains, mutes, solos, rows = state
        made.mutes, made.solos = set(mutes), set(solos)
        made.rows = {row: value for row, value in rows}
        return made

    @property
    def gains(self) -> list[float]:
        """The effective gain of each stem, with mute and solo applied."""
        return [
            gain if number not in self.mutes and (not self.solos or number in self.solos) else 0.0
            for number, gain in enumerate(self.own_gains)
        ]

    def send_rows(
        self, outbox: EngineQueue, request: Request, voice: int, frame: int, beat: float | None
    ) -> None:
        """Queue the settings for a voice that starts at `frame`, which it does with defaults."""
        for row, value in self.rows.items():
            outbox.add(
                OP_RAMP, request, index=voice_ramp(voice, row), x=value, y=0.0, frame=frame,
                beat=beat,
            )


BUFFERS_PER_DECK = 1000
FIRST_BUFFER = 100
READY_SECONDS = 0.2  # of audio that must be in memory before a start


def is_deck_buffer(buffer: int) -> bool:
    """Return whether a buffer number belongs to a deck."""
    return 0 <= (buffer - FIRST_BUFFER) // BUFFERS_PER_DECK < DECKS


def deck_of(buffer: int) -> int:
    """Return the deck of a buffer number; raise `BadArgument` if there is none."""
    if not is_deck_buffer(buffer):
        last = FIRST_BUFFER + DECKS * BUFFERS_PER_DECK - 1
        raise BadArgument(
            f"id: {buffer} belongs to no deck; the range is {FIRST_BUFFER} to {last}"
        )
    return (buffer - FIRST_BUFFER) // BUFFERS_PER_DECK


def first_buffer(deck: int) -> int:
    """Return the number of the first buffer of a deck, of SAMPLER or of ANNOUNCER."""
    return FIRST_BUFFER + deck * BUFFERS_PER_DECK


class Due(NamedTuple):
    """The time of a start that is with the engine: a frame, or a beat that is expected there."""

    frame: int
    beat: float | None = None


@dataclass(eq=False)
class Track:
    """A loaded file or folder of stems.

    `state`: loading (being opened), opened (length known), ready (can be started), failed,
    broken (plays the part in memory), gone.
    """

    number: int
    buffer: int
    name: str
    path: str
    stems: tuple[str, ...]
    sources: list[int]
    cue: float  # cue point, as a fraction of the length
    state: str = "loading"
    reason: str = ""
    warning: str = ""  # oddities of its files that do not prevent playback
    frames: int = 0
    streamed: bool = False
    lufs: float | None = None  # integrated loudness, once it is measured
    complete: bool = False
    request: Request | None = None
    voice: int | None = None
    sounding: int = 0  # serial of the start that is playing, 0 for none
    # Pending starts in the engine: their serials and times.
    pending_starts: dict[int, Due] = field(default_factory=dict)
    gain: float = 1.0
    rate: float = 1.0
    mix: StemMix = field(default_factory=StemMix)
    files: tuple[str, ...] = ()  # paths of its stems
    left_out: list[list[Any]] = field(default_factory=list)
    """Files of its folder that do not play: name, reason, whether they are missed."""
    title: str = ""  # from its tags, as are artist and key
    artist: str = ""
    key: str = ""
    cue_frame: int = 0
    grid: Grid | None = None
    grid_slot: int = -1  # in the desk
    cues: dict[int, int] = field(default_factory=dict)  # hot cues: file frames by number
    ratio: float = 0.0  # synced: its own beats per beat of the clock; 0: not synced
    ratio_asked: float = 0.0  # requested ratio; 0: the one nearest to its own tempo
    quantum: float = 1.0  # beats, modulo which its beat is aligned with the clock's
    looped: bool = False  # a loop was set since the latest start
    loop_begun: bool = False  # a loop start was set since the latest start
    loop_in: int = -1  # file frame of a loop start that was set by position
    max_frames: int = 0  # nonzero: all of it must be in memory, and it is at most this long
    marked: bool = False  # while unloading: the engine has processed the latest stop

    def to_state(self) -> dict[str, Any]:
        """Return the track as JSON-compatible state; see `from_state`."""
        state = {name: getattr(self, name) for name in _PLAIN}
        state["request"] = self.request.to_state() if self.request else None
        state["coming"] = [[serial, *due] for serial, due in self.pending_starts.items()]
        state["mix"] = self.mix.to_state()
        state["grid"] = self.grid.to_state() if self.grid else None
        state["cues"] = list(self.cues.items())
        return state

    @classmethod
    def from_state(
        cls, state: dict[str, Any], sample_rate: float, request: Request | None
    ) -> Track:
        """Restore a track from `to_state`; `request` is the command that loads it."""
        grid = state["grid"]
        return cls(
            # An earlier version has not saved all of them.
            **{name: state[name] for name in _PLAIN
               if name in state and name not in ("stems", "files")},
            stems=tuple(state["stems"]),
            files=tuple(state["files"]),
            request=request,
            pending_starts={serial: Due(frame, beat) for serial, frame, beat in state["coming"]},
            mix=StemMix.from_state(state["mix"]),
            grid=Grid.from_state(grid, sample_rate) if grid else None,
            cues={number: frame for number, frame in state["cues"]},
        )

    @property
    def deck(self) -> int:
        """Number of the deck to which the track belongs, or SAMPLER or ANNOUNCER."""
        return (self.buffer - FIRST_BUFFER) // BUFFERS_PER_DECK

    @property
    def on_deck(self) -> bool:
        """Whether the track belongs to a deck, and so follows the tempo, pitch and keylock."""
        return self.deck < DECKS

    @property
    def place(self) -> str:
        """The name of its deck or sample pad, for messages."""
        if self.on_deck:
            return f"deck {DECK_LETTERS[self.deck]}"
        if self.deck == SAMPLER:
            return f"sample {self.buffer - first_buffer(SAMPLER) + 1}"
        return "announcement"

    def speed_per_bpm(self, rate: float, base_bpm: float) -> float:
        """Return the playback speed per BPM of the clock, at a rate if the track is not synced."""
        if self.ratio and self.grid:
            return self.ratio / self.grid.bpm
        return rate / base_bpm

    @property
    def settled(self) -> bool:
        """Whether loading has finished, successfully or not."""
        return self.state not in ("loading", "opened")


# Fields of a track that are saved unchanged.
_PLAIN = (
    "number", "buffer", "name", "path", "stems", "sources", "cue", "state", "reason", "frames",
    "streamed", "lufs", "complete", "voice", "sounding", "gain", "rate", "cue_frame", "grid_slot",
    "ratio", "ratio_asked", "quantum", "looped", "loop_begun", "loop_in", "marked", "files",
    "max_frames", "warning",
    "title", "artist", "key", "left_out",
)  # fmt: skip


def resident(desk: Desk, track: Track, frame: int) -> bool:
    """Whether all pages that a start at `frame` needs are in memory, for every stem."""
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


def resident_end(desk: Desk, track: Track, frame: int) -> int:
    """Return the first frame from `frame` on that some stem lacks in memory; the length if none."""
    if track.complete and not track.streamed and track.state != "broken":
        return track.frames
    end = track.frames
    for source in track.sources:
        record = desk.sources[source]
        frames, shift = int(record["frames"]), int(record["page_shift"])
        first, pages = max(0, frame) >> shift, ((frames - 1) >> shift) + 1
        missing = np.flatnonzero(desk.page_table[source, first:pages] == 0)
        if len(missing):
            end = min(end, (first + int(missing[0])) << shift)
    return max(frame, end)


def in_use(desk: Desk, track: Track) -> bool:
    """Whether any voice still reads this track, including voices that are fading out."""
    voices = desk.voices
    for slot in np.flatnonzero(voices["state"] != FREE):
        stems = int(voices["stems"][slot])
        if set(voices["sources"][slot, :stems].tolist()) & set(track.sources):
            return True
    return False


class SourceNumbers:
    """Allocates source numbers of the desk. `used`: numbers that are taken."""

    def __init__(self, used: Container[int] = ()) -> None:
        self._free = [number for number in range(SOURCES - 1, -1, -1) if number not in used]

    def take(self, count: int) -> list[int]:
        """Allocate `count` numbers; raise `Refused` if fewer are free."""
        if count > len(self._free):
            raise Refused(f"{SOURCES} stems are loaded already: unload some")
        return [self._free.pop() for _ in range(count)]

    def release(self, numbers: list[int]) -> None:
        """Free the numbers of an unloaded track."""
        self._free.extend(numbers)

    @property
    def free(self) -> int:
        """Number of free sources."""
        return len(self._free)


@dataclass(eq=False)
class Item:
    """One track of a start, and its playback parameters."""

    track: Track
    request: Request
    rate: float = 1.0
    volume: float = 1.0  # linear gain
    loop: bool = False
    start: float | None = None  # fraction of the length; None: the cue point
    seconds: float | None = None  # length of a section
    spin_up: float = 0.0  # duration of a soft start in seconds

    def start_frame(self) -> int:
        """Return the file frame at which it starts. The track's length must be known."""
        if self.start is None:
            return self.track.cue_frame
        return min(int(self.start * self.track.frames), max(0, self.track.frames - 1))

    def to_state(self) -> list[Any]:
        """Return the item as JSON-compatible state; see `Start.from_state`."""
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
    """A jump of a playing track that waits until its destination is in memory.

    `order`: the engine command to send then, as arguments of `EngineQueue.add`.
    """

    track: Track
    position: int
    request: Request
    deadline: float
    order: dict[str, Any]

    def to_state(self) -> list[Any]:
        """Return the jump as JSON-compatible state; see `from_state`."""
        return [
            self.track.number, self.position, self.request.to_state(), self.deadline, self.order
        ]

    @classmethod
    def from_state(
        cls, state: list[Any], tracks: Mapping[int, Track], request: Callable[[list[Any]], Request]
    ) -> Jump:
        """Restore a jump from `to_state`; `tracks` by number, `request` restores a request."""
        number, position, one, deadline, order = state
        return cls(tracks[number], position, request(one), deadline, order)


@dataclass(eq=False)
class Start:
    """A start of one or more tracks on one frame that waits until all of them are in memory."""

    items: list[Item]
    frame: int
    deadline: float
    beat: float | None = None

    def to_state(self) -> list[Any]:
        """Return the start as JSON-compatible state; see `from_state`."""
        return [[item.to_state() for item in self.items], self.frame, self.deadline, self.beat]

    @classmethod
    def from_state(
        cls, state: list[Any], tracks: Mapping[int, Track], request: Callable[[list[Any]], Request]
    ) -> Start:
        """Restore a start from `to_state`; `tracks` by number, `request` restores a request."""
        items, frame, deadline, beat = state
        made = [Item(tracks[number], request(one), *rest) for number, one, *rest in items]
        return cls(made, frame, deadline, beat)
