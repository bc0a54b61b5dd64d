"""Sample pads: short files that stay in memory and sound over the decks.

A pad has its own level, loop switch, quantum and output; they stay when another sample is loaded.
Different pads overlap. A pad that is played again while it sounds starts again, with a crossfade.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from crowdstream.commands.errors import NotLoaded
from crowdstream.control.decks.deck_manager import RAMP_SECONDS, DeckManager
from crowdstream.control.decks.track import Due, Item, Track, first_buffer
from crowdstream.control.decks.track_table import TrackTable
from crowdstream.control.decks.voice_allocator import VoiceAllocator
from crowdstream.control.engine_queue.queue import EngineQueue
from crowdstream.control.engine_queue.request import Request
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import SAMPLE_PADS, SAMPLER
from crowdstream.desk.opcodes import LOOP_EXIT, LOOP_SET, OP_LOOP
from crowdstream.desk.ramps import VOICE_GAIN, VOICE_PFL, VOICE_STEM

MAX_SAMPLE_SECONDS = 120.0  # all of a sample stays in memory: longer files belong on a deck
OUTPUTS = ("master", "cue", "both")


def pad_buffer(pad: int) -> int:
    """Return the buffer number of a pad, counted from 0."""
    return first_buffer(SAMPLER) + pad


@dataclass
class Pad:
    """The settings of one pad. `level`: linear gain; `output`: one of OUTPUTS."""

    level: float = 1.0
    loop: bool = False
    output: str = "master"

    def stem_gains(self) -> tuple[float, float]:
        """Return the gain of its stems in the master, and their level on the cue bus."""
        return float(self.output != "cue"), float(self.output != "master")


class Sampler:
    """The sample pads of a server. For the control thread."""

    def __init__(
        self,
        desk: Desk,
        engine_queue: EngineQueue,
        track_table: TrackTable,
        voice_allocator: VoiceAllocator,
        deck_manager: DeckManager,
    ) -> None:
        self._desk = desk
        self._engine_queue = engine_queue
        self._track_table = track_table
        self._voices = voice_allocator
        self._deck_manager = deck_manager
        self.pads = [Pad() for _ in range(SAMPLE_PADS)]

    def load(self, request: Request, pad: int, path: str) -> None:
        """Load a file or folder of stems onto a pad; the reply is `/done` when all is in memory.

        Raises `CommandError` for errors that are found immediately.
        """
        longest = round(MAX_SAMPLE_SECONDS * self._desk.sample_rate)
        track = self._track_table.load(request, pad_buffer(pad), path, max_frames=longest)
        track.gain = self.pads[pad].level
        self._set_output(track, self.pads[pad], None)

    def unload(self, request: Request, pad: int) -> None:
        """Stop a pad and free its memory; the reply is `/done`. Raises `NotLoaded`."""
        self.tracks(pad)
        leaving = self._track_table.unload(pad_buffer(pad), request.frame)
        self._track_table.when_gone(leaving, request)

    def tracks(self, pad: int) -> list[Track]:
        """Return a pad's current and incoming tracks; raise `NotLoaded` if there is neither."""
        try:
            return self._track_table.all_of(pad_buffer(pad))
        except NotLoaded as error:
            raise NotLoaded(f"sample {pad + 1} is empty: send /sample/{pad + 1}/load") from error

    def track(self, pad: int) -> Track | None:
        """Return a pad's current track, or else its incoming one, or None."""
        return self._track_table.shown(pad_buffer(pad))

    def play(self, request: Request, pad: int) -> None:
        """Start a pad from its beginning. Raises `NotLoaded`."""
        track, settings = self.tracks(pad)[-1], self.pads[pad]
        item = Item(track, request, volume=settings.level, loop=settings.loop, start=0.0)
        self._deck_manager.start([item], request.frame)

    def stop(self, request: Request, pad: int) -> None:
        """Fade a pad out, and cancel its waiting starts. Raises `NotLoaded`."""
        for track in self.tracks(pad):
            self._deck_manager.stop(track, request)

    def set_level(
        self, request: Request, pad: int, gain: float, seconds: float = RAMP_SECONDS
    ) -> None:
        """Ramp a pad's level, a linear gain, over `seconds`."""
        self.pads[pad].level = gain
        for track in self._loaded(pad):
            track.gain = gain
            self._deck_manager.ramp_voice(request, track, VOICE_GAIN, gain, seconds)

    def set_loop(self, request: Request, pad: int, on: bool) -> None:
        """Switch a pad's loop. A sample that is playing joins its end to its beginning, or ends."""
        self.pads[pad].loop = on
        for track in self._loaded(pad):
            if track.voice is None:
                continue
            order: dict[str, Any] = {"index": LOOP_EXIT}
            if on:
                order = {
                    "index": LOOP_SET, "loop_in": 0, "loop_out": track.frames,
                    "z": float(track.frames),
                }
            for due in self._dues(request, track):
                self._engine_queue.add(
                    OP_LOOP, request, frame=due.frame, beat=due.beat, target=track.voice, **order
                )

    def set_output(self, request: Request, pad: int, output: str) -> None:
        """Route a pad to one of OUTPUTS, with a crossfade if it is playing."""
        self.pads[pad].output = output
        for track in self._loaded(pad):
            self._set_output(track, self.pads[pad], request)

    def _set_output(self, track: Track, settings: Pad, request: Request | None) -> None:
        gain, cue = settings.stem_gains()
        for stem in range(len(track.mix.own_gains)):
            track.mix.own_gains[stem] = gain
            track.mix.rows[VOICE_PFL + stem] = cue
            if request is not None:
                self._deck_manager.ramp_voice(request, track, VOICE_STEM + stem, gain)
                self._deck_manager.ramp_voice(request, track, VOICE_PFL + stem, cue)

    def _loaded(self, pad: int) -> Iterator[Track]:
        if self.track(pad) is not None:
            yield from self.tracks(pad)

    def _dues(self, request: Request, track: Track) -> list[Due]:
        later = self._voices.later_starts(track, request.frame)
        return [Due(request.frame, request.beat), *later]

    def readings(self) -> dict[str, int]:
        """Return the values for the status."""
        playing = sum(track.deck == SAMPLER for track in self._voices.sounding())
        return {"samples": playing}

    def to_state(self) -> list[dict[str, Any]]:
        """Return the pads' settings as JSON-compatible state; see `restore`."""
        return [asdict(pad) for pad in self.pads]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Restore the pads' settings from `to_state`."""
        self.pads = [Pad(**pad) for pad in state]
