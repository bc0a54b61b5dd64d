"""A Link session, with times on the monotonic clock that the rest of the server uses.

The library is LinkPython-extern, an optional extra: Ableton Link itself is licensed under the GPL,
version 2 or later, or commercially. It runs network threads of its own.
"""

from __future__ import annotations

import importlib
import time
from dataclasses import asdict, dataclass
from typing import Any

from crowdstream.system.text import install_command

REMEDY = f"install it with: {install_command('LinkPython-extern')}"
OFFSET_READINGS = 5  # of both clocks; the one that took the shortest time counts
OFFSET_SECONDS = 1.0  # between two comparisons of the clocks: NTP slews one of them
PHASE_TOLERANCE = 2e-5  # s: a timeline that has moved by less has not changed


class LinkMissing(RuntimeError):
    """The library can't be loaded."""


@dataclass(frozen=True)
class SessionState:
    """What a session plays: at monotonic time `at` (s), beat `beat` at tempo `bpm`.

    The beat's phase modulo the quantum is the same for all peers. `playing` is the shared transport
    state, which was commanded for time `play_at`.
    """

    at: float
    beat: float
    bpm: float
    peers: int
    playing: bool
    play_at: float

    def moved(self, other: SessionState) -> bool:
        """Whether `other`, a later state, differs from what this one predicts."""
        if (self.bpm, self.peers, self.playing) != (other.bpm, other.peers, other.playing):
            return True
        per_second = self.bpm / 60.0
        predicted = self.beat + (other.at - self.at) * per_second
        return abs(other.beat - predicted) > PHASE_TOLERANCE * per_second

    def to_message(self) -> dict[str, Any]:
        """Return the message to control."""
        return {"event": "session", **asdict(self)}


def load_library() -> Any:
    """Return the module of the Link library. Raises `LinkMissing`."""
    importlib.invalidate_caches()
    try:
        library = importlib.import_module("link")
    except ImportError as error:
        raise LinkMissing(f"the Link library is missing ({error}): {REMEDY}") from error
    if not hasattr(library, "Link"):
        raise LinkMissing(f"the package named link is not LinkPython-extern: {REMEDY}")
    return library


class LinkSession:
    """This server's membership in a session.

    Until another peer is found, it plays beat `beat` at monotonic time `at` (s), at tempo `bpm`.
    Raises `LinkMissing`.
    """

    def __init__(self, at: float, beat: float, bpm: float, library: Any = None) -> None:
        self._link = (library or load_library()).Link(bpm)
        self._clock = self._link.clock()
        self._offset = 0.0
        self._offset_at = -OFFSET_SECONDS
        self.quantum = 4.0
        self._update_offset()
        # Before joining: a timeline that is set later would be imposed on all peers.
        self.set_timeline(at, beat, bpm)
        self._link.enabled = True

    def set_start_stop(self, on: bool) -> None:
        """Choose whether the transport state is shared with the other peers."""
        self._link.startStopSyncEnabled = on

    def close(self) -> None:
        """Leave the session."""
        self._link.enabled = False

    def _update_offset(self) -> None:
        # Link's clock is the system's raw monotonic clock, in microseconds.
        now = time.monotonic()
        if now < self._offset_at + OFFSET_SECONDS:
            return
        self._offset_at = now
        readings = []
        for _ in range(OFFSET_READINGS):
            before = time.monotonic()
            micros = self._clock.micros()
            after = time.monotonic()
            readings.append((after - before, 0.5 * (before + after) - micros * 1e-6))
        self._offset = min(readings)[1]

    def _micros(self, monotonic: float) -> int:
        return round((monotonic - self._offset) * 1e6)

    def read(self) -> SessionState:
        """Return the state of the session now."""
        self._update_offset()
        state = self._link.captureAppSessionState()
        micros = self._clock.micros()
        return SessionState(
            micros * 1e-6 + self._offset,
            state.beatAtTime(micros, self.quantum),
            state.tempo(),
            self._link.numPeers(),
            state.isPlaying(),
            state.timeForIsPlaying() * 1e-6 + self._offset,
        )

    def set_timeline(self, at: float, beat: float, bpm: float) -> None:
        """Make all peers play beat `beat` at monotonic time `at`, at tempo `bpm`."""
        micros, state = self._micros(at), self._link.captureAppSessionState()
        if abs(state.tempo() - bpm) > 1e-9:
            state.setTempo(bpm, micros)
        state.forceBeatAtTime(beat, micros, self.quantum)
        self._link.commitAppSessionState(state)

    def set_tempo(self, at: float, bpm: float) -> None:
        """Change the tempo of all peers at monotonic time `at`; the beats stay continuous."""
        state = self._link.captureAppSessionState()
        state.setTempo(bpm, self._micros(at))
        self._link.commitAppSessionState(state)

    def set_playing(self, at: float, on: bool) -> None:
        """Start or stop the transport of all peers that share it, at monotonic time `at`."""
        state = self._link.captureAppSessionState()
        state.setIsPlaying(on, self._micros(at))
        self._link.commitAppSessionState(state)
