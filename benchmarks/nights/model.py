"""What a night is made of: pieces that can be loaded, actions, and a deck as its DJ knows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

DECKS = "ABCD"
FASTEST = 1.5  # no piece goes faster: tempos are within a sixth of the base, rates a tenth


@dataclass(frozen=True)
class Piece:
    """Something to load: `stems` files of `seconds` at `bpm`, written as `form`."""

    name: str
    seconds: float
    stems: int
    bpm: float
    form: str


@dataclass(frozen=True)
class Action:
    """Something that is done `at` seconds after the night's beginning.

    `kind` and `words`: `say` address, arguments ...; `together` seconds ahead, messages (each
    address, arguments ...); `load` or `cue` deck, piece, fraction; `bad file` deck, name;
    `packet` bytes; `record` what is recorded ...; `record stop`; `visitor` kind, seconds;
    `kill` victim.
    """

    at: float
    kind: str
    words: tuple[Any, ...] = ()


@dataclass
class Deck:
    """A deck as far as the DJ knows: nobody asks the server. Times in seconds of the night."""

    letter: str
    piece: Piece | None = None
    armed: bool = False
    ready: float = 0.0  # from when on what was loaded can be counted on
    until: float = 0.0  # it plays until then at least
    loops: bool = False
    grid: bool = False
    synced: bool = False
    keylock: bool = False
    reverse: bool = False
    level: float = 1.0
    cues: set[int] = field(default_factory=set)
    effects: dict[int, str] = field(default_factory=dict)

    def plays(self, now: float) -> bool:
        """Whether it surely sounds."""
        return self.piece is not None and now < self.until

    def loaded(self, now: float) -> bool:
        """Whether it surely has a track that can be played."""
        return self.piece is not None and now >= self.ready

    def start(self, now: float, loops: bool) -> None:
        """It has been started."""
        assert self.piece
        self.loops = loops
        self.until = float("inf") if loops else now + self.piece.seconds / FASTEST

    def left(self, now: float, fraction: float, margin: float = 0.0) -> None:
        """It has jumped: from now on so much of the piece is left, less `margin` seconds."""
        assert self.piece
        if not self.loops:
            left = (self.piece.seconds * fraction - margin) / FASTEST
            self.until = min(self.until, now + left)
