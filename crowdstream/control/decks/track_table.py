"""The track table: buffers and their tracks, from loading a path to freeing the memory."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from crowdstream.audiofile.beatgrid import BeatGrid
from crowdstream.audiofile.errors import AudioFileError
from crowdstream.audiofile.stems.track_files import (
    TrackFiles,
    check_media_root,
    find_stems,
    left_out_values,
)
from crowdstream.commands.errors import CommandError, NotLoaded
from crowdstream.control.decks.beatgrid import Grid, GridSlots
from crowdstream.control.decks.track import (
    FIRST_BUFFER,
    SourceNumbers,
    StemMix,
    Track,
    first_buffer,
    in_use,
)
from crowdstream.control.engine_queue.request import Request
from crowdstream.desk.block import Desk
from crowdstream.desk.opcodes import FREE, OP_GRID, OP_START
from crowdstream.system.medium import Bound, MediumHangs, unbound
from crowdstream.system.text import printable

log = logging.getLogger(__name__)

LEAVE_SECONDS = 1.0  # after which a track that is still audible is stopped once more
# Track numbers that are skipped after a takeover: an earlier control may have used some just before
# it died, without saving them.
SAFE_DISTANCE = 1000
MAX_NAME = 200  # characters: names are part of every status, which is a single packet


class Playback(Protocol):
    """The voices of tracks, as `VoiceAllocator` implements them."""

    def silence(self, track: Track, frame: int) -> None:
        """Stop a track's voice, and set `track.marked` when the engine has processed the stop."""

    def fail_unstarted(self, track: Track, frame: int, reason: str) -> None:
        """Send `reason` to the senders of starts that an unload at `frame` prevents."""

    def change_grid(self, track: Track, slot: int, passed: Callable[[], None]) -> None:
        """Give a track's voice another grid slot; call `passed` when the old one is unused."""


class Observer(Protocol):
    """The owner of starts and jumps that wait for tracks, as `DeckManager` implements it."""

    def on_opened(self, track: Track) -> None:
        """Handle that a track's length is known."""

    def on_unload(self, track: Track, reason: str) -> None:
        """Handle that a track will be unloaded, and send `reason` to waiting senders."""


