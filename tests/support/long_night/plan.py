"""A random DJ set as data: timed actions, generated from a seed, independent of any server.

The same seed gives the same actions, whether they are sent to a server in real time
(`benchmarks/soak.py`) or applied block by block to an offline session (`offline.py`). The simulated
DJ uses everything that four decks offer and makes a mistake now and then, but keeps the music
playing: at nearly all times some deck plays, and nothing turns the master down to silence.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from crowdstream.desk.constants import SAMPLE_PADS
from tests.support.long_night import moves
from tests.support.long_night.bad_input import bad_command, bad_packet
from tests.support.long_night.model import DECKS, Action, Deck, Piece

LOAD_SECONDS = 4.0  # a piece is assumed to be playable this long after its load
RECORD_SECONDS = (5.0, 40.0)
VISIT_SECONDS = (10.0, 120.0)
VISITORS = (
    "subscriber", "poller", "metered", "rude",
    "tab", "tab", "listener", "listener", "rude tab", "deaf listener", "scraper",
)  # fmt: skip
RECORDED = (("master",), ("master", "wav16"), ("master", "float"), ("decks",), ("A", "master"))
SAMPLES = ("short", "blip", "float", "vorbis")  # pieces for the pads
SPOKEN = ("short", "flac 24")  # pieces that serve as announcements
INPUT_LEVEL = 0.05  # the input delivers a tone of full scale
SAMPLE_SECONDS = 5.0  # mean time between two moves of the pads
ANNOUNCE_SECONDS = (60.0, 240.0)
INPUT_SECONDS = 15.0  # mean time between two moves of the live input
# For how long the music or the device of a fault is gone.
FAULT_SECONDS = (10.0, 30.0)
MISTAKE_SHARE = 0.02  # fraction of the actions that are mistakes


class NightPlan:
    """The plan of a seed: `actions()` yields timed actions in order, indefinitely.

    `pieces`: what can be loaded. `bad_files`: names of damaged or mislabelled files. `pace`: mean
    seconds between two moves. `kills`: kinds of processes to kill alternately, about every
    `kill_seconds`; `faults` and `fault_seconds`: the same for other faults. `inputs`: whether there
    is a live input. `records`, `visits`: whether there are recordings and other clients. `rich`:
    probability that a free effect slot is filled, 0 to 1.
    """

    def __init__(
        self,
        seed: int,
        pieces: Sequence[Piece],
        bad_files: Sequence[str] = (),
        pace: float = 1.0,
        kills: Sequence[str] = (),
        kill_seconds: float = 150.0,
        records: bool = True,
        visits: bool = True,
        rich: float = 1.0,
        faults: Sequence[str] = (),
        fault_seconds: float = 300.0,
        inputs: bool = False,
    ) -> None:
        self.random = random.Random(seed)
        self.decks = {letter: Deck(letter) for letter in DECKS}
        self.rich = rich
        self._pieces = list(pieces)
        self._bad_files = list(bad_files)
        self._pace = pace
        self._kills = list(kills)
        self._kill_seconds = kill_seconds
        self._victims: list[str] = []
        self._faults = list(faults)
        self._fault_seconds = fault_seconds
        self._next_faults: list[str] = []
        self.buses: dict[str, dict[int, str]] = {"/bus/1": {}, "/bus/2": {}, "/mix": {}}
        self._serial = 0
        self._queue: list[tuple[float, int, Callable[[float], None] | Action]] = []
        self._pads: dict[int, float] = {}  # loaded ones, and when they are ready
        self._later(0.0, self._step)
        self._later(5.0, self._sample)
        self._later(20.0, self._announce)
        if records:
            self._later(8.0, self._record)
        if visits:
            self._later(3.0, self._visit)
        if self._kills:
            self._later(0.5 * kill_seconds, self._kill)
        if self._faults:
            self._later(0.3 * fault_seconds, self._fault)
        if inputs:
            self.send(1.0, "/input/1/level", INPUT_LEVEL, 0.0)
            self._later(10.0, self._input)

    def actions(self) -> Iterator[Action]:
        """The actions in the order of their times, indefinitely."""
        while True:
            at, _, what = heapq.heappop(self._queue)
            if isinstance(what, Action):
                yield what
            else:
                what(at)

    # Called by moves ------------------------------------------------------------------------

    def do(self, at: float, kind: str, *words: Any) -> None:
        """Schedule an action."""
        self._later(at, Action(at, kind, words))

    def send(self, at: float, address: str, *arguments: Any) -> None:
        """Schedule a message."""
        self.do(at, "send", address, *arguments)

    def _later(self, at: float, what: Callable[[float], None] | Action) -> None:
        self._serial += 1
        heapq.heappush(self._queue, (at, self._serial, what))

    # The DJ --------------------------------------------------------------------------------

    def _step(self, at: float) -> None:
        chance = self.random
        self._later(at + chance.expovariate(1.0 / self._pace), self._step)
        if chance.random() < MISTAKE_SHARE:
            self._mistake(at)
            return
        if not any(deck.plays(at) for deck in self.decks.values()):
            self._restart_music(at)
            return
        deck = self.decks[chance.choice(DECKS)]
        if deck.piece is None:
            self.load(at, deck)
            return
        if not deck.loaded(at):
            return
        names = list(moves.MOVES)
        weights = [moves.MOVES[name][0] for name in names]
        name = chance.choices(names, weights)[0]
        moves.MOVES[name][1](self, at, deck)

    def _restart_music(self, at: float) -> None:
        ready = [deck for deck in self.decks.values() if deck.loaded(at)]
        if ready:
            self.play(at, self.random.choice(ready))
        elif all(deck.piece is None for deck in self.decks.values()):
            self.load(at, self.decks["A"])

    def load(self, at: float, deck: Deck, cue: bool = False) -> None:
        """Load or cue a random piece, and set its beat grid."""
        piece = self.random.choice(self._pieces)
        fraction = self.random.choice((0.0, 0.0, round(self.random.uniform(0.0, 0.5), 3)))
        self.do(at, "cue" if cue else "load", deck.letter, piece.name, fraction)
        deck.piece, deck.ready, deck.until = piece, at + LOAD_SECONDS, 0.0
        deck.armed, deck.grid, deck.loops = cue, True, False
        deck.reverse = False
        deck.cues.clear()
        self.send(at + LOAD_SECONDS / 2, f"/deck/{deck.letter}/grid", piece.bpm, 0.0)

    def play(self, at: float, deck: Deck) -> None:
        """Start the deck; short pieces are looped."""
        assert deck.piece
        loops = deck.piece.seconds < 120.0 or self.random.random() < 0.5
        self.send(at, f"/deck/{deck.letter}/play", 0.0, int(loops))
        deck.start(at, loops)

    def others_play(self, at: float, deck: Deck) -> bool:
        """Whether another deck plays."""
        return any(other.plays(at) for other in self.decks.values() if other is not deck)

    def _mistake(self, at: float) -> None:
        chance = self.random
        choice = chance.random()
        if choice < 0.35:
            self.do(at, "packet", bad_packet(chance))
        elif choice < 0.7 or not self._bad_files:
            self.send(at, *bad_command(chance))
        else:
            self.do(at, "bad file", chance.choice(DECKS), chance.choice(self._bad_files))

    # Pads and announcements ------------------------------------------------------------------

    def _sample(self, at: float) -> None:
        chance = self.random
        self._later(at + chance.expovariate(1.0 / (SAMPLE_SECONDS * self._pace)), self._sample)
        pad = chance.randint(1, SAMPLE_PADS)
        ready = self._pads.get(pad)
        base = f"/sample/{pad}"
        if ready is None:
            self.do(at, "sample", pad, self._short_piece(SAMPLES))
            self._pads[pad] = at + LOAD_SECONDS
        elif at > ready:
            kind = chance.randrange(8)
            if kind <= 2:
                self.send(at, f"{base}/play")
                self.send(at + chance.uniform(1.0, 10.0), f"{base}/stop")
            elif kind == 3:
                self.send(at, f"{base}/level", round(chance.uniform(0.2, 1.0), 2), 0.5)
            elif kind == 4:
                self.send(at, f"{base}/loop", chance.randint(0, 1))
            elif kind == 5:
                self.send(at, f"{base}/quantize", chance.choice((0.0, 1.0, 4.0)))
            elif kind == 6:
                self.send(at, f"{base}/output", chance.choice(("master", "cue", "both")))
            else:
                self.send(at, f"{base}/unload")
                del self._pads[pad]

    def _short_piece(self, names: Sequence[str]) -> str:
        # One of these pieces, or any piece if all of them are missing.
        there = [piece.name for piece in self._pieces if piece.name in names]
        return self.random.choice(there or [piece.name for piece in self._pieces])

    def _announce(self, at: float) -> None:
        chance = self.random
        self._later(at + chance.uniform(*ANNOUNCE_SECONDS), self._announce)
        for _ in range(chance.choice((1, 1, 2))):
            self.do(at, "announce", self._short_piece(SPOKEN))
        if chance.random() < 0.2:
            what = chance.choice(("/announce/skip", "/announce/clear"))
            self.send(at + chance.uniform(1.0, 6.0), what)

    # The live input ----------------------------------------------------------------------------

    def _input(self, at: float) -> None:
        chance = self.random
        self._later(at + chance.expovariate(1.0 / (INPUT_SECONDS * self._pace)), self._input)
        base = "/input/1"
        kind = chance.randrange(6)
        if kind <= 1:
            level = round(INPUT_LEVEL * chance.uniform(0.2, 1.0), 3)
            self.send(at, f"{base}/level", level, 0.5)
        elif kind == 2:
            band = chance.choice(("low", "mid", "high"))
            self.send(at, f"{base}/eq/{band}", round(chance.uniform(0.5, 1.5), 2), 0.2)
        elif kind == 3:
            self.send(at, f"{base}/filter", round(chance.uniform(-0.3, 0.3), 2), 0.5)
        elif kind == 4:
            self.send(at, f"{base}/mute", 1)
            self.send(at + chance.uniform(1.0, 8.0), f"{base}/mute", 0)
        else:
            self.send(at, f"{base}/talkover", 1)
            self.send(at + chance.uniform(1.0, 4.0), f"{base}/talkover", 0)

    # Recordings, clients, kills --------------------------------------------------------------

    def _record(self, at: float) -> None:
        lasts = self.random.uniform(*RECORD_SECONDS)
        form = self.random.choice((".wav", ".wav", ".flac"))
        what = self.random.choice(RECORDED)
        if form == ".flac":
            what = what[:1]
        self.do(at, "record", form, *what)
        self.do(at + lasts, "record stop")
        self._later(at + lasts + self.random.uniform(10.0, 60.0), self._record)

    def _visit(self, at: float) -> None:
        stays = self.random.uniform(*VISIT_SECONDS)
        self.do(at, "visitor", self.random.choice(VISITORS), stays)
        self._later(at + self.random.uniform(3.0, 20.0), self._visit)

    def _kill(self, at: float) -> None:
        if not self._victims:
            self._victims = list(self._kills)
            self.random.shuffle(self._victims)
        self.do(at, "kill", self._victims.pop())
        self._later(at + self._kill_seconds * self.random.uniform(0.6, 1.4), self._kill)

    def _fault(self, at: float) -> None:
        if not self._next_faults:
            self._next_faults = list(self._faults)
            self.random.shuffle(self._next_faults)
        self.do(at, "fault", self._next_faults.pop(), self.random.uniform(*FAULT_SECONDS))
        self._later(at + self._fault_seconds * self.random.uniform(0.6, 1.4), self._fault)
