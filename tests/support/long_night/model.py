"""The vocabulary of a long night: pieces of music, actions, and the assumed state of a deck."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

DECKS = "ABCD"
MAX_RATE = 1.5  # tempos stay within a sixth of the base tempo, rates within a tenth of 1


@dataclass(frozen=True)
class Piece:
    """A track: `stems` files of `seconds` at `bpm`, in the format `form` (see `files.FORMS`)."""

    name: str
    seconds: float
    stems: int
    bpm: float
    form: str


@dataclass(frozen=True)
class Action:
    """An action `at` seconds after the beginning of the night.

    `kind` and `words`: `send` address, arguments ...; `together` seconds ahead, messages (each
    address, arguments ...); `load` or `cue` deck, piece, fraction; `bad file` deck, name;
    `sample` pad, piece; `announce` piece; `packet` bytes; `record` suffix, sources ...;
    `record stop`; `visitor` kind, seconds; `kill` kind of process; `fault` kind, seconds.
    """

    at: float
    kind: str
    words: tuple[Any, ...] = ()


@dataclass
class Deck:
    """The state of a deck as the plan assumes it, without asking a server. Times in seconds."""

    letter: str
    piece: Piece | None = None
    armed: bool = False
    ready: float = 0.0  # the track is assumed to be loaded from then on
    until: float = 0.0  # the deck plays at least until then
    loops: bool = False
    grid: bool = False
    synced: bool = False
    keylock: bool = False
    reverse: bool = False
    level: float = 1.0
    cues: set[int] = field(default_factory=set)
    effects: dict[int, str] = field(default_factory=dict)

    def plays(self, now: float) -> bool:
        """Whether the deck certainly plays."""
        return self.piece is not None and now < self.until

    def loaded(self, now: float) -> bool:
        """Whether the deck certainly has a track that can be played."""
        return self.piece is not None and now >= self.ready

    def start(self, now: float, loops: bool) -> None:
        """Note that the deck was started."""
        assert self.piece
        self.loops = loops
        self.until = float("inf") if loops else now + self.piece.seconds / MAX_RATE

    def left(self, now: float, fraction: float, margin: float = 0.0) -> None:
        """Note a jump: `fraction` of the piece remains to be played, less `margin` seconds."""
        assert self.piece
        if not self.loops:
            left = (self.piece.seconds * fraction - margin) / MAX_RATE
            self.until = min(self.until, now + left)