class TrackTable:
    """The tracks of all buffers, and their state with the loader. For the control thread.

    The life of a track: it is loaded (`_incoming`), takes its place in the buffer (`current`) as
    soon as it can be started, is replaced (`_leaving`: silenced, then unloaded by the loader), and
    is gone. Until a new track is ready, the old one keeps playing. `to_loader` sends a request to
    the loader, whose events `loader_event` handles. `notify` sends an event to all subscribers.
    """

    def __init__(
        self,
        desk: Desk,
        playback: Playback,
        to_loader: Callable[[dict[str, Any]], None],
        notify: Callable[..., None] = lambda *_, **__: None,
        monotonic: Callable[[], float] = time.monotonic,
        media_roots: Sequence[Path] = (),
    ) -> None:
        self.desk = desk
        self.observer: Observer | None = None
        self._playback = playback
        self._monotonic = monotonic
        self._to_loader = to_loader
        self._notify = notify
        # Absolute, because the loader may have another working directory.
        self._roots = [root.expanduser().absolute() for root in media_roots]
        self.bound: Bound = unbound
        self._latest = 0  # number of a track
        self._numbers = itertools.count(1)
        self._sources = SourceNumbers()
        self._unknown_sources: set[int] = set()  # in use by tracks that are not in the saved state
        self.grids = GridSlots(desk)
        self._tracks: dict[int, Track] = {}
        self.current: dict[int, Track] = {}
        self._incoming: dict[int, Track] = {}
        self._leaving: dict[Track, float] = {}
        self._when_gone: list[tuple[list[Track], Request]] = []

    # Commands ----------------------------------------------------------------------------

    def load(
        self,
        request: Request,
        buffer: int,
        path: str,
        name: str = "",
        cue: float = 0.0,
        max_frames: int = 0,
    ) -> Track:
        """Start loading a file or folder of stems into a buffer; reply `/done` when it is ready.

        `cue` is a fraction of the length, 0 to 1. The previous track of the buffer is unloaded
        when the new one can be played. With `max_frames`, a file that is longer or does not fit
        into the memory is refused, and the track is ready when all of it is in memory.

        Raises `CommandError` for errors that are found immediately.
        """
        files = self._find(path)
        sources = self._sources.take(len(files.stems))
        shown = printable(name or files.name)[:MAX_NAME]
        names = tuple(printable(stem.name)[:MAX_NAME] for stem in files.stems)
        self._latest = next(self._numbers)
        track = Track(self._latest, buffer, shown, path, names, sources, cue)
        track.request = request
        track.max_frames = max_frames
        track.mix = StemMix(len(sources))
        track.left_out = left_out_values(files.left_out)
        self._tracks[track.number] = track
        earlier = self._incoming.pop(buffer, None)
        if earlier:
            self._start_unload(earlier, 0, f"{shown} was loaded in its place")
        self._incoming[buffer] = track
        self._request(track, files)
        return track

    def _request(self, track: Track, files: TrackFiles) -> None:
        pairs = zip(track.sources, files.stems, strict=True)
        stems = [(source, str(stem.path)) for source, stem in pairs]
        track.files = tuple(path for _, path in stems)
        request = {"do": "load", "track": track.number, "stems": stems, "cue": track.cue}
        if track.max_frames:
            request["max_frames"] = track.max_frames
        if not files.is_final:
            request["folder"] = str(files.stems[0].path.parent)
        self._to_loader(request)

    def request_files(self, track: Track) -> None:
        """Request a track that the loader does not know again.

        Raises `CommandError` if its files no longer exist.
        """
        files = self._find(track.path)
        if len(files.stems) != len(track.sources):
            raise CommandError(f"the stems of {track.name} have changed: load it again")
        self._request(track, files)

    def fetch(self, track: Track, frame: int) -> None:
        """Request the pages that a start of the track at a file frame needs."""
        if not track.complete:
            self._to_loader({"do": "cue", "track": track.number, "frame": frame})

    def pin_positions(self, track: Track) -> None:
        """Make the loader keep the destinations of a track's hot cues and loop in memory."""
        frames = list(dict.fromkeys(track.cues[number] for number in sorted(track.cues)))
        if track.loop_in >= 0:
            frames.append(track.loop_in)
        self._to_loader({"do": "keep", "track": track.number, "frames": frames})

    def set_grid(self, track: Track, grid: Grid | None) -> None:
        """Give a track another beat grid, or None, immediately.

        The new grid is written to another slot of the desk. The old slot is freed when the engine
        has processed all commands that name it, so the engine never reads a slot that is being
        written. Raises `Refused` if no slot is free.
        """
        slot = self.grids.write(grid) if grid else -1
        old, track.grid, track.grid_slot = track.grid_slot, grid, slot
        self._playback.change_grid(track, slot, partial(self.grids.release, old))

    # Queries -----------------------------------------------------------------------------

    def tracks(self) -> list[Track]:
        """Return all tracks that occupy sources of the desk."""
        return list(self._tracks.values())

    def numbers(self) -> set[int]:
        """Return the numbers of these tracks."""
        return set(self._tracks)

    def has(self, track: Track) -> bool:
        """Whether a track occupies sources of the desk."""
        return track.number in self._tracks

    def wanted(self, track: Track) -> bool:
        """Whether a track is in its buffer, or is being loaded into it."""
        tables = (self.current, self._incoming)
        return any(table.get(track.buffer) is track for table in tables)

    def leaving(self) -> list[Track]:
        """Return the tracks that are being unloaded, and whose memory is not freed yet."""
        return list(self._leaving)

    @property
    def free_sources(self) -> int:
        """Number of stems that can still be loaded."""
        return self._sources.free

    def _find(self, path: str) -> TrackFiles:
        def look() -> TrackFiles:
            files = find_stems(check_media_root(Path(path), self._roots))
            for stem in files.stems:
                # A link in an allowed folder may point outside of it.
                check_media_root(stem.path, self._roots)
            return files

        try:
            return self.bound(look)
        except AudioFileError as error:
            raise CommandError(str(error)) from error
        except MediumHangs:
            raise CommandError(f"{printable(path)}: its medium does not answer") from None

    def find(self, buffer: int) -> Track:
        """Return the latest track of a buffer, even while it is loading; raise `NotLoaded`."""
        track = self._incoming.get(buffer) or self.current.get(buffer)
        if track is None:
            raise NotLoaded(f"nothing is loaded in buffer {buffer}")
        return track

    def all_of(self, buffer: int) -> list[Track]:
        """Return a buffer's current and incoming tracks; raise `NotLoaded` if there is neither.

        Commands to the buffer apply to both: while a new file is loading, the old one plays.
        """
        self.find(buffer)
        tables = (self.current, self._incoming)
        return [table[buffer] for table in tables if buffer in table]

    def shown(self, buffer: int) -> Track | None:
        """Return a buffer's current track, or else its incoming one, or None."""
        return self.current.get(buffer) or self._incoming.get(buffer)

    def incoming(self, deck: int) -> Track | None:
        """Return the track that is being loaded into a deck's first buffer, or None."""
        return self._incoming.get(first_buffer(deck))

    def deck_track(self, deck: int) -> Track:
        """Return the track of a deck, the latest of its first buffer; raise `NotLoaded`."""
        return self.deck_tracks(deck)[-1]

    def deck_tracks(self, deck: int) -> list[Track]:
        """Return current and incoming track of a deck's first buffer, as `all_of`."""
        try:
            return self.all_of(first_buffer(deck))
        except NotLoaded as error:
            raise NotLoaded(f"deck {'ABCD'[deck]} has no track: cue or load one") from error

    def unload(self, buffer: int, frame: int = 0) -> list[Track]:
        """Stop a buffer's tracks, and free their memory when they are silent; return them."""
        left = []
        for table in (self._incoming, self.current):
            track = table.pop(buffer, None)
            if track:
                self._start_unload(track, frame, f"buffer {buffer} was unloaded")
                left.append(track)
        return left

    def when_gone(self, tracks: list[Track], request: Request) -> None:
        """Reply `/done` to a request once the loader has freed all of `tracks`."""
        self._when_gone.append((tracks, request))

    def loaded_buffers(self) -> list[int]:
        """Return the numbers of buffers with a track, loaded or being loaded."""
        return sorted({*self.current, *self._incoming})

    # Events from the loader --------------------------------------------------------------

    def loader_event(self, event: dict[str, Any]) -> None:
        """Handle an event from the loader about a track."""
        track = self._tracks.get(event.get("track", 0))
        if track is None:
            return
        kind = event["event"]
        if kind == "opened" and track.state == "loading":
            self._opened(track, event)
        elif kind in ("ready", "complete"):
            track.complete = track.complete or kind == "complete"
            if track.state == "opened" and (track.complete or not track.max_frames):
                self._ready(track)
        elif kind == "grid":
            self._checked(track, event["grid"])
        elif kind == "loudness":
            track.lufs = float(event["lufs"])
        elif kind == "failed":
            self._failed(track, event["reason"])
        elif kind == "broken":
            self._broken(track, event["reason"])
        elif kind == "warning":
            self._warn(track, str(event["text"]))
        elif kind == "crowded":
            self._crowded(track, event["reason"])
        elif kind == "unloaded":
            self._gone(track)

    def _ready(self, track: Track) -> None:
        track.state = "ready"
        self.promote(track)
        if track.request:
            track.request.done(track.buffer)

    def _opened(self, track: Track, event: dict[str, Any]) -> None:
        track.frames = int(event["frames"])
        track.streamed = bool(event["streamed"])
        track.cue_frame = min(int(track.cue * track.frames), track.frames - 1)
        track.state = "opened"
        for name, text in event.get("tags", {}).items():
            setattr(track, name, text)
        self._take_stems(track, event)
        self._take_grid(track, event)
        for warning in event.get("warnings", ()):
            self._warn(track, warning)
        self._log_opened(track, event["channels"])
        if self.observer:
            self.observer.on_opened(track)

    def _warn(self, track: Track, text: str) -> None:
        track.warning = f"{track.warning}; {text}" if track.warning else text
        log.warning("%s: %s", track.name, text)
        self._notify("/file/warning", track.buffer, text, to=track.request)

    def _take_stems(self, track: Track, event: dict[str, Any]) -> None:
        # The loader has compared the files' audio, and has determined which of them are stems.
        if "kept" in event:
            paths = dict(zip(track.sources, track.files, strict=True))
            kept = list(event["kept"])
            self._sources.release([one for one in track.sources if one not in kept])
            track.sources = kept
            track.files = tuple(paths[source] for source in kept)
            track.stems = tuple(printable(name)[:MAX_NAME] for name in event["names"])
            track.mix.keep(len(kept))
            track.left_out = list(event["left_out"])
        for name, reason, lost in track.left_out:
            shown = printable(name)
            level = logging.WARNING if lost else logging.INFO
            log.log(level, "%s is played without %s: %s", track.name, shown, reason)
            self._notify("/stems/left_out", track.buffer, shown, reason, to=track.request)

    def _checked(self, track: Track, found: dict[str, Any] | None) -> None:
        # The loader has checked the tempo of the tags against the audio, and located the beats. A
        # deck that plays in sync with the old grid keeps it, since a change would make it jump.
        grid = track.grid
        if grid is None or grid.source != "tag" or (track.sounding and track.ratio):
            return
        if found is None:
            log.warning("%s: its audio does not have the tempo in its tags, %g beats a minute: "
                        "it gets no beat grid", track.name, grid.bpm)  # fmt: skip
            track.ratio = 0.0
        try:
            self.set_grid(track, self._grid_of(found) if found else None)
        except CommandError as error:  # no slot is free: keep the old grid
            log.warning("%s: %s", track.name, error)

    def _grid_of(self, found: dict[str, Any]) -> Grid:
        anchors = tuple((float(beat), float(second)) for beat, second in found["anchors"])
        return Grid(
            BeatGrid(anchors, bool(found["steady"])), self.desk.sample_rate, str(found["source"]),
            float(found["confidence"]), str(found["doubt"]),
        )  # fmt: skip

    def _take_grid(self, track: Track, event: dict[str, Any]) -> None:
        # A grid that was set by a command takes precedence over the file's.
        fault, found = event.get("grid_fault"), event.get("grid")
        if found and track.grid is None:
            grid = self._grid_of(found)
            try:
                track.grid_slot = self.grids.write(grid)
                track.grid = grid
            except CommandError as error:
                fault = str(error)
        if fault:
            log.warning("%s has no beat grid: %s", track.name, fault)
            self._notify("/grid/fault", track.buffer, fault, to=track.request)

    def _log_opened(self, track: Track, channels: Sequence[int]) -> None:
        kinds = {"mono" if count == 1 else "stereo" for count in channels}
        log.info(
            "buffer %d (%s): %s, %s, %d stem%s, %.1f s%s", track.buffer,
            track.place, track.name, " and ".join(sorted(kinds)), len(channels),
            "" if len(channels) == 1 else "s", track.frames / self.desk.sample_rate,
            ", streamed" if track.streamed else "",
        )

    def promote(self, track: Track) -> None:
        """Make a track that can be started the current one of its buffer; unload the old one."""
        if self._incoming.get(track.buffer) is not track:
            return
        del self._incoming[track.buffer]
        frame = track.request.frame if track.request else 0
        old = self.current.get(track.buffer)
        self.current[track.buffer] = track
        if old:
            ahead = frame if frame > self.desk.frame else 0
            self._start_unload(old, ahead, f"{track.name} was loaded in its place")

    def _failed(self, track: Track, reason: str) -> None:
        track.state, track.reason = "failed", reason
        self._incoming_failed(track, reason)
        self._gone(track)

    def _broken(self, track: Track, reason: str) -> None:
        if track.state == "opened" and self.current.get(track.buffer) is not track:
            # It could never be started, so handle it like a file that can't be opened.
            self._incoming_failed(track, reason)
            track.state = "failed"
            self._start_unload(track, 0, reason)
            return
        if track.request and not track.settled:  # a sample, which starts before it is complete
            track.request.fail(reason)
        track.state = "broken"
        log.error("%s: %s; the part in memory keeps playing", track.name, reason)
        track.reason = reason
        # The reply to its load was `/done`, so this is an event and not a failure of that command.
        self._notify("/broken", track.buffer, reason, to=track.request)

    def _crowded(self, track: Track, reason: str) -> None:
        text = f"not all hot cues and loops of {track.name} are kept in memory: {reason}"
        log.warning("%s", text)
        self._notify("/crowded", track.buffer, text)

    def _incoming_failed(self, track: Track, reason: str) -> None:
        track.reason = reason
        if self._incoming.get(track.buffer) is track:
            del self._incoming[track.buffer]
        if track.request:
            track.request.fail(reason)
            track.request = None
        self._notify_observer(track, reason)

    def _notify_observer(self, track: Track, reason: str) -> None:
        if self.observer:
            self.observer.on_unload(track, reason)

    # Unloading ---------------------------------------------------------------------------

    def _start_unload(self, track: Track, frame: int, reason: str) -> None:
        # Silence it; it is unloaded when no voice reads it any more.
        self._notify_observer(track, reason)
        self._playback.fail_unstarted(track, frame, reason)
        if track.request and not track.settled:
            track.request.fail(reason)
        track.request = None
        ahead = max(0, frame - self.desk.frame) / self.desk.sample_rate
        self._leaving[track] = self._monotonic() + ahead + LEAVE_SECONDS
        track.marked = track.voice is None
        if track.voice is not None:
            self._playback.silence(track, frame)

    def _gone(self, track: Track) -> None:
        if track.state != "failed":
            track.state = "gone"
        self._tracks.pop(track.number, None)
        self._sources.release(track.sources)
        track.sources = []
        self.grids.release(track.grid_slot)
        track.grid_slot = -1

    @property
    def waiting(self) -> bool:
        """Whether tracks wait to be unloaded, or a command waits until they are."""
        return bool(self._leaving or self._when_gone)

    def unload_silent(self) -> None:
        """Unload replaced tracks that are silent, and stop those that are not once more."""
        now = self._monotonic()
        for track, patience in list(self._leaving.items()):
            if track.marked and not in_use(self.desk, track):
                del self._leaving[track]
                if self.has(track):
                    self._to_loader({"do": "unload", "track": track.number})
            elif now > patience:
                # The engine had no room for the stop, or its event was lost.
                self._leaving[track] = now + LEAVE_SECONDS
                self._playback.silence(track, 0)
        for entry in list(self._when_gone):
            tracks, request = entry
            if not any(self.has(track) for track in tracks):
                self._when_gone.remove(entry)
                request.done()

    # Saved state -------------------------------------------------------------------------

    def to_state(self) -> dict[str, Any]:
        """Return the table as JSON-compatible state; see `restore`.

        It contains only the numbers of tracks, which are saved one by one.
        """
        return {
            "latest": self._latest,
            "buffers": [[buffer, track.number] for buffer, track in self.current.items()],
            "incoming": [[buffer, track.number] for buffer, track in self._incoming.items()],
            "leaving": [[track.number, due] for track, due in self._leaving.items()],
            "gone": [
                [[track.number for track in tracks], request.to_state()]
                for tracks, request in self._when_gone
            ],
        }

    def restore(
        self,
        state: dict[str, Any],
        tracks: Mapping[int, Track],
        held: np.ndarray,
        request: Callable[[list[Any]], Request],
    ) -> None:
        """Restore the table of an earlier control; `tracks` are by number.

        `held`: commands that the engine has and has not carried out. `request` restores a request
        from its state.
        """
        self._tracks.update(tracks)
        for table, name in ((self.current, "buffers"), (self._incoming, "incoming")):
            table.update({buffer: tracks[number] for buffer, number in state[name]})
        self._leaving.update({tracks[number]: due for number, due in state["leaving"]})
        for numbers, one in state["gone"]:
            waited = [tracks[number] for number in numbers if number in tracks]
            self._when_gone.append((waited, request(one)))
        self._latest = state["latest"]
        self._numbers = itertools.count(self._latest + SAFE_DISTANCE)
        self._find_free(held)

    def _find_free(self, held: np.ndarray) -> None:
        # Determine the free sources and grid slots. A source that is in use, and not in the saved
        # state, stays taken until the inventory of the loader.
        desk, tracks = self.desk, self._tracks.values()
        own = {source for track in tracks for source in track.sources}
        self._unknown_sources = set(np.flatnonzero(desk.sources["used"]).tolist()) - own
        self._sources = SourceNumbers(own | self._unknown_sources)
        voices = desk.voices
        read = set(voices["grid"][voices["state"] != FREE].tolist())
        read |= set(held["grid"][held["op"] == OP_START].tolist())
        read |= set(held["index"][held["op"] == OP_GRID].tolist())
        self.grids = GridSlots(desk, {track.grid_slot for track in tracks}, read)

    def request_inventory(self) -> None:
        """Request an inventory from the loader; its answer goes to `inventory`."""
        self._to_loader({"do": "inventory", "track": 0})

    def inventory(self, event: dict[str, Any]) -> None:
        """Reconcile with the loader's tracks: request missing ones, and unload unknown ones.

        `event["tracks"]`: for each track a dict with number (`track`), `state`, `frames`,
        `streamed`, `stems` (pairs of source and path), `broken` (the reason), and what its `opened`
        event contained.
        """
        there = {entry["track"]: entry for entry in event["tracks"]}
        for number, entry in there.items():
            track = self._tracks.get(number)
            if track is None:
                self._drop(number, entry)
            else:
                self._catch_up(track, entry)
        theirs = {source for entry in there.values() for source, _path in entry["stems"]}
        self._sources.release(sorted(self._unknown_sources - theirs))
        self._unknown_sources &= theirs
        for track in [one for one in self.tracks() if one.number not in there]:
            if self.wanted(track):
                self._request_again(track)
            else:
                self._leaving.pop(track, None)
                self._gone(track)

    def _drop(self, number: int, entry: dict[str, Any]) -> None:
        # An earlier control requested it just before it died, without saving it.
        sources = [source for source, _path in entry["stems"]]
        self._unknown_sources -= set(sources)
        track = Track(number, FIRST_BUFFER, "", "", (), sources, 0.0, state="ready", marked=True)
        self._latest = max(self._latest, number)
        self._tracks[number] = track
        self._leaving[track] = self._monotonic()

    def _catch_up(self, track: Track, entry: dict[str, Any]) -> None:
        # Replay the loader's events that an earlier control has not saved.
        number = track.number
        channels = self.desk.sources["channels"][track.sources].tolist()
        self.loader_event({**entry, "event": "opened", "channels": channels})
        if entry["state"] in ("ready", "complete"):
            self.loader_event({"event": "ready", "track": number})
        if entry["state"] == "complete":
            self.loader_event({"event": "complete", "track": number})
        if entry["state"] == "broken" and track.state != "broken":
            self.loader_event({"event": "broken", "track": number, "reason": entry["broken"]})
        if not self.wanted(track):
            if track not in self._leaving:
                self._to_loader({"do": "unload", "track": number})
        elif not track.complete and track.state != "broken":
            self.pin_positions(track)
            if track.voice is None and entry.get("cue", -1) != track.cue_frame:
                self._to_loader({"do": "cue", "track": number, "frame": track.cue_frame})

    def _request_again(self, track: Track) -> None:
        if track.state != "loading":
            return
        try:
            self.request_files(track)
        except CommandError as error:
            self.loader_event({"event": "failed", "track": track.number, "reason": str(error)})
