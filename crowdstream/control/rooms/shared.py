"""What rooms share: which commands, which values, and the parts of the server that they act on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from crowdstream.commands.registry import Command
from crowdstream.control.clock.clock import BeatClock, ClockUpdates, FrameClock
from crowdstream.control.decks.deck_manager import DeckManager
from crowdstream.control.decks.track_table import TrackTable
from crowdstream.control.decks.voice_allocator import VoiceAllocator
from crowdstream.control.engine_queue.queue import EngineQueue
from crowdstream.control.engine_queue.request import Request
from crowdstream.control.publish.address_values import named_values
from crowdstream.control.scheduler import Entry
from crowdstream.desk.block import Desk

# Changes of the clock are sent as the clock itself, whose every segment is exact.
CLOCK = frozenset({"/clock/tempo", "/clock/reset", "/set_tempo", "/reset"})
# What belongs to one room: its loudness, headphones, inputs and announcements, files that are
# written, and the machine. `/clock/at` and `/clock/next` are shared when their command acts.
_LOCAL = re.compile(
    r"/clock/.*|/mix/(level|ceiling|cue/level|autotrim)|.*/pfl|.*/trim/auto|/input/.*|/record/.*"
    r"|/buffer_size|/quality|/sync|/announce.*"
)
# Values that the scene states otherwise, or that no command sets.
_OTHERWISE = re.compile(r".*/(play|loop|sync|sync/ratio|slip|reverse|quantize)|/sample/\d+/loop")
_KEYS = ("deck.A", "deck.B", "deck.C", "deck.D", "mixer", "buses", "patches", "samples")
FX_KEYS = {"mixer": "/mix", **{f"deck.{letter}": f"/deck/{letter}" for letter in "ABCD"}}

MakeRequest = Callable[[Any, int, int, float | None], Request]
"""Makes a request: its sender, the frame at which it acts, that of its arrival, and its beat."""

Values = dict[str, list[Any]]
"""Arguments by a text that stands for the address and the arguments that select."""


def is_stamped(command: Command) -> bool:
    """Whether a command acts in all rooms, so that its frame has to be far enough ahead."""
    if command.control_only or not command.changes:
        return False
    return command.address in CLOCK or not _LOCAL.fullmatch(command.address)


def is_sent(command: Command) -> bool:
    """Whether a command is sent to the rooms as it is."""
    return is_stamped(command) and command.address not in CLOCK


def file_of(path: str) -> dict[str, str]:
    """Return a path as the process of the rooms replaces it: it has another working directory."""
    return {"file": str(Path(path).expanduser().absolute())}


def arguments_of(command: Command, values: Mapping[str, Any], count: int) -> list[Any]:
    """Return the arguments that a command was given; a file as `{"file": path}`."""
    found: list[Any] = []
    for arg in command.args:
        if len(found) >= count or arg.name not in values:
            break
        value = values[arg.name]
        if arg.rest:
            found += list(value or ())
        elif arg.name == "path" and isinstance(value, str):
            found.append(file_of(value))
        else:
            found.append(value)
    return found


def shared_values(view: Mapping[str, Any]) -> Values:
    """Return the values of a state view that all rooms have in common."""
    found: Values = {}
    for key in _KEYS:
        for name, values in named_values(key, view[key]):
            if not (_LOCAL.fullmatch(name[0]) or _OTHERWISE.fullmatch(name[0])):
                found["\n".join(map(str, name))] = list(values)
    return found


def chains(view: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the effects of each chain by the beginning of its address; "" for a free slot."""
    found = {
        address: [one["name"] if one else "" for one in view[key]["fx"]]
        for key, address in FX_KEYS.items()
    }
    for bus in view["buses"]:
        found[f"/bus/{bus['bus']}"] = [one["name"] if one else "" for one in bus["fx"]]
    return found


def command_of(name: str, values: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
    """Return address and arguments of a value in `Values`."""
    address, *chosen = name.split("\n")
    return address, (*[int(one) if one.isdigit() else one for one in chosen], *values)


def differ(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether two values differ by more than their rounding."""
    if len(one) != len(other):
        return True
    for a, b in zip(one, other, strict=True):
        numbers = isinstance(a, int | float) and isinstance(b, int | float)
        if (abs(a - b) > 1e-4 * max(1.0, abs(a))) if numbers else a != b:
            return True
    return False


class Host(Protocol):
    """The parts of the server that rooms act on, as `Dispatcher` provides them."""

    desk: Desk
    clock: FrameClock
    beat_clock: BeatClock
    deck_manager: DeckManager
    track_table: TrackTable
    voice_allocator: VoiceAllocator
    engine_queue: EngineQueue
    base_bpm: float
    monotonic: Callable[[], float]
    state_changed: bool

    def publish_clock(self, updates: ClockUpdates, request: Request | None = None) -> None:
        """Send segments of the beat clock to the engine."""

    def perform(
        self,
        batch: Sequence[Entry],
        frame: int = 0,
        beat: float | None = None,
        now: int | None = None,
    ) -> None:
        """Carry out messages that belong together, at `frame` (0: immediately)."""


def shared_tracks(core: Host) -> Iterator[tuple[int, Any]]:
    """Yield the tracks of decks and sample pads by buffer: the current one, or else the next."""
    for buffer in core.track_table.loaded_buffers():
        track = core.track_table.shown(buffer)
        if track is not None and track.deck <= 4:
            yield buffer, track
