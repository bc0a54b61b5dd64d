"""A peer of an Ableton Link session, and the beats of a deck of a running server beside it.

Link finds peers by multicast on all interfaces, so tests and benchmarks run in a network namespace
of their own, in which there is only the loopback device:

    unshare -rn python -m ...

Times are monotonic seconds. The peer converts its times itself, so that a mistake of the server's
conversion shows.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from crowdstream.control.server import Server
from crowdstream.desk.snapshot import read_callback, read_snapshot
from tests.support.network_namespace import IFF_UP, SIOCSIFFLAGS

RATE = 44100
SAMPLE_SECONDS = 0.02  # between two samples of a deck's beat
WINDOW_SECONDS = 3.0  # in which at least one callback was in time
TRACK_SECONDS = 240.0
READINGS = 9  # of both clocks


def loopback_up() -> None:
    """Enable the loopback device of this namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until `condition`; raises `TimeoutError` with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


class LinkPeer:
    """Another member of the session, of which the library is imported when it is made."""

    def __init__(self, bpm: float, start_stop: bool = False) -> None:
        from link import Link

        self._link: Any = Link(bpm)
        self._link.startStopSyncEnabled = start_stop
        self._clock: Any = self._link.clock()
        self.join()

    def join(self) -> None:
        """Join the session."""
        self._link.enabled = True

    def leave(self) -> None:
        """Leave the session."""
        self._link.enabled = False

    @property
    def peers(self) -> int:
        """Number of other peers."""
        return int(self._link.numPeers())

    @property
    def bpm(self) -> float:
        """Tempo of the session."""
        return float(self._link.captureAppSessionState().tempo())

    @property
    def playing(self) -> bool:
        """Whether the session's transport runs."""
        return bool(self._link.captureAppSessionState().isPlaying())

    def _micros(self, at: float) -> int:
        best, micros = 1.0, 0
        for _ in range(READINGS):
            before = time.monotonic()
            now = self._clock.micros()
            after = time.monotonic()
            if after - before < best:
                best = after - before
                micros = now + round((at - 0.5 * (before + after)) * 1e6)
        return micros

    def beat_at(self, at: float, quantum: float = 4.0) -> float:
        """The session's beat at a monotonic time."""
        state = self._link.captureAppSessionState()
        return float(state.beatAtTime(self._micros(at), quantum))

    def set_bpm(self, bpm: float) -> None:
        """Change the session's tempo."""
        state = self._link.captureAppSessionState()
        state.setTempo(bpm, self._clock.micros())
        self._link.commitAppSessionState(state)

    def force_beat(self, beat: float) -> None:
        """Map a beat to now, for all peers."""
        state = self._link.captureAppSessionState()
        state.forceBeatAtTime(beat, self._clock.micros(), 4.0)
        self._link.commitAppSessionState(state)

    def play(self, on: bool) -> None:
        """Start or stop the session's transport."""
        state = self._link.captureAppSessionState()
        state.setIsPlaying(on, self._clock.micros())
        self._link.commitAppSessionState(state)


class DeckBeats:
    """Deck A of a server in this process: when which of its beats is audible.

    The time of a frame is taken from the least late of the latest callbacks, and not from the
    estimate with which the server works.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._offsets: deque[tuple[float, float]] = deque()

    def play(self, folder: Path, bpm: float = 120.0) -> None:
        """Play a silent track with a grid in sync with the clock, in a loop."""
        path = folder / "silence.wav"
        beats = round(TRACK_SECONDS * bpm / 240.0) * 4
        frames = round(beats * 60.0 / bpm * RATE)
        soundfile.write(path, np.zeros((frames, 1), np.int16), RATE)
        done: list[str] = []
        run = self._server.run_command
        run("/deck/A/load", (str(path),), lambda address, *_: done.append(address))
        wait_for(lambda: bool(done), 60.0, "the track is loaded")
        for address, *arguments in (
            ("/deck/A/grid", bpm), ("/deck/A/sync", 1, 4.0), ("/deck/A/play", 0.0, 1),
        ):
            assert run(address, tuple(arguments), lambda *_: None)
        wait_for(self.plays, 10.0, "the deck plays")

    def plays(self) -> bool:
        """Whether the deck plays."""
        found = self._server.call(
            lambda: any(track.deck == 0 for track in self._server.core.voice_allocator.sounding())
        )
        return bool(found)

    def _frame_time(self, frame: int) -> float:
        # When the device requests the frame.
        desk, now = self._server.desk, time.monotonic()
        callback = read_callback(desk)
        if callback is not None:
            self._offsets.append((now, callback[0] * 1e-9 - callback[1] / RATE))
        while self._offsets and self._offsets[0][0] < now - WINDOW_SECONDS:
            self._offsets.popleft()
        return min(offset for _, offset in self._offsets) + frame / RATE

    def rendered(self) -> tuple[float, int]:
        """The latest rendered beat of the track, and its frame."""
        moment = read_snapshot(self._server.desk)
        track = self._server.core.deck_manager.playing(0)
        assert track.voice is not None and track.grid is not None
        return track.grid.beat(moment.audible_positions[track.voice]), moment.frame

    def latest(self) -> tuple[float, float]:
        """The latest rendered beat of the track, and the time at which it is audible."""
        beat, frame = self.rendered()
        return beat, self._frame_time(frame) + float(self._server.desk.clock["latency"])

    def deviations(
        self, peer: LinkPeer, seconds: float, per_beat: float = 1.0, quantum: float = 1.0
    ) -> Iterator[tuple[float, float]]:
        """Yield time and ms by which the session is ahead of the deck.

        `per_beat`: beats of the session per beat of the deck. `quantum`: in beats of the session.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            beat, at = self.latest()
            ahead = peer.beat_at(at) - beat * per_beat
            yield at, (ahead - quantum * round(ahead / quantum)) * 60000.0 / peer.bpm
            time.sleep(SAMPLE_SECONDS)
