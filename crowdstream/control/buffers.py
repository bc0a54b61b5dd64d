"""Buffers: from a path to a track that can be started, and from there to freed memory."""

from __future__ import annotations

import itertools
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from crowdstream.control.context import Context
from crowdstream.control.errors import CommandError, NotLoaded
from crowdstream.control.grids import Grid, GridSlots
from crowdstream.control.stems import StemMix
from crowdstream.control.table import DECK_LETTERS
from crowdstream.control.tracks import SourceNumbers, Track, first_buffer, in_use
from crowdstream.desk.block import Desk
from crowdstream.library.errors import AudioFileError
from crowdstream.library.grids import BeatGrid
from crowdstream.library.tracks import (
    TrackFiles,
    check_media_root,
    find_stems,
    left_out_values,
)
from crowdstream.texts import printable

log = logging.getLogger(__name__)

LEAVE_SECONDS = 1.0  # after which a track that still sounds is told once more to stop
LONGEST_NAME = 200  # characters: names go into every status, which is one packet


class Buffers(ABC):
    """Which track is in which buffer. What plays is the business of the class built on this.

    A track's way: on its way in (`_incoming`), in its buffer (`buffers`) from the moment it can
    be started, leaving (silent soon, then unloaded by the loader), gone. Until a new track is
    ready the old one stays and plays.
    """

    def __init__(
        self,
        desk: Desk,
        to_loader: Callable[[dict[str, Any]], None],
        tell: Callable[..., None],
        monotonic: Callable[[], float],
        media_roots: Sequence[Path] = (),
    ) -> None:
        self.desk = desk
        self.monotonic = monotonic
        self._to_loader = to_loader
        self._tell = tell
        # The loader may have been started in another folder.
        self._roots = [root.expanduser().absolute() for root in media_roots]
        self._numbers = itertools.count(1)
        self._sources = SourceNumbers()
        self.grids = GridSlots(desk)
        self._tracks: dict[int, Track] = {}
        self.buffers: dict[int, Track] = {}
        self._incoming: dict[int, Track] = {}
        self._leaving: dict[Track, float] = {}
        self._when_gone: list[tuple[list[Track], Context]] = []

    # What the mixer fills in -------------------------------------------------------------

    @abstractmethod
    def _silence(self, track: Track, frame: int) -> None:
        """Stop a track's voice; sets `track.marked` when the engine has heard of it."""

    @abstractmethod
    def _drop_waiting(self, track: Track, reason: str = "") -> None:
        """Forget starts and jumps of a track that wait; tell their senders the reason."""

    @abstractmethod
    def _tell_unstarted(self, track: Track, frame: int, reason: str) -> None:
        """A track leaves at `frame`: tell the senders of starts that will not happen."""

    @abstractmethod
    def _opened_hook(self, track: Track) -> None:
        """A track's length is known."""

    @abstractmethod
    def give_grid(self, track: Track, grid: Grid | None) -> None:
        """Give a track another grid, or none. Raises `Refused`."""

    # Commands ----------------------------------------------------------------------------

    def load(
        self, context: Context, buffer: int, path: str, name: str = "", cue: float = 0.0
    ) -> Track:
        """Begin to load a file or folder of stems into a buffer; answers `/done` when ready.

        What was in the buffer is stopped and let go of once the new files turn out good.
        Raises `CommandError` for what can be seen at once.
        """
        files = self._find(path)
        sources = self._sources.take(len(files.stems))
        shown = printable(name or files.name)[:LONGEST_NAME]
        names = tuple(printable(stem.name)[:LONGEST_NAME] for stem in files.stems)
        track = Track(next(self._numbers), buffer, shown, path, names, sources, cue)
        track.context = context
        track.mix = StemMix(len(sources))
        track.left_out = left_out_values(files.left_out)
        self._tracks[track.number] = track
        earlier = self._incoming.pop(buffer, None)
        if earlier:
            self._let_go(earlier, 0, f"{shown} was loaded in its place")
        self._incoming[buffer] = track
        self._request(track, files)
        return track

    def _request(self, track: Track, files: TrackFiles) -> None:
        pairs = zip(track.sources, files.stems, strict=True)
        stems = [(source, str(stem.path)) for source, stem in pairs]
        track.files = tuple(path for _, path in stems)
        request = {"do": "load", "track": track.number, "stems": stems, "cue": track.cue}
        if not files.heard:
            request["folder"] = str(files.stems[0].path.parent)
        self._to_loader(request)

    def ask_for_files(self, track: Track) -> None:
        """Ask the loader once more for a track that it has never heard of.

        Raises `CommandError` when its files are not there any more.
        """
        files = self._find(track.path)
        if len(files.stems) != len(track.sources):
            raise CommandError(f"{track.name} has other stems now: load it once more")
        self._request(track, files)

    def tracks(self) -> list[Track]:
        """All that have places in the desk."""
        return list(self._tracks.values())

    def numbers(self) -> set[int]:
        """The numbers of these tracks."""
        return set(self._tracks)

    def _find(self, path: str) -> TrackFiles:
        try:
            files = find_stems(check_media_root(Path(path), self._roots))
            for stem in files.stems:
                # A link in an allowed folder may lead out of it.
                check_media_root(stem.path, self._roots)
        except AudioFileError as error:
            raise CommandError(str(error)) from error
        return files

    def find(self, buffer: int) -> Track:
        """What was loaded last into a buffer, be it still on its way; raises `NotLoaded`."""
        track = self._incoming.get(buffer) or self.buffers.get(buffer)
        if track is None:
            raise NotLoaded(f"nothing is loaded in buffer {buffer}")
        return track

    def all_of(self, buffer: int) -> list[Track]:
        """What is in a buffer and what is on its way there; raises `NotLoaded` for neither.

        What sounds there is for both: while a new file is being loaded, the old one plays.
        """
        self.find(buffer)
        tables = (self.buffers, self._incoming)
        return [table[buffer] for table in tables if buffer in table]

    def shown(self, buffer: int) -> Track | None:
        """What a buffer holds; while it holds nothing, what is on its way there."""
        return self.buffers.get(buffer) or self._incoming.get(buffer)

    def incoming(self, deck: int) -> Track | None:
        """What is on its way into a deck's first buffer."""
        return self._incoming.get(first_buffer(deck))

    def deck_track(self, deck: int) -> Track:
        """The track of a deck: its first buffer's; raises `NotLoaded`."""
        return self.deck_tracks(deck)[-1]

    def deck_tracks(self, deck: int) -> list[Track]:
        """As `all_of`, of a deck's first buffer; raises `NotLoaded`."""
        try:
            return self.all_of(first_buffer(deck))
        except NotLoaded as error:
            raise NotLoaded(f"deck {'ABCD'[deck]} has no track: cue or load one") from error

    def unload(self, buffer: int, frame: int = 0) -> list[Track]:
        """Stop a buffer and free its memory when it is silent; the tracks that are leaving."""
        left = []
        for table in (self._incoming, self.buffers):
            track = table.pop(buffer, None)
            if track:
                self._let_go(track, frame, f"buffer {buffer} was unloaded")
                left.append(track)
        return left

    def when_gone(self, tracks: list[Track], context: Context) -> None:
        """Answer `/done` once the loader has freed all of `tracks`."""
        self._when_gone.append((tracks, context))

    def loaded_buffers(self) -> list[int]:
        """Numbers of the buffers that hold something or are about to."""
        return sorted({*self.buffers, *self._incoming})

    # What the loader says ----------------------------------------------------------------

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
            self._promote(track)
            if track.context:
                track.context.done(track.buffer)
        elif kind == "complete":
            track.complete = True
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
        self._opened_hook(track)

    def _warn(self, track: Track, text: str) -> None:
        track.warning = f"{track.warning}; {text}" if track.warning else text
        log.warning("%s: %s", track.name, text)
        self._tell("/file/warning", track.buffer, text, to=track.context)

    def _take_stems(self, track: Track, event: dict[str, Any]) -> None:
        # The loader has listened to the files, and knows which of them are the track.
        if "kept" in event:
            paths = dict(zip(track.sources, track.files, strict=True))
            kept = list(event["kept"])
            self._sources.give_back([one for one in track.sources if one not in kept])
            track.sources = kept
            track.files = tuple(paths[source] for source in kept)
            track.stems = tuple(printable(name)[:LONGEST_NAME] for name in event["names"])
            track.mix.keep(len(kept))
            track.left_out = list(event["left_out"])
        for name, reason, lost in track.left_out:
            shown = printable(name)
            level = logging.WARNING if lost else logging.INFO
            log.log(level, "%s is played without %s: %s", track.name, shown, reason)
            self._tell("/stems/left_out", track.buffer, shown, reason, to=track.context)

    def _checked(self, track: Track, found: dict[str, Any] | None) -> None:
        # The sound says whether it has the tempo of the tags, and where the beats are. A deck that
        # plays in sync by the old grid keeps it: nobody wants it to jump.
        grid = track.grid
        if grid is None or grid.source != "tag" or (track.sounding and track.ratio):
            return
        if found is None:
            log.warning("%s: its tags say %g beats a minute, and it has no such beat: it has no "
                        "beat grid", track.name, grid.bpm)  # fmt: skip
            track.ratio = 0.0
        try:
            self.give_grid(track, self._grid_of(found) if found else None)
        except CommandError as error:  # no place is free: the old one stays
            log.warning("%s: %s", track.name, error)

    def _grid_of(self, found: dict[str, Any]) -> Grid:
        anchors = tuple((float(beat), float(second)) for beat, second in found["anchors"])
        return Grid(
            BeatGrid(anchors, bool(found["steady"])), self.desk.sample_rate, str(found["source"]),
            float(found["confidence"]), str(found["doubt"]),
        )  # fmt: skip

    def _take_grid(self, track: Track, event: dict[str, Any]) -> None:
        # A grid that a command has given goes before what lies beside the file.
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
            self._tell("/grid/fault", track.buffer, fault, to=track.context)

    def _log_opened(self, track: Track, channels: Sequence[int]) -> None:
        kinds = {"mono" if count == 1 else "stereo" for count in channels}
        log.info(
            "buffer %d (deck %s): %s, %s, %d stem%s, %.1f s%s", track.buffer,
            DECK_LETTERS[track.deck], track.name, " and ".join(sorted(kinds)), len(channels),
            "" if len(channels) == 1 else "s", track.frames / self.desk.sample_rate,
            ", streamed" if track.streamed else "",
        )

    def _promote(self, track: Track) -> None:
        # It can sound: it takes the place of what was there.
        if self._incoming.get(track.buffer) is not track:
            return
        del self._incoming[track.buffer]
        frame = track.context.frame if track.context else 0
        old = self.buffers.get(track.buffer)
        self.buffers[track.buffer] = track
        if old:
            ahead = frame if frame > self.desk.frame else 0
            self._let_go(old, ahead, f"{track.name} was loaded in its place")

    def _failed(self, track: Track, reason: str) -> None:
        track.state, track.reason = "failed", reason
        self._incoming_failed(track, reason)
        self._gone(track)

    def _broken(self, track: Track, reason: str) -> None:
        if track.state == "opened":
            # It never could be started: the same as a file that does not open.
            self._incoming_failed(track, reason)
            track.state = "failed"
            self._let_go(track, 0, reason)
            return
        track.state = "broken"
        log.error("%s: %s; what is in memory plays on", track.name, reason)
        track.reason = reason
        # Its load has been answered with `/done`: that did not fail.
        self._tell("/broken", track.buffer, reason, to=track.context)

    def _crowded(self, track: Track, reason: str) -> None:
        text = f"not all hot cues and loops of {track.name} stay in memory: {reason}"
        log.warning("%s", text)
        self._tell("/crowded", track.buffer, text)

    def _incoming_failed(self, track: Track, reason: str) -> None:
        track.reason = reason
        if self._incoming.get(track.buffer) is track:
            del self._incoming[track.buffer]
        if track.context:
            track.context.fail(reason)
            track.context = None
        self._drop_waiting(track, reason)

    # Leaving -----------------------------------------------------------------------------

    def _let_go(self, track: Track, frame: int, reason: str) -> None:
        # Silence it, then unload it when no voice reads it any more.
        self._drop_waiting(track, reason)
        self._tell_unstarted(track, frame, reason)
        if track.context and not track.settled:
            track.context.fail(reason)
        track.context = None
        ahead = max(0, frame - self.desk.frame) / self.desk.sample_rate
        self._leaving[track] = self.monotonic() + ahead + LEAVE_SECONDS
        track.marked = track.voice is None
        if track.voice is not None:
            self._silence(track, frame)

    def _gone(self, track: Track) -> None:
        if track.state != "failed":
            track.state = "gone"
        self._tracks.pop(track.number, None)
        self._sources.give_back(track.sources)
        track.sources = []
        self.grids.give_back(track.grid_slot)
        track.grid_slot = -1

    def _see_off(self) -> None:
        """Unload tracks that have fallen silent; once more stop those that have not."""
        now = self.monotonic()
        for track, patience in list(self._leaving.items()):
            if track.marked and not in_use(self.desk, track):
                del self._leaving[track]
                if track.number in self._tracks:
                    self._to_loader({"do": "unload", "track": track.number})
            elif now > patience:
                # The engine had no room for the stop, or its report was lost.
                self._leaving[track] = now + LEAVE_SECONDS
                self._silence(track, 0)
        for entry in list(self._when_gone):
            tracks, context = entry
            if not any(track.number in self._tracks for track in tracks):
                self._when_gone.remove(entry)
                context.done()
