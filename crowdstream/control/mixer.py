"""The mixer as control knows it: starts that wait, gains and rates, jumps, syncs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from crowdstream.control.clock import BeatClock
from crowdstream.control.context import Context
from crowdstream.control.grids import Grid
from crowdstream.control.outbox import Outbox
from crowdstream.control.pitch import Pitches
from crowdstream.control.stems import change_gains
from crowdstream.control.tracks import Due, Item, Jump, Start, Track, resident
from crowdstream.control.voices import Voices
from crowdstream.desk.block import Desk
from crowdstream.desk.codes import (
    OP_GRID,
    OP_RAMP,
    OP_SEEK,
    OP_SPIN,
    OP_START,
    OP_STOP_ALL,
    OP_SYNC,
)
from crowdstream.desk.ramps import VOICE_GAIN, VOICE_RATE, VOICE_SPIN, voice_ramp
from crowdstream.desk.sizes import VOICES

RAMP_SECONDS = 0.02  # of levels, gains, rates: forty changes a second join without a step
LEAST_RAMP_SECONDS = 0.004  # also where 0 was asked for: a step in a level is a click
START_PATIENCE = 5.0  # seconds that a start waits for its files, counted from when it is due


class Mixer(Voices):
    """Carries out what commands ask for. All methods are called from the control thread.

    `to_loader` sends a request to the loader, `tell` an event to all subscribers;
    `loader_event` and `engine_events` take in what comes back; `tick` looks after everything
    that waits. Nothing is published to the engine before the outbox is flushed.
    """

    def __init__(
        self,
        desk: Desk,
        outbox: Outbox,
        beats: BeatClock,
        to_loader: Callable[[dict[str, Any]], None],
        media_roots: Sequence[Path] = (),
        tell: Callable[..., None] = lambda *_, **__: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(outbox, desk, to_loader, tell, monotonic, media_roots)
        self.beats = beats
        self.pitches = Pitches(outbox, to_loader, desk.sample_rate)
        self._starts: list[Start] = []
        self._joined: list[tuple[list[Item], int]] | None = None
        self._jumps: list[Jump] = []
        self._targets: dict[int, float] = {}
        self._syncs: list[tuple[list[Track], list[Start], Context, int]] = []

    # Starting and stopping ---------------------------------------------------------------

    def start(self, items: list[Item], frame: int) -> None:
        """Start tracks together at `frame` (0: at once), as soon as all of them are there.

        At the frame of a command at a beat, they start at that beat.
        """
        if self._joined is not None:
            self._joined.append((items, frame))
            return
        for item in items:
            if frame == 0:
                self._replace_waiting(item.track)
            self._ask_for(item)
        ahead = max(0, frame - self.desk.frame) / self.desk.sample_rate
        context = items[0].context
        beat = context.beat if frame == context.frame else None
        start = Start(items, frame, self.monotonic() + ahead + START_PATIENCE, beat)
        self._starts.append(start)
        self._try_start(start)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Have all tracks that are started within begin on one frame, once all are there."""
        self._joined = []
        try:
            yield
        finally:
            joined, self._joined = self._joined, None
            by_frame: dict[int, dict[Track, Item]] = {}
            for items, frame in joined:
                by_frame.setdefault(frame, {}).update((item.track, item) for item in items)
            for frame, chosen in by_frame.items():
                self.start(list(chosen.values()), frame)

    def _replace_waiting(self, track: Track) -> None:
        # Of two starts at once that wait for the same file, the later one is meant.
        for start in self._starts:
            if start.frame == 0:
                start.items = [item for item in start.items if item.track is not track]

    def _ask_for(self, item: Item) -> None:
        track = item.track
        if track.state != "loading" and not track.complete:
            frame = item.start_frame()
            self._to_loader({"do": "cue", "track": track.number, "frame": frame})

    def _opened_hook(self, track: Track) -> None:
        # What is to start elsewhere than at the cue needs other pages first.
        for item in self._waiting_items(track):
            if item.start_frame() != track.cue_frame:
                self._ask_for(item)

    def give_grid(self, track: Track, grid: Grid | None) -> None:
        """Give a track another grid, or none; from now on, whatever the command's time.

        The new grid has a new place in the desk, and the old place is free when the engine has
        passed all that names it: it never reads one that is being written. Raises `Refused`.
        """
        slot = self.grids.write(grid) if grid else -1
        old, track.grid, track.grid_slot = track.grid_slot, grid, slot
        if track.voice is None:
            self.grids.give_back(old)
            return
        at = [Due(0), *self.later_starts(track, 0)]
        left = len(at)

        def passed() -> None:
            nonlocal left
            left -= 1
            if not left:
                self.grids.give_back(old)

        for due in at:
            self.outbox.add(
                OP_GRID, frame=due.frame, beat=due.beat, target=track.voice, index=slot
            )
            self.mark(passed, due.frame, due.beat)

    def stop(self, track: Track, context: Context) -> None:
        """Stop a track and what is still to start of it."""
        self._drop_waiting(track)
        if track.voice is not None:
            self._send_stop(track.voice, context.frame, context)

    def stop_all(self, context: Context) -> None:
        """Stop every voice and the test tone."""
        self.outbox.add(OP_STOP_ALL, context, frame=context.frame)

    def _drop_waiting(self, track: Track, reason: str = "") -> None:
        for start in self._starts:
            for item in [item for item in start.items if item.track is track]:
                start.items.remove(item)
                if reason:
                    item.context.fail(reason)
        for jump in [jump for jump in self._jumps if jump.track is track]:
            self._jumps.remove(jump)
            if reason:
                jump.context.fail(reason)

    def _waiting_items(self, track: Track) -> list[Item]:
        return [item for start in self._starts for item in start.items if item.track is track]

    def waiting_tracks(self, deck: int) -> list[Track]:
        """Tracks of a deck that are loaded, or being loaded, and do not play."""
        tracks = [self.find(buffer) for buffer in self.loaded_buffers()]
        return [track for track in tracks if track.deck == deck and not track.sounding]

    def _try_start(self, start: Start) -> None:
        missing = []
        for item in list(start.items):
            if resident(self.desk, item.track, item.start_frame()):
                continue
            if item.track.state in ("failed", "broken", "gone"):
                start.items.remove(item)
                item.context.fail(item.track.reason or f"{item.track.name} was unloaded")
            else:
                missing.append(item)
        if missing and self.monotonic() < start.deadline:
            return
        for item in missing:
            start.items.remove(item)
            item.context.fail(f"{item.track.name} was not loaded within {START_PATIENCE:g} s")
        self._starts.remove(start)
        wanting = {item.track for item in start.items if item.track.voice is None}
        if len(wanting) > self.free_voices():
            for item in start.items:
                item.context.fail(f"{VOICES} voices sound already: stop some")
            return
        for item in start.items:
            self._issue(item, Due(start.frame, start.beat))

    def _issue(self, item: Item, due: Due) -> None:
        track = item.track
        self._promote(track)
        voice = self._take_voice(track) if track.voice is None else track.voice
        first = item.start_frame()
        end, loop_in = track.frames, 0
        if item.seconds is not None:
            loop_in = first
            end = min(end, first + max(1, round(item.seconds * self.desk.sample_rate)))
        track.gain, track.rate = item.volume, item.rate
        serial = self.outbox.add(
            OP_START,
            item.context,
            frame=due.frame,
            beat=due.beat,
            grid=track.grid_slot,
            target=voice,
            index=len(track.sources),
            flags=track.deck << 1 | int(item.loop),
            x=item.rate,
            y=item.volume,
            start=first,
            loop_in=loop_in,
            loop_out=end,
            end=end,
            sources=track.sources,
            gains=track.mix.gains,
        )
        track.coming[serial] = due
        track.mix.send_rows(self.outbox, item.context, voice, due)
        self.pitches.at_start(item.context, track, due)
        track.looped, track.loop_begun = item.loop, False
        if item.spin_up:
            self.outbox.add(
                OP_RAMP, item.context, frame=due.frame, beat=due.beat, x=0.0, y=0.0,
                index=voice_ramp(voice, VOICE_SPIN),
            )
            self.outbox.add(
                OP_SPIN, item.context, frame=due.frame, beat=due.beat, target=voice, x=1.0,
                y=round(item.spin_up * self.desk.sample_rate),
            )
        if track.ratio:
            self.send_sync(item.context, track, due)

    def send_sync(self, context: Context, track: Track, due: Due) -> None:
        """Tell the engine, for then, whether and how a track is synced."""
        self.outbox.add(
            OP_SYNC, context, frame=due.frame, beat=due.beat, target=track.voice or 0,
            index=int(track.ratio > 0.0), x=track.ratio or 1.0, y=track.quantum,
        )

    # Changing what plays -----------------------------------------------------------------

    def seek(self, track: Track, position: int, context: Context) -> None:
        """Jump to a file frame as soon as it is in memory; move the cue of what does not play."""
        if track.voice is None:
            track.cue_frame = position
            if not track.complete:
                self._to_loader({"do": "cue", "track": track.number, "frame": position})
            return
        self.jump(track, position, context, {"op": OP_SEEK, "start": position})

    def keep_places(self, track: Track) -> None:
        """Have the loader keep in memory what the hot cues and the loop of a track lead to."""
        frames = list(dict.fromkeys(track.cues[number] for number in sorted(track.cues)))
        if track.loop_in >= 0:
            frames.append(track.loop_in)
        self._to_loader({"do": "keep", "track": track.number, "frames": frames})

    def jump(
        self,
        track: Track,
        position: int,
        context: Context,
        order: dict[str, Any],
    ) -> None:
        """Give the track's voice an order as soon as `position`, where it leads, is in memory.

        `order`: fields of `Outbox.add`.
        """
        if not track.complete:
            self._to_loader({"do": "cue", "track": track.number, "frame": position})
        self._jumps = [jump for jump in self._jumps if jump.track is not track]
        ahead = max(0, context.frame - self.desk.frame) / self.desk.sample_rate
        deadline = self.monotonic() + ahead + START_PATIENCE
        jump = Jump(track, position, context, deadline, order)
        self._jumps.append(jump)
        self._try_jump(jump)

    def _try_jump(self, jump: Jump) -> None:
        track = jump.track
        if not resident(self.desk, track, jump.position):
            if self.monotonic() < jump.deadline and track.state != "broken":
                return
            self._jumps.remove(jump)
            jump.context.fail(track.reason or f"that place of {track.name} was not loaded in time")
            return
        self._jumps.remove(jump)
        if track.voice is None:
            return
        # A start that the engine already holds begins at the new place as well.
        context = jump.context
        for due in (Due(context.frame, context.beat), *self.later_starts(track, context.frame)):
            self.outbox.add(
                context=context, target=track.voice, frame=due.frame, beat=due.beat, **jump.order
            )

    def set_gain(self, track: Track, gain: float, context: Context) -> None:
        """Linear gain of a track, ramped while it plays and kept for its next start."""
        track.gain = gain
        for item in self._waiting_items(track):
            item.volume = gain
        self.ramp_voice(context, track, VOICE_GAIN, gain)

    def set_rate(self, track: Track, rate: float, context: Context) -> None:
        """Playback rate of a track, ramped while it plays and kept for its next start."""
        track.rate = rate
        for item in self._waiting_items(track):
            item.rate = rate
        self.ramp_voice(context, track, VOICE_RATE, rate)

    def speeds(self, bpm: float, base_bpm: float) -> list[tuple[str, float, float]]:
        """Names, rates and speeds at a tempo, of the tracks that play or are to start."""
        playing = [(t, t.rate) for t in self._voices if t and (t.sounding or t.coming)]
        waiting = [(item.track, item.rate) for start in self._starts for item in start.items]
        return [
            (track.name, rate, bpm * track.speed_per_bpm(rate, base_bpm))
            for track, rate in playing + waiting
        ]

    def playing(self, deck: int) -> Track:
        """The track of a deck that plays, else its latest; raises `NotLoaded`."""
        tracks = self.deck_tracks(deck)
        return next((track for track in tracks if track.sounding), tracks[-1])

    def set_stem_gain(
        self,
        track: Track,
        stem: int,
        gain: float,
        context: Context,
        seconds: float = RAMP_SECONDS,
    ) -> None:
        """Linear gain of one stem of a track (0 is the first), after a ramp of so many seconds."""
        before = track.mix.gains
        track.mix.own_gains[stem] = gain
        change_gains(self, context, track, before, seconds)

    def ramp_voice(
        self,
        context: Context,
        track: Track,
        which: int,
        target: float,
        seconds: float = RAMP_SECONDS,
    ) -> None:
        """Send a parameter of a track's voice, `layout.VOICE_...`, to `target`, if it has one."""
        if track.voice is None:
            return
        row = voice_ramp(track.voice, which)
        self.ramp(context, row, target, seconds)
        # A start that the engine already holds brings its own value with it; this one comes
        # after it on the same frame.
        for due in self.later_starts(track, context.frame):
            self.outbox.add(
                OP_RAMP, context, index=row, x=target, y=0.0, frame=due.frame, beat=due.beat
            )

    def later_starts(self, track: Track, frame: int) -> list[Due]:
        """When starts of a track come that the engine has, and that lie after `frame`."""
        now = max(frame, self.desk.frame)
        return sorted({due for due in track.coming.values() if due.frame > now})

    def held_by(self, deck: int, context: Context) -> list[tuple[Track, list[Due]]]:
        """Tracks of a deck that have voices, and when more starts of them come."""
        held = [track for track in self._voices if track and track.deck == deck]
        return [(track, self.later_starts(track, context.frame)) for track in held]

    def retime(self) -> None:
        """The clock runs otherwise from now on: what is to start at a beat starts elsewhere."""
        now = self.desk.frame
        for track in [track for track in self._voices if track]:
            for serial, due in track.coming.items():
                if due.beat is not None:
                    frame = self.beats.frame_of_command(due.beat, now)
                    track.coming[serial] = Due(frame, due.beat)
        for start in self._starts:
            if start.beat is not None:
                start.frame = self.beats.frame_of_command(start.beat, now)

    def ramp(
        self,
        context: Context,
        row: int,
        target: float,
        seconds: float = RAMP_SECONDS,
        frame: int | None = None,
    ) -> None:
        """Send a ramped parameter to `target`, in `seconds`, from `frame` on.

        `frame`: the context's unless given; 0 is at once. Shorter than `LEAST_RAMP_SECONDS`
        is taken as that.
        """
        self._targets[row] = target
        frames = max(1, round(max(seconds, LEAST_RAMP_SECONDS) * self.desk.sample_rate))
        self.outbox.add(
            OP_RAMP, context, index=row, x=target, y=frames,
            frame=context.frame if frame is None else frame,
        )

    def target(self, row: int) -> float:
        """Where a ramped parameter was last sent to; where it stands if it never was."""
        return self._targets.get(row, float(self.desk.ramps["target"][row]))

    def waiting(self) -> bool:
        """Whether a track is on its way in, or a start or jump waits for one."""
        loading = any(not track.settled for track in self._tracks.values())
        return loading or bool(self._starts or self._jumps)

    # Looking after what waits --------------------------------------------------------------

    def sync(self, context: Context, number: int) -> None:
        """Answer `/synced number` when everything said before is done."""
        waiting = [track for track in self._tracks.values() if not track.settled]
        self._syncs.append((waiting + list(self._leaving), list(self._starts), context, number))

    def tick(self) -> None:
        """Look after starts and jumps that wait, tracks that are leaving, and syncs."""
        for start in list(self._starts):
            self._try_start(start)
        for jump in list(self._jumps):
            self._try_jump(jump)
        self._see_off()
        for entry in list(self._syncs):
            tracks, starts, context, number = entry
            loading = any(t.number in self._tracks and self._unfinished(t) for t in tracks)
            if not loading and not any(start in self._starts for start in starts):
                self._syncs.remove(entry)
                note = ["synced", context.noted(), number]
                self.mark(partial(context.reply, "/synced", number), note=note)
        self._reconcile()
        self.outbox.flush()

    def _unfinished(self, track: Track) -> bool:
        # Not loaded yet, or silenced and not freed yet.
        return not track.settled or not (
            self.buffers.get(track.buffer) is track or self._incoming.get(track.buffer) is track
        )
