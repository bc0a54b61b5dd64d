"""Announcements: files that are played over the ducked mix, one after the other.

The mix begins to fall `ahead` seconds before the first word, stays low for `hold` seconds after the
last one, and rises again, unless another announcement follows.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from crowdstream.commands.errors import Refused
from crowdstream.control.decks.deck_manager import DeckManager
from crowdstream.control.decks.track import BUFFERS_PER_DECK, Item, Track, first_buffer
from crowdstream.control.decks.track_table import TrackTable
from crowdstream.control.engine_queue.request import Request
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import ANNOUNCER
from crowdstream.desk.ramps import RAMP_DUCK

log = logging.getLogger(__name__)

MAX_ANNOUNCEMENTS = 16  # in the queue
MAX_ANNOUNCEMENT_SECONDS = 600.0
START_BLOCKS = 2  # blocks until the earliest frame that the engine meets in any case


@dataclass(frozen=True)
class Ducking:
    """How the mix gives way: `gain` linear, all others in seconds.

    `ahead`: from the beginning of the attack to the first word. `hold`: from the last word to the
    beginning of the release.
    """

    gain: float
    attack: float
    hold: float
    release: float
    ahead: float


@dataclass(eq=False)
class Announcement:
    """One announcement in the queue; its number is that of its track's buffer."""

    track: Track
    request: Request
    ducking: Ducking

    def to_state(self) -> list[Any]:
        """Return it as JSON-compatible state; see `from_state`."""
        return [self.track.number, self.request.to_state(), asdict(self.ducking)]

    @classmethod
    def from_state(
        cls, state: list[Any], tracks: Mapping[int, Track], request: Callable[[list[Any]], Request]
    ) -> Announcement | None:
        """Restore it from `to_state`; None if its track no longer exists."""
        number, one, ducking = state
        if number not in tracks:
            return None
        return cls(tracks[number], request(one), Ducking(**ducking))


