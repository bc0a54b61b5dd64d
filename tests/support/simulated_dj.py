"""A DJ session and a server on a clock that rendering advances: minutes of mixing in a second."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from crowdstream.commands.registry import DECK_LETTERS
from crowdstream.desk.snapshot import read_snapshot
from crowdstream.dj.autopilot.crowd import CrowdInput
from crowdstream.dj.autopilot.server_link import ServerLink
from crowdstream.dj.autopilot.session import Session
from crowdstream.dj.autopilot.track_selector import EndlessSelector, TrackSelector
from crowdstream.dj.planning.candidates import Candidates, of_analyses
from crowdstream.dj.planning.planner import Planner, PlanOptions
from crowdstream.dj.setfile.model import AutomationPoint, Set, SetEntry, Transition
from crowdstream.osc.codec import build
from crowdstream.system.text import folded
from tests.support.offline_server import Rig, write
from tests.support.track_analyses import analysis

RATE = 8000  # low, as a DJ mostly waits
BLOCK = 256  # 32 ms; a DJ acts every 25 ms
BPM = 240.0
GAP_SECONDS = 0.05  # a longer silence is an audible gap
BASS_SWAP = Transition(
    "bass swap",
    2,
    (
        AutomationPoint(0, "in", "low", 0.0),
        AutomationPoint(4, "out", "low", 0.0),
        AutomationPoint(4, "in", "low", 1.0),
    ),
)


def tone_set(
    folder: Path,
    names: Sequence[str],
    beats: int = 64,
    leave: float = 48.0,
    bpm: float = BPM,
    rate: int = RATE,
) -> Set:
    """Return a set of tones. Each is `leave` beats long and overlaps the next by 8 beats."""
    entries = []
    for number, name in enumerate(names):
        path = folder / f"{name}.wav"
        when = np.arange(round(beats * 60.0 / bpm * rate)) / rate
        tone = 0.1 * np.sin(2 * np.pi * (220 + 110 * number) * when)
        write(path, np.stack([tone, tone], 1), rate)
        anchors = ((0.0, 0.0), (1.0, 60.0 / bpm))
        last = number == len(names) - 1
        entries.append(
            SetEntry(str(path), anchors, 0.0, leave, transition=None if last else BASS_SWAP)
        )
    return Set(bpm, tuple(entries))


class SimulatedTransport:
    """A transport between a DJ and a simulated server, and the clock of both."""

    def __init__(self, sim: SimulatedDj, sender: tuple[str, int]) -> None:
        self.sender = sender
        self.sim = sim
        self.received: deque[bytes] = deque()
        self.later = 0.0

    def now(self) -> float:
        return self.sim.time + self.later

    def send(self, data: bytes) -> int:
        if self.sender in self.sim.transports:
            self.sim.packet(data, self.sender)
        return len(data)

    def recv(self, _size: int) -> bytes:
        if not self.received:
            raise BlockingIOError
        return self.received.popleft()

    def close(self) -> None:
        self.sim.transports.pop(self.sender, None)


class SimulatedDj(Rig):
    """A server rig with DJ sessions that play on it."""

    def __init__(
        self, memory_mb: int = 64, block: int = BLOCK, rate: int = RATE, **settings: Any
    ) -> None:
        self.transports: dict[Any, SimulatedTransport] = {}
        self.djs: list[Session] = []
        self.gaps: list[tuple[float, float]] = []  # start and length in seconds
        self.block_out = np.zeros((0, 2), np.float32)
        self._silent = 0
        super().__init__(memory_mb=memory_mb, block=block, rate=rate, base_bpm=BPM, **settings)

    def answer(self, sender: Any, address: str, *arguments: Any) -> None:
        if sender in self.transports:
            self.transports[sender].received.append(build(address, arguments))
        else:
            super().answer(sender, address, *arguments)

    def start_dj(self, selector: TrackSelector, crowd: CrowdInput | None = None) -> Session:
        """Start a DJ session."""
        transport = SimulatedTransport(self, ("127.0.0.1", 40000 + len(self.djs)))
        self.transports[transport.sender] = transport
        dj = Session(
            ServerLink(transport, transport.now), selector, crowd or CrowdInput(None), transport.now
        )
        self.djs.append(dj)
        return dj

    def crash_server(self, dj: Session, seconds: float, after: SimulatedDj) -> None:
        """Kill this server under a DJ; `seconds` later, the server `after` takes its place."""
        (transport,) = self.transports.values()
        self.transports.clear()
        for _ in range(round(seconds * 40)):
            transport.later += 0.025
            dj.tick()
        transport.later += self.time - after.time
        transport.sim, after.transports, after.djs = after, {transport.sender: transport}, [dj]

    def kill_dj(self, dj: Session) -> None:
        """Kill a DJ session."""
        self.djs.remove(dj)

    def step(self, frames: int | None = None) -> None:
        for dj in self.djs:
            if not dj.player.state.finished:
                dj.tick()
        block = self.render(self.block if frames is None else frames)
        self.block_out = block
        self._find_gaps(block)
        self.load(self.pages_a_block)

    def _find_gaps(self, block: np.ndarray) -> None:
        audible = np.flatnonzero(np.abs(block).max(axis=1) > 1e-4)
        if not len(audible):
            self._silent += len(block)
            return
        silences = np.diff(audible) - 1
        rate, shortest = self.rate, round(GAP_SECONDS * self.rate)
        first = self._silent + int(audible[0])
        begin = self.desk.frame - len(block)
        if first > shortest:
            self.gaps.append((begin / rate, first / rate))
        for at in np.flatnonzero(silences > shortest).tolist():
            self.gaps.append(((begin + int(audible[at])) / rate, int(silences[at]) / rate))
        self._silent = len(block) - 1 - int(audible[-1])

    def until(self, condition: Callable[[], Any], seconds: float = 120.0) -> None:
        """Render until `condition` is true; fail after `seconds`."""
        end = self.time + seconds
        while not condition():
            notes = [dj.player.state.note for dj in self.djs]
            assert self.time < end, f"timed out: {notes}"
            self.step()

    def deck(self, letter: str, name: str) -> Any:
        """Return a field of a deck's status."""
        number = DECK_LETTERS.index(letter)
        return self.core.status.deck_readings(number, read_snapshot(self.desk))[name]


