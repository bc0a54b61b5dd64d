"""A Link session in virtual time, and a track whose position shows a deck's beat."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.offline_server import Rig, write

LOW_RATE = 8000
TRACK_SECONDS = 400.0
LATENCY = 0.03  # s
POLL = 0.02  # s between two looks at the session, as of the Link process


class FakeSession:
    """The Link process of a rig: reports a session, and carries out what control sends.

    `peers` other peers play `beat_at(time)`. `drift`: by how much their clock is fast.
    """

    def __init__(self, rig: Rig, bpm: float = 120.0, beat: float = 0.0, peers: int = 1) -> None:
        self.rig = rig
        self.peers = peers
        self.drift = 0.0
        self.silent = False
        self.kills = 0
        self.playing, self.play_at = False, 0.0
        self.sent: list[dict[str, Any]] = []
        self.enabled = True
        self._at, self._beat, self.bpm = rig.time, beat, bpm
        self._reported: tuple[Any, ...] = ()
        self._look_at = self._report_at = 0.0
        rig.desk.clock["latency"] = LATENCY
        rig.core.link.attach(self)
        rig.core.link.started()

    # What control sees of the process

    def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        if message["do"] == "timeline":
            self._at, self._beat, self.bpm = message["at"], message["beat"], message["bpm"]
        elif message["do"] == "tempo":
            self.set_tempo(message["bpm"], message["at"])
        elif message["do"] == "play":
            self.playing, self.play_at = message["on"], message["at"]

    def enable(self, on: bool) -> None:
        self.enabled = on

    def kill(self) -> None:
        self.kills += 1

    # What the other peers do

    def beat_at(self, time: float) -> float:
        """The session's beat at a monotonic time."""
        return self._beat + (time - self._at) * (1.0 + self.drift) * self.bpm / 60.0

    def set_tempo(self, bpm: float, at: float | None = None) -> None:
        """Change the tempo; the beats stay continuous."""
        at = self.rig.time if at is None else at
        self._at, self._beat, self.bpm = at, self.beat_at(at), bpm

    def move(self, beats: float) -> None:
        """Move all beats."""
        self._beat += beats

    def play(self, on: bool, delay: float = 0.0) -> None:
        """Start or stop the transport."""
        self.playing, self.play_at = on, self.rig.time + delay

    # Time

    def report(self, **changed: Any) -> None:
        """Report the session now."""
        now = self.rig.time
        self.rig.core.link.handle({
            "event": "session", "at": now, "beat": self.beat_at(now), "bpm": self.bpm,
            "peers": self.peers, "playing": self.playing, "play_at": self.play_at, **changed,
        })

    def _look(self) -> None:
        now = self.rig.time
        if now < self._look_at or self.silent or not self.enabled:
            return
        self._look_at = now + POLL
        seen = (self._at, self._beat, self.bpm, self.peers, self.playing)
        if seen != self._reported or now >= self._report_at:
            self._reported, self._report_at = seen, now + 1.0
            self.report()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.rig.time + seconds
        while self.rig.time < until:
            self.step()

    def step(self) -> None:
        """Let one block pass."""
        self.rig.step()
        self._look()

    def deviations(self, seconds: float, per_beat: float = 1.0, quantum: float = 1.0) -> np.ndarray:
        """Run, and return after each block by how many ms deck A's beats are late.

        `per_beat`: beats of the session per beat of the deck. `quantum`: in beats of the session.
        """
        found = []
        until = self.rig.time + seconds
        while self.rig.time < until:
            self.step()
            beats = self.beat_at(self.rig.time + LATENCY) - deck_beat(self.rig) * per_beat
            found.append((beats - quantum * round(beats / quantum)) * 60000.0 / self.bpm)
        return np.array(found)


def deck_beat(rig: Rig) -> float:
    """Beat of deck A's track at the next frame that is rendered, from its position in the file."""
    track = rig.core.deck_manager.playing(0)
    assert track.grid is not None and track.voice is not None
    voice = rig.desk.voices[track.voice]
    return track.grid.beat(int(voice["position"]) + float(voice["fraction"]))


def synced_deck(rig: Rig, folder: Path, bpm: float = 120.0, quantum: float = 4.0) -> None:
    """Play a silent track on deck A, synced to the clock."""
    file = write(folder / "track.wav", np.zeros((round(TRACK_SECONDS * rig.rate), 1)), rig.rate)
    rig.send("/deck/A/load", str(file))
    rig.run(1024)
    rig.send("/deck/A/grid", bpm)
    rig.send("/deck/A/sync", 1, quantum)
    rig.send("/deck/A/play", 0.0, 1)
    rig.run(4096)
    assert rig.fails() == []
    assert math.isfinite(deck_beat(rig))