class Announcer:
    """The queue of announcements, and the ducking of the mix. For the control thread.

    `notify` sends an event to all subscribers.
    """

    def __init__(
        self,
        desk: Desk,
        track_table: TrackTable,
        deck_manager: DeckManager,
        notify: Callable[..., None],
        ramp_request: Callable[[], Request],
    ) -> None:
        """`ramp_request` makes the request with which the mix is ducked and released."""
        self._desk = desk
        self._track_table = track_table
        self._deck_manager = deck_manager
        self._notify = notify
        self._ramp_request = ramp_request
        self._queue: list[Announcement] = []
        self._current: Announcement | None = None
        self._ducking: Ducking | None = None  # while the mix is ducked
        self._last_word = 0  # frame at which the current one ends if nobody ends it earlier
        self._release_at: int | None = None  # frame
        self._numbers = itertools.count()

    # Commands ----------------------------------------------------------------------------

    def announce(self, request: Request, path: str, ducking: Ducking) -> None:
        """Load a file and add it to the queue; the reply is `/done` when it is loaded.

        Raises `CommandError` for errors that are found immediately.
        """
        if len(self._queue) >= MAX_ANNOUNCEMENTS:
            raise Refused(f"{MAX_ANNOUNCEMENTS} announcements are waiting already")
        buffer = first_buffer(ANNOUNCER) + next(self._numbers) % BUFFERS_PER_DECK
        track = self._track_table.load(request, buffer, path)
        self._queue.append(Announcement(track, request, ducking))
        self._report(self._queue[-1], "waiting")

    def skip(self, request: Request) -> None:
        """Fade the current announcement out; the next one follows, or the mix rises again."""
        if self._current is not None:
            self._deck_manager.stop(self._current.track, request)

    def clear(self, request: Request) -> None:
        """Fade the current announcement out, and remove all others from the queue."""
        for waiting in self._queue:
            self._track_table.unload(waiting.track.buffer)
            self._report(waiting, "cancelled")
        self._queue = []
        self.skip(request)

    # Periodic work -----------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether there is an announcement, or the mix is still ducked after one."""
        return bool(self._queue or self._current or self._ducking)

    def tick(self) -> None:
        """Start the next announcement, or release the mix, when it is time."""
        if not self.active:
            return
        self._remove_failed()
        if self._current is not None and self._is_over(self._current.track):
            self._end(self._current)
        if self._current is None and self._queue:
            self._try_start(self._queue[0])
        if self._release_at is not None and self._desk.frame >= self._release_at:
            self._release()

    def _remove_failed(self) -> None:
        longest = MAX_ANNOUNCEMENT_SECONDS * self._desk.sample_rate
        for waiting in list(self._queue):
            track = waiting.track
            if track.frames > longest:
                waiting.request.fail(
                    f"{track.name} lasts {track.frames / self._desk.sample_rate:.0f} s; the maximum"
                    f" is {MAX_ANNOUNCEMENT_SECONDS:g} s"
                )
                self._track_table.unload(track.buffer)
            elif self._track_table.wanted(track) and track.state not in ("failed", "gone"):
                continue
            self._queue.remove(waiting)
            self._report(waiting, "failed")

    def _is_over(self, track: Track) -> bool:
        return not (track.sounding or track.pending_starts or self._deck_manager.is_waiting(track))

    def _try_start(self, first: Announcement) -> None:
        if not first.track.settled:
            return
        self._queue.remove(first)
        self._current, self._ducking, self._release_at = first, first.ducking, None
        rate = self._desk.sample_rate
        now = self._desk.frame + START_BLOCKS * int(self._desk.header["block_frames"])
        self._deck_manager.ramp(
            self._ramp_request(), RAMP_DUCK, first.ducking.gain, first.ducking.attack, now
        )
        item = Item(first.track, first.request, start=0.0)
        start = now + round(first.ducking.ahead * rate)
        self._last_word = start + first.track.frames
        self._deck_manager.start([item], start)
        self._report(first, "playing")

    def _end(self, last: Announcement) -> None:
        self._current = None
        # The voice is held a little longer than its file, for the decay of a step at its end.
        end = min(self._desk.frame, self._last_word)
        self._release_at = end + round(last.ducking.hold * self._desk.sample_rate)
        self._track_table.unload(last.track.buffer)
        self._report(last, "ended")

    def _release(self) -> None:
        assert self._ducking is not None
        seconds = self._ducking.release
        self._deck_manager.ramp(self._ramp_request(), RAMP_DUCK, 1.0, seconds)
        self._ducking = self._release_at = None

    def _report(self, one: Announcement, state: str) -> None:
        log.info("announcement %s: %s", one.track.name, state)
        self._notify("/announcement", one.track.buffer, state, one.track.name)

    # Reports -----------------------------------------------------------------------------

    @property
    def current(self) -> Track | None:
        """The announcement that is playing."""
        return self._current.track if self._current else None

    def waiting(self) -> list[Track]:
        """Return the announcements in the queue, the next one first."""
        return [one.track for one in self._queue]

    def readings(self) -> dict[str, Any]:
        """Return the values for the status."""
        return {
            "announcement": self._current.track.name if self._current else "",
            "announcements": len(self._queue),
        }

    # Saved state -------------------------------------------------------------------------

    def to_state(self) -> dict[str, Any]:
        """Return the queue as JSON-compatible state; see `restore`."""
        return {
            "queue": [one.to_state() for one in self._queue],
            "current": self._current.to_state() if self._current else None,
            "ducking": asdict(self._ducking) if self._ducking else None,
            "last_word": self._last_word,
            "release_at": self._release_at,
        }

    def restore(
        self,
        state: Mapping[str, Any],
        tracks: Mapping[int, Track],
        request: Callable[[list[Any]], Request],
    ) -> None:
        """Restore the queue from `to_state`; `tracks` are by number.

        An announcement that ended while there was no control is followed by the release.
        """
        found = (Announcement.from_state(one, tracks, request) for one in state["queue"])
        self._queue = [one for one in found if one]
        if state["current"]:
            self._current = Announcement.from_state(state["current"], tracks, request)
        self._ducking = Ducking(**state["ducking"]) if state["ducking"] else None
        self._last_word, self._release_at = state["last_word"], state["release_at"]
        if self._ducking and self._current is None and self._release_at is None:
            self._release_at = self._desk.frame
        taken = [*self.waiting(), *([self.current] if self.current else [])]
        latest = max((track.buffer for track in taken), default=first_buffer(ANNOUNCER) - 1)
        self._numbers = itertools.count(latest - first_buffer(ANNOUNCER) + 1)
