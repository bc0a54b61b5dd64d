"""Read order: the pages to read next, by urgency."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from crowdstream.desk.pages import Arena
from crowdstream.loader.loaded_track import LoadedTrack
from crowdstream.loader.prefetch import URGENT_SECONDS, Heads, PrefetchPlan, Stem

Page = tuple[LoadedTrack, Stem, int]


class ReadOrder:
    """Finds missing pages of `tracks`; reports when a track is ready or complete.

    `read_ahead`: seconds ahead of playheads. `whole`: read tracks that are not streamed to their
    end.
    """

    def __init__(
        self,
        arena: Arena,
        plan: PrefetchPlan,
        tracks: dict[int, LoadedTrack],
        send: Callable[[dict[str, Any]], None],
        whole: bool,
        read_ahead: float,
    ) -> None:
        self._arena = arena
        self._plan = plan
        self._tracks = tracks
        self._send = send
        self._whole = whole
        self._ahead = read_ahead

    def pages(self) -> Iterator[Page]:
        """Missing pages: urgent ones, then starts, then the read-ahead, then the rest."""
        tracks = list(self._tracks.values())
        if all(track.complete and track.ready for track in tracks):
            return
        heads = self._plan.playheads()
        if self._whole:
            yield from self.upcoming(heads, URGENT_SECONDS)
        for track in tracks:
            if not track.ready and not track.complete:
                yield from self._missing(track, self._plan.start_pages(track.stems, track.cue))
            if not track.ready:
                track.ready = True
                self._send({"event": "ready", "track": track.number, "cue": track.cue})
        yield from self.upcoming(heads, self._ahead)
        for track in tracks:
            if track.complete or not (self._whole or track.whole):
                continue
            if track.streamed:
                for frame in (0, *track.places):
                    yield from self._missing(track, self._plan.start_pages(track.stems, frame))
            else:
                yield from self._rest(track)

    def urgent(self) -> bool:
        """Whether a page is missing that is about to be played."""
        return next(self.upcoming(self._plan.playheads(), URGENT_SECONDS), None) is not None

    def upcoming(self, heads: Heads, seconds: float) -> Iterator[Page]:
        """Missing pages that the playheads reach within `seconds`."""
        for track in list(self._tracks.values()):
            if track.complete:
                continue
            for stem in track.stems:
                pages, resident = stem.pages, self._arena.resident
                for head in heads.get(stem.source, ()):
                    for page in self._plan.ahead(stem, head, seconds):
                        if page < pages and not resident(stem.source, page):
                            yield track, stem, page

    def _missing(self, track: LoadedTrack, pages: Iterable[tuple[Stem, int]]) -> Iterator[Page]:
        for stem, page in pages:
            if page < stem.pages and not self._arena.resident(stem.source, page):
                yield track, stem, page

    def _rest(self, track: LoadedTrack) -> Iterator[Page]:
        # The stems side by side, from the cue to the end and round; each page is requested once.
        longest = max(stem.pages for stem in track.stems)
        for turn in range(track.resident_pages, longest):
            for stem in track.stems:
                page = (track.cue // stem.page_frames + turn) % max(1, stem.pages)
                if turn < stem.pages and not self._arena.resident(stem.source, page):
                    track.resident_pages = turn
                    yield track, stem, page
        track.complete = True
        self._send({"event": "complete", "track": track.number})
