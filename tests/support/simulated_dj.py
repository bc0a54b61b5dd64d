"""A DJ and a server on a clock that only rendering advances: minutes in a second."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from crowdstream.commands.registry import DECK_LETTERS
from crowdstream.desk.snapshot import read_moment
from crowdstream.dj.autopilot.crowd import CrowdInput
from crowdstream.dj.autopilot.server_link import ServerLink
from crowdstream.dj.autopilot.session import Session
from crowdstream.dj.autopilot.track_selector import EndlessSelector, TrackSelector
from crowdstream.dj.planning.candidates import of_analyses
from crowdstream.dj.planning.planner import Planner, Wishes
from crowdstream.dj.setfile.model import AutomationPoint, Set, SetEntry, Transition
from crowdstream.osc.codec import build
from tests.support.offline_server import Rig, write
from tests.support.track_analyses import analysis

RATE = 8000  # Hz; low, because a DJ mostly waits
BLOCK = 256  # 32 ms; a DJ acts every 25 ms
BPM = 240.0
HOLE_SECONDS = 0.05  # silence that counts as a gap
WAY = Transition(
    "bass swap",
    2,
    (
        AutomationPoint(0, "in", "low", 0.0),
        AutomationPoint(4, "out", "low", 0.0),
        AutomationPoint(4, "in", "low", 1.0),
    ),
)


def made(
    folder: Path,
    names: str,
    beats: int = 64,
    leave: float = 48.0,
    bpm: float = BPM,
    rate: int = RATE,
) -> Set:
    """Return a set of tones. Each is left after `leave` beats, the last 8 with the next one."""
    entries = []
    for number, name in enumerate(names):
        path = folder / f"{name}.wav"
        when = np.arange(round(beats * 60.0 / bpm * rate)) / rate
        tone = 0.1 * np.sin(2 * np.pi * (220 + 110 * number) * when)
        write(path, np.stack([tone, tone], 1), rate)
        anchors = ((0.0, 0.0), (1.0, 60.0 / bpm))
        last = number == len(names) - 1
        entries.append(SetEntry(str(path), anchors, 0.0, leave, transition=None if last else WAY))
    return Set(bpm, tuple(entries))


class Way:
    """A fake socket between a DJ and the simulated server, with its clock."""

    def __init__(self, sim: SimulatedDj, sender: tuple[str, int]) -> None:
        self.sender = sender
        self.sim = sim
        self.come: deque[bytes] = deque()
        self.later = 0.0

    def now(self) -> float:
        return self.sim.time + self.later

    def send(self, data: bytes) -> int:
        if self.sender in self.sim.ways:
            self.sim.packet(data, self.sender)
        return len(data)

    def recv(self, _size: int) -> bytes:
        if not self.come:
            raise BlockingIOError
        return self.come.popleft()

    def close(self) -> None:
        self.sim.ways.pop(self.sender, None)


class SimulatedDj(Rig):
    """A rig with DJs that play on it. Messages without a sender come from a person."""

    def __init__(
        self, memory_mb: int = 64, block: int = BLOCK, rate: int = RATE, **settings: Any
    ) -> None:
        self.ways: dict[Any, Way] = {}
        self.djs: list[Session] = []
        self.holes: list[tuple[float, float]] = []  # begin and length, s
        self.block_out = np.zeros((0, 2), np.float32)
        self._silent = 0
        super().__init__(
            memory_mb=memory_mb, block=block, rate=rate, base_bpm=BPM, **settings
        )

    def answer(self, sender: Any, address: str, *arguments: Any) -> None:
        if sender in self.ways:
            self.ways[sender].come.append(build(address, arguments))
        else:
            super().answer(sender, address, *arguments)

    def join(self, chooser: TrackSelector, floor: CrowdInput | None = None) -> Session:
        """Start a DJ."""
        way = Way(self, ("127.0.0.1", 40000 + len(self.djs)))
        self.ways[way.sender] = way
        dj = Session(ServerLink(way, way.now), chooser, floor or CrowdInput(None), way.now)
        self.djs.append(dj)
        return dj

    def die(self, dj: Session, seconds: float, after: SimulatedDj) -> None:
        """End this server while a DJ uses it; `seconds` later `after` takes its place."""
        (way,) = self.ways.values()
        self.ways.clear()
        for _ in range(round(seconds * 40)):
            way.later += 0.025
            dj.tick()
        way.later += self.time - after.time
        way.sim, after.ways, after.djs = after, {way.sender: way}, [dj]

    def leave(self, dj: Session) -> None:
        """End a DJ."""
        self.djs.remove(dj)

    def step(self, frames: int | None = None) -> None:
        for dj in self.djs:
            if not dj.player.state.finished:
                dj.tick()
        block = self.render(self.block if frames is None else frames)
        self.block_out = block
        self._listen(block)
        self.load(self.pages_a_block)

    def _listen(self, block: np.ndarray) -> None:
        sounding = np.flatnonzero(np.abs(block).max(axis=1) > 1e-4)
        if not len(sounding):
            self._silent += len(block)
            return
        gaps = np.diff(sounding) - 1
        rate, hole = self.rate, round(HOLE_SECONDS * self.rate)
        first = self._silent + int(sounding[0])
        begin = self.desk.frame - len(block)
        if first > hole:
            self.holes.append((begin / rate, first / rate))
        for at in np.flatnonzero(gaps > hole).tolist():
            self.holes.append(((begin + int(sounding[at])) / rate, int(gaps[at]) / rate))
        self._silent = len(block) - 1 - int(sounding[-1])

    def until(self, condition: Callable[[], Any], seconds: float = 120.0) -> None:
        """Play until a condition is true; fails after `seconds`."""
        end = self.time + seconds
        while not condition():
            notes = [dj.player.state.note for dj in self.djs]
            assert self.time < end, f"it did not happen: {notes}"
            self.step()

    def deck(self, letter: str, name: str) -> Any:
        """Return a reading of a deck."""
        number = DECK_LETTERS.index(letter)
        return self.core.status.deck_readings(number, read_moment(self.desk))[name]


def plays(dj: Session) -> str:
    """Return the name of the track that is currently the main one."""
    mix, index = dj.player.state.mix, dj.player.state.index
    return "" if mix is None or index < 0 else Path(mix.entries[index].path).stem


def meeting(sim: SimulatedDj, out: str, into: str) -> float:
    """Return the beat of deck `out` at which deck `into` starts with its own beat 0."""
    sim.until(lambda: sim.deck(into, "state") == "playing")
    status = sim.status()
    assert abs(status[f"deck.{into}.phase"]) < 1e-3 > abs(status[f"deck.{out}.phase"])
    return float(status[f"deck.{out}.beat"] - status[f"deck.{into}.beat"])


def endless(folder: Path, names: str, bpm: float = BPM) -> EndlessSelector:
    """Return a selector for a library of short tracks of different energy, `a` the calmest."""
    paths = [entry.path for entry in made(folder, names, beats=100, bpm=bpm).entries]
    keys = ("8A", "9A", "8A", "7A")
    shelf = of_analyses({
        path: analysis(bpm, keys[number % 4], number / len(paths), 24, (), sung=())
        for number, path in enumerate(paths)
    })  # fmt: skip
    return EndlessSelector(lambda cards: Planner(cards, Wishes()), lambda: shelf, lambda: 0.0)


def ask(sim: SimulatedDj, word: str, *arguments: object) -> str:
    """Send the DJ a command like a person; return the reason of a refusal, or nothing."""
    sim.answers.said.clear()
    sim.send(f"/dj/{word}", *arguments)
    sim.until(lambda: sim.heard("/done") or sim.fails(), 10.0)
    return "".join(sim.fails())


def coming(dj: Session) -> str:
    mix = dj.player.state.mix
    return Path(mix.entries[1].path).stem if mix is not None and len(mix.entries) > 1 else ""
