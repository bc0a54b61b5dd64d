"""The interface of LinkPython-extern in memory: one session whose only member is the caller.

Beats are a linear function of the library's clock, which is ahead of the monotonic clock.
"""

from __future__ import annotations

import time

CLOCK_AHEAD = 250.0  # s


class FakeClock:
    """The library's clock."""

    def micros(self) -> int:
        return round((time.monotonic() + CLOCK_AHEAD) * 1e6)


class FakeState:
    """A copy of the session's state."""

    def __init__(self, link: Link) -> None:
        self.at, self.beat, self.bpm = link.at, link.beat, link.bpm
        self.on, self.on_at = link.on, link.on_at
        self.quantum = 0.0

    def tempo(self) -> float:
        return self.bpm

    def beatAtTime(self, micros: int, quantum: float) -> float:
        self.quantum = quantum
        return self.beat + (micros - self.at) * self.bpm / 60e6

    def setTempo(self, bpm: float, micros: int) -> None:
        self.at, self.beat, self.bpm = micros, self.beatAtTime(micros, 4.0), bpm

    def forceBeatAtTime(self, beat: float, micros: int, quantum: float) -> None:
        self.at, self.beat, self.quantum = micros, beat, quantum

    def isPlaying(self) -> bool:
        return self.on

    def timeForIsPlaying(self) -> int:
        return self.on_at

    def setIsPlaying(self, on: bool, micros: int) -> None:
        self.on, self.on_at = on, micros


class Link:
    """The session. `made` lists all of them."""

    made: list[Link] = []  # noqa: RUF012  (tests clear it)

    def __init__(self, bpm: float) -> None:
        self.bpm, self.beat, self.at = bpm, 0.0, FakeClock().micros()
        self.on, self.on_at = False, 0
        self.enabled = self.startStopSyncEnabled = False
        self.peers = 0
        self.quantum = 0.0
        Link.made.append(self)

    def clock(self) -> FakeClock:
        return FakeClock()

    def numPeers(self) -> int:
        return self.peers

    def captureAppSessionState(self) -> FakeState:
        return FakeState(self)

    def commitAppSessionState(self, state: FakeState) -> None:
        self.at, self.beat, self.bpm = state.at, state.beat, state.bpm
        self.on, self.on_at, self.quantum = state.on, state.on_at, state.quantum