def current_track(dj: Session) -> str:
    """Return the name of the playing track."""
    mix, index = dj.player.state.mix, dj.player.state.index
    return "" if mix is None or index < 0 else Path(mix.entries[index].path).stem


def start_beat(sim: SimulatedDj, out: str, into: str) -> float:
    """Return the beat of deck `out` at which deck `into` starts, at its own beat 0."""
    sim.until(lambda: sim.deck(into, "state") == "playing")
    status = sim.status()
    assert abs(status[f"deck.{into}.phase"]) < 1e-3 > abs(status[f"deck.{out}.phase"])
    return float(status[f"deck.{out}.beat"] - status[f"deck.{into}.beat"])


def endless(
    folder: Path, names: str, bpm: float = BPM, tags: Mapping[str, Sequence[str]] | None = None
) -> EndlessSelector:
    """Return a selector for short tracks of different energy; `a` is the calmest.

    `tags`: of some of them, by name.
    """
    paths = [entry.path for entry in tone_set(folder, names, beats=100, bpm=bpm).entries]
    keys = ("8A", "9A", "8A", "7A")
    analyses = {
        path: analysis(bpm, keys[number % 4], number / len(paths), 24, (), sung=())
        for number, path in enumerate(paths)
    }
    given = dict(zip(paths, map((tags or {}).get, names), strict=True))
    cards = [
        replace(card, tags=frozenset(map(folded, given[card.path] or ())))
        for card in of_analyses(analyses).cards
    ]
    candidates = Candidates(cards, analyses.__getitem__)
    return EndlessSelector(
        lambda cards: Planner(cards, PlanOptions()), lambda: candidates, lambda: 0.0
    )


def dj_command(sim: SimulatedDj, name: str, *arguments: object) -> str:
    """Send the DJ a command as a person; return the reason if it is refused."""
    sim.answers.said.clear()
    sim.send(f"/dj/{name}", *arguments)
    sim.until(lambda: sim.heard("/done") or sim.fails(), 10.0)
    return "".join(sim.fails())


def next_track(dj: Session) -> str:
    mix = dj.player.state.mix
    return Path(mix.entries[1].path).stem if mix is not None and len(mix.entries) > 1 else ""
