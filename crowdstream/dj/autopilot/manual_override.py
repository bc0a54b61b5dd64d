"""Manual control: a deck that a person touches is theirs until it is released."""

from __future__ import annotations

import re
from typing import Any

DECKS = "ABCD"
RELEASE_SECONDS = 20.0  # after its last touch, a stopped deck returns to the DJ
_DECK = re.compile(r"/deck/([A-Da-d])/(.*)")
# Commands that do not change what a deck contributes to the master. `listen` is an alias of `pfl`.
_HARMLESS = ("pfl", "listen", "quantize", "hotcue/set", "hotcue/clear")
_LETTERS = ("/cue", "/play", "/fade", "/deck_filter", "/deck_eq", "/deck_eq_all")
_BUFFERS = ("/load_buffer", "/play_stem", "/play_stem_section", "/stop_stem", "/stem_volume")
_TEMPO = ("/clock/tempo", "/set_tempo")
TEMPO = "tempo"


def affected(address: str, arguments: tuple[Any, ...]) -> set[str]:
    """Return what a command affects: letters of decks, and `tempo`."""
    found = _DECK.fullmatch(address)
    if found:
        return set() if found[2].endswith(_HARMLESS) else {found[1].upper()}
    if address in _TEMPO:
        return {TEMPO}
    if address in _LETTERS:
        return {str(arguments[0])} & set(DECKS) if arguments else set()
    if address in _BUFFERS and arguments:
        return {DECKS[(int(arguments[0]) - 100) // 1000 % len(DECKS)]}
    if address == "/start_group":
        return {str(one) for one in arguments} & set(DECKS)
    if address == "/deck_levels":
        return set(DECKS[: len(arguments)])
    if address == "/crossfade_levels":
        return {"A", "B"}
    if address == "/schedule_c_at":
        return {"C"}
    return set(DECKS) if address == "/mixer_cleanup" else set()


class ManualOverride:
    """The decks, and the tempo, that are under manual control."""

    def __init__(self) -> None:
        self._touched: dict[str, float] = {}

    def __contains__(self, what: object) -> bool:
        return what in self._touched

    def __iter__(self) -> Any:
        return iter(sorted(self._touched))

    def take(self, what: str, now: float) -> bool:
        """Mark a deck or the tempo as touched by a person; return whether that is new."""
        new = what not in self._touched
        self._touched[what] = now
        return new

    def release(self, what: str) -> list[str]:
        """Release a deck, the tempo, or `all`; return what was released."""
        released = list(self._touched) if what == "all" else [what] if what in self._touched else []
        for one in released:
            del self._touched[one]
        return released

    def tick(self, now: float, stopped: set[str]) -> list[str]:
        """Release decks that stopped a while ago; return them. `stopped`: stopped decks."""
        over = [
            deck for deck, when in self._touched.items()
            if deck in stopped and now - when > RELEASE_SECONDS
        ]
        for deck in over:
            del self._touched[deck]
        return over
