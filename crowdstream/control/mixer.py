"""The mixer as control knows it: buffers, voices, starts that wait, levels."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crowdstream.control.clock import BeatClock
from crowdstream.control.context import Context
from crowdstream.control.errors import CommandError, NotLoaded, Refused
from crowdstream.control.outbox import Outbox
from crowdstream.control.tracks import (
    Item,
    SourceNumbers,
    Start,
    Track,
    first_buffer,
    in_use,
    resident,
)
from crowdstream.desk.block import Desk
from crowdstream.desk.layout import (
    EV_ENDED,
    EV_LATE,
    EV_MARK,
    EV_REFUSED,
    EV_STARTED,
    OP_CANCEL,
    OP_MARK,
    OP_RAMP,
    OP_SEEK,
    OP_START,
    OP_STOP,
    VOICE_GAIN,
    VOICE_RATE,
    VOICE_STEM,
    VOICES,
    voice_ramp,
)
from crowdstream.library.errors import AudioFileError
from crowdstream.library.tracks import check_media_root, find_stems

log = logging.getLogger(__name__)

RAMP_SECONDS = 0.02  # of levels, gains, rates: forty changes a second join without a step
START_PATIENCE = 5.0  # seconds that a start waits for its files


class Mixer:
    """Carries out what commands ask for. All methods are called from the control thread.

    `to_loader` sends a request to the loader; `loader_event` and `engine_events` take in
    what comes back; `tick` looks after everything that waits.
    """

    def __init__(
        self,
        desk: Desk,
        outbox: Outbox,
        beats: BeatClock,
        to_loader: Callable[[dict[str, Any]], None],
        media_roots: Sequence[Path] = (),
    ) -> None:
        self.desk = desk
        self.outbox = outbox
        self.beats = beats
        self._to_loader = to_loader
        self._roots = media_roots
        self._numbers = itertools.count(1)
        self._sources = SourceNumbers()
        self._tracks: dict[int, Track] = {}
        self.buffers: dict[int, Track] = {}
        self._incoming: dict[int, Track] = {}
        self._leaving: list[Track] = []
        self._voices: list[Track | None] = [None] * VOICES
        self._starts: list[Start] = []
        self._marks: dict[int, Callable[[], None]] = {}
        self._syncs: list[tuple[list[Track], list[Start], Context, int]] = []
        self.late_starts = 0

    # Loading ---------------------------------------------------------------------------

    def load(
        self, context: Context, buffer: int, path: str, name: str = "", cue: float = 0.0
    ) -> Track:
        """Begin to load a file or folder of stems into a buffer; answers `/done` when ready.

        What was in the buffer is stopped and let go of once the new files turn out good.
        Raises `CommandError` for what can be seen at once.
        """
        try:
            files = find_stems(check_media_root(Path(path), self._roots))
        except AudioFileError as error:
            raise CommandError(str(error)) from error
        sources = self._sources.take(len(files.stems))
        names = tuple(stem.name for stem in files.stems)
        track = Track(
            next(self._numbers), buffer, name or files.name, path, names, sources, cue
        )
        track.context = context
        track.stem_gains = [1.0] * len(sources)
        self._tracks[track.number] = track
        earlier = self._incoming.pop(buffer, None)
        if earlier:
            self._let_go(earlier, 0)
        self._incoming[buffer] = track
        stems = [
            (source, str(stem.path)) for source, stem in zip(sources, files.stems, strict=True)
        ]
        self._to_loader({"do": "load", "track": track.number, "stems": stems, "cue": cue})
        return track

    def find(self, buffer: int) -> Track:
        """What is loaded, or on its way, in a buffer; raises `NotLoaded`."""
        track = self._incoming.get(buffer) or self.buffers.get(buffer)
        if track is None:
            raise NotLoaded(f"nothing is loaded in buffer {buffer}")
        return track

    def deck_track(self, deck: int) -> Track:
        """The track of a deck: its first buffer; raises `NotLoaded`."""
        try:
            return self.find(first_buffer(deck))
        except NotLoaded as error:
            raise NotLoaded(f"deck {'ABCD'[deck]} has no track: cue or load one") from error

    def unload(self, buffer: int, frame: int = 0) -> None:
        """Stop a buffer and free its memory when it is silent."""
        for table in (self._incoming, self.buffers):
            track = table.pop(buffer, None)
            if track:
                self._let_go(track, frame)

    def loader_event(self, event: dict[str, Any]) -> None:
        """Take in what the loader says about a track."""
        track = self._tracks.get(event.get("track", 0))
        if track is None:
            return
        kind = event["event"]
        if kind == "opened" and track.state == "loading":
            self._opened(track, event)
        elif kind == "ready" and track.state == "opened":
            track.state = "ready"
            if track.context:
                track.context.done(track.buffer)
        elif kind == "complete":
            track.complete = True
        elif kind == "failed":
            self._failed(track, event["reason"])
        elif kind == "broken":
            track.reason = event["reason"]
            track.state = "broken"
            log.error("%s: %s; what is in memory plays on", track.name, track.reason)
            if track.context:
                track.context.fail(track.reason)
        elif kind == "unloaded":
            self._gone(track)

    def _opened(self, track: Track, event: dict[str, Any]) -> None:
        track.frames = int(event["frames"])
        track.streamed = bool(event["streamed"])
        track.cue_frame = min(int(track.cue * track.frames), track.frames - 1)
        track.state = "opened"
        if self._incoming.get(track.buffer) is track:
            del self._incoming[track.buffer]
            frame = track.context.frame if track.context else 0
            old = self.buffers.get(track.buffer)
            if old:
                self._let_go(old, frame)
            self.buffers[track.buffer] = track
        log.info(
            "loaded %s: %d stems, %.1f s%s", track.name, len(track.sources),
            track.frames / self.desk.sample_rate, ", streamed" if track.streamed else "",
        )

    def _failed(self, track: Track, reason: str) -> None:
        track.state, track.reason = "failed", reason
        if self._incoming.get(track.buffer) is track:
            del self._incoming[track.buffer]
        if track.context:
            track.context.fail(reason)
        self._gone(track)

    def _gone(self, track: Track) -> None:
        if track.state != "failed":
            track.state = "gone"
        self._tracks.pop(track.number, None)
        self._sources.give_back(track.sources)
        track.sources = []

    def _let_go(self, track: Track, frame: int) -> None:
        # Silence it, then unload it when no voice reads it any more.
        self._drop_waiting(track)
        if track.voice is not None:
            self.outbox.add(OP_CANCEL, target=track.voice, frame=frame)
            self.outbox.add(OP_STOP, target=track.voice, frame=frame)
            track.mark = self.outbox.add(OP_MARK, frame=frame)
            self._marks[track.mark] = lambda: setattr(track, "marked", True)
        else:
            track.marked = True
        self._leaving.append(track)

    def _drop_waiting(self, track: Track) -> None:
        for start in self._starts:
            start.items = [item for item in start.items if item.track is not track]

    # Playing ---------------------------------------------------------------------------

    def start(self, items: list[Item], frame: int) -> None:
        """Start tracks together at `frame` (0: at once), as soon as all of them are there."""
        for item in items:
            if item.start is not None and item.track.state != "loading":
                self._ask_for(item)
        self._starts.append(Start(items, frame, time.monotonic() + START_PATIENCE))
        self._try_starts()

    def _ask_for(self, item: Item) -> None:
        if not item.track.complete:
            frame = item.start_frame()
            self._to_loader({"do": "cue", "track": item.track.number, "frame": frame})

    def stop(self, track: Track, frame: int = 0) -> None:
        """Stop a track and what is still to start of it."""
        self._drop_waiting(track)
        if track.voice is not None:
            self.outbox.add(OP_CANCEL, target=track.voice, frame=frame)
            self.outbox.add(OP_STOP, target=track.voice, frame=frame)

    def seek(self, track: Track, position: int, context: Context) -> None:
        """Jump to a file frame, or move the cue when the track does not play."""
        position = max(0, min(position, track.frames - 1))
        if not track.complete:
            self._to_loader({"do": "cue", "track": track.number, "frame": position})
        if track.voice is not None and track.sounding:
            self.outbox.add(
                OP_SEEK, context, target=track.voice, start=position, frame=context.frame
            )
        else:
            track.cue_frame = position

    def set_gain(self, track: Track, gain: float, frame: int = 0) -> None:
        """Linear gain of a track, ramped while it plays and kept for its next start."""
        track.gain = gain
        for item in self._waiting_items(track):
            item.volume = gain
        if track.voice is not None:
            self.ramp(voice_ramp(track.voice, VOICE_GAIN), gain, frame)

    def set_rate(self, track: Track, rate: float, frame: int = 0) -> None:
        """Playback rate of a track, ramped while it plays and kept for its next start."""
        track.rate = rate
        for item in self._waiting_items(track):
            item.rate = rate
        if track.voice is not None:
            self.ramp(voice_ramp(track.voice, VOICE_RATE), rate, frame)

    def set_stem_gain(self, track: Track, stem: int, gain: float, frame: int = 0) -> None:
        """Linear gain of one stem of a track (0 is the first)."""
        track.stem_gains[stem] = gain
        if track.voice is not None:
            self.ramp(voice_ramp(track.voice, VOICE_STEM + stem), gain, frame)

    def _waiting_items(self, track: Track) -> list[Item]:
        return [item for start in self._starts for item in start.items if item.track is track]

    def ramp(
        self, row: int, target: float, frame: int = 0, seconds: float = RAMP_SECONDS
    ) -> None:
        """Send a ramped parameter to `target` from `frame` on, in `seconds`."""
        frames = max(1, round(seconds * self.desk.sample_rate))
        self.outbox.add(OP_RAMP, index=row, x=target, y=frames, frame=frame)

    def _try_starts(self) -> None:
        now = time.monotonic()
        for start in list(self._starts):
            for item in [item for item in start.items if item.track.state == "failed"]:
                item.context.fail(item.track.reason)
                start.items.remove(item)
            missing = [
                item
                for item in start.items
                if item.track.state in ("loading", "failed")
                or not resident(self.desk, item.track, item.start_frame())
            ]
            if missing and now < start.deadline:
                continue
            for item in missing:
                item.context.fail(f"{item.track.name} was not loaded within {START_PATIENCE:g} s")
                start.items.remove(item)
            self._starts.remove(start)
            try:
                self._issue(start)
                self.outbox.flush()
            except Refused as error:
                self.outbox.discard()
                for item in start.items:
                    item.context.fail(str(error))

    def _issue(self, start: Start) -> None:
        for item in start.items:
            track = item.track
            if track.voice is None:
                track.voice = self._take_voice(track)
            first = item.start_frame()
            end, loop_in = track.frames, 0
            if item.seconds is not None:
                loop_in = first
                end = min(end, first + max(1, round(item.seconds * self.desk.sample_rate)))
            track.gain, track.rate = item.volume, item.rate
            serial = self.outbox.add(
                OP_START,
                item.context,
                frame=start.frame,
                target=track.voice,
                index=len(track.sources),
                flags=track.deck << 1 | int(item.loop),
                x=item.rate,
                y=item.volume,
                start=first,
                loop_in=loop_in,
                loop_out=end,
                end=end,
                sources=track.sources,
                gains=track.stem_gains,
            )
            track.coming.add(serial)

    def _take_voice(self, track: Track) -> int:
        for slot, holder in enumerate(self._voices):
            if holder is None:
                self._voices[slot] = track
                return slot
        raise Refused(f"{VOICES} voices sound already: stop some")

    # What comes back ---------------------------------------------------------------------

    def engine_events(self, events: np.ndarray) -> None:
        """Take in what the engine reports."""
        for event in events:
            kind, serial = int(event["kind"]), int(event["serial"])
            if kind == EV_MARK:
                self._marks.pop(serial, lambda: None)()
            elif kind == EV_LATE:
                self._late(serial, int(event["value"]))
            elif kind == EV_REFUSED:
                context = self.outbox.sender(serial)
                if context:
                    context.fail("too many commands wait in the engine: it was dropped")
                self._start_over(serial, False)
            elif kind == EV_STARTED:
                self._start_over(serial, True)
            elif kind == EV_ENDED:
                self._ended(serial)

    def _holder(self, serial: int) -> Track | None:
        for track in self._voices:
            if track and (serial in track.coming or track.sounding == serial):
                return track
        return None

    def _start_over(self, serial: int, began: bool) -> None:
        track = self._holder(serial)
        if track:
            track.coming.discard(serial)
            if began:
                track.sounding = serial
            self._free_voice(track)

    def _ended(self, serial: int) -> None:
        track = self._holder(serial)
        if track:
            track.coming.discard(serial)
            if track.sounding == serial:
                track.sounding = 0
            self._free_voice(track)

    def _free_voice(self, track: Track) -> None:
        if track.voice is not None and not track.sounding and not track.coming:
            self._voices[track.voice] = None
            track.voice = None

    def _late(self, serial: int, frames: int) -> None:
        self.late_starts += 1
        context = self.outbox.sender(serial)
        seconds = frames / self.desk.sample_rate
        if context:
            log.warning("%s came %.1f ms late", context.address, seconds * 1000)
            context.reply("/late", context.address, seconds)

    def mark(self, action: Callable[[], None], frame: int = 0) -> None:
        """Call `action` when the engine has done all that it was told before this."""
        self._marks[self.outbox.add(OP_MARK, frame=frame)] = action

    def sync(self, context: Context, number: int) -> None:
        """Answer `/synced number` when everything said before is done."""
        waiting = [track for track in self._tracks.values() if not track.settled]
        self._syncs.append((waiting, list(self._starts), context, number))

    def tick(self) -> None:
        """Look after starts that wait, tracks that are leaving, and syncs."""
        self._try_starts()
        for track in list(self._leaving):
            if track.marked and not in_use(self.desk, track):
                self._leaving.remove(track)
                if track.number in self._tracks:
                    self._to_loader({"do": "unload", "track": track.number})
        for entry in list(self._syncs):
            tracks, starts, context, number = entry
            if all(track.settled for track in tracks) and not any(
                start in self._starts for start in starts
            ):
                self._syncs.remove(entry)
                self.mark(lambda c=context, n=number: c.reply("/synced", n))  # type: ignore[misc]
        try:
            self.outbox.flush()
        except Refused:
            log.warning("the engine's queue is full")

    def loaded_buffers(self) -> list[int]:
        """Numbers of the buffers that hold something or are about to."""
        return sorted({*self.buffers, *self._incoming})

    def waiting_tracks(self, deck: int) -> list[Track]:
        """Tracks of a deck that are loaded, or being loaded, and do not play."""
        tracks = [self.find(buffer) for buffer in self.loaded_buffers()]
        return [track for track in tracks if track.deck == deck and not track.sounding]

    def sounding(self) -> list[Track]:
        """Tracks that play."""
        return [track for track in self._voices if track and track.sounding]
