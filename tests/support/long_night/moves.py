"""The moves of the simulated DJ on a deck that has a track, each with its weight.

A move is called with the plan, the time and the deck, and schedules its actions. If the move is
not possible at that time, it schedules nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.support.long_night.model import DECKS, Deck

if TYPE_CHECKING:
    from tests.support.long_night.plan import NightPlan

Move = Callable[["NightPlan", float, Deck], None]

TEMPOS = (104.0, 138.0)  # synced and not, no deck comes near the limits of its rate
QUANTA: tuple[Any, ...] = (1.0, 4.0, "beat", "bar")
# For each effect a parameter and the range it is moved in; no value silences the deck.
MODULES: dict[str, tuple[str, float, float]] = {
    "compressor": ("threshold", -40.0, -6.0), "crusher": ("bits", 6.0, 12.0),
    "drive": ("drive", 3.0, 15.0), "echo": ("feedback", 0.1, 0.8),
    "flanger": ("depth", 0.2, 1.0), "gate": ("depth", 0.2, 0.8),
    "reverb": ("decay", 0.4, 6.0), "riser": ("position", 0.0, 1.0), "roll": ("beats", 0.25, 1.0),
}  # fmt: skip
_OFF_AT_FIRST = ("riser", "roll")
SLOTS = 4


def _transport(night: NightPlan, at: float, deck: Deck) -> None:
    # Start the deck, or stop it while another one plays.
    chance = night.random
    letter = deck.letter
    if not deck.plays(at):
        if deck.armed:
            _group(night, at, deck)
        elif chance.random() < 0.3:
            night.send(at, "/clock/next", chance.choice(QUANTA), f"/deck/{letter}/play", 0.0, 1)
            deck.start(at + 4.0, True)
        else:
            night.play(at, deck)
    elif night.others_play(at, deck) and chance.random() < 0.3:
        night.send(at, f"/deck/{letter}/stop")
        deck.until = 0.0


def _group(night: NightPlan, at: float, deck: Deck) -> None:
    letters = [one.letter for one in night.decks.values() if one.armed and one.loaded(at)]
    night.send(at, "/start_group", 0.0, *letters)
    for letter in letters:
        night.decks[letter].armed = False
        night.decks[letter].start(at, False)
    # Cued tracks end unless a loop is set.
    night.send(at + 0.5, f"/deck/{deck.letter}/loop/set", 0.5, 4.5)


def _change(night: NightPlan, at: float, deck: Deck) -> None:
    # Another track, unless this deck is the only one that plays.
    if not night.others_play(at, deck):
        return
    chance = night.random
    if chance.random() < 0.3:
        night.send(at, f"/deck/{deck.letter}/unload")
        deck.piece, deck.until = None, 0.0
    else:
        night.load(at, deck, cue=chance.random() < 0.3)


def _seek(night: NightPlan, at: float, deck: Deck) -> None:
    assert deck.piece
    chance = night.random
    base = f"/deck/{deck.letter}"
    fraction = round(chance.uniform(0.0, 0.6), 3)
    kind = chance.randrange(4)
    if kind == 0:
        night.send(at, f"{base}/seek", fraction * deck.piece.seconds)
    elif kind == 1:
        night.send(at, f"{base}/seek/fraction", fraction)
    elif kind == 2:
        beats = fraction * deck.piece.seconds * deck.piece.bpm / 60.0
        night.send(at, f"{base}/seek/beat", float(int(beats)))
    else:
        night.send(at, f"{base}/jump", float(chance.choice((-8, -4, -1, 1, 4))))
        if not deck.loops:
            deck.until -= 4.0
        return
    deck.left(at, 1.0 - fraction, 2.0)


def _loop(night: NightPlan, at: float, deck: Deck) -> None:
    chance = night.random
    base = f"/deck/{deck.letter}/loop"
    if not deck.plays(at):
        return
    kind = chance.randrange(3)
    if kind == 0:
        night.send(at, base, chance.choice((0.5, 1.0, 2.0, 4.0, 8.0)), chance.choice((0.0, 1.0)))
    elif kind == 1:
        night.send(at, f"{base}/in", 1.0)
        night.send(at + chance.uniform(1.0, 4.0), f"{base}/out", 1.0)
    else:
        begin = chance.uniform(0.0, 4.0)
        night.send(at, f"{base}/set", begin, begin + chance.uniform(0.1, 3.5))
    for number in range(chance.randrange(4)):
        what: tuple[Any, ...] = chance.choice((("halve",), ("double",), ("move", 1.0), ("reloop",)))
        night.send(at + 1.5 * number + 1.0, f"{base}/{what[0]}", *what[1:])
    night.send(at + chance.uniform(6.0, 15.0), f"{base}/exit")


def _hot_cue(night: NightPlan, at: float, deck: Deck) -> None:
    assert deck.piece
    chance = night.random
    base = f"/deck/{deck.letter}/hotcue"
    number = chance.randint(1, 8)
    if number not in deck.cues:
        place = round(chance.uniform(0.0, 0.5) * deck.piece.seconds, 2)
        night.send(at, f"{base}/set", number, place)
        deck.cues.add(number)
    elif chance.random() < 0.2:
        night.send(at, f"{base}/clear", number)
        deck.cues.discard(number)
    else:
        night.send(at, base, number)
        deck.left(at, 0.5, 2.0)


def _platter(night: NightPlan, at: float, deck: Deck) -> None:
    chance = night.random
    base = f"/deck/{deck.letter}"
    kind = chance.randrange(3)
    if kind == 0 and deck.plays(at):
        night.send(at, f"{base}/brake", chance.uniform(0.1, 1.5), 0)
        night.send(at + chance.uniform(1.0, 3.0), f"{base}/softstart", chance.uniform(0.1, 1.0))
    elif kind == 1 and deck.plays(at) and deck.loops:
        night.send(at, f"{base}/reverse", 1)
        night.send(at + chance.uniform(0.5, 6.0), f"{base}/reverse", 0)
    elif kind == 2:
        night.send(at, f"{base}/slip", 1)
        night.send(at + chance.uniform(2.0, 10.0), f"{base}/slip", 0)


def _tempo(night: NightPlan, at: float, deck: Deck) -> None:
    chance = night.random
    base = f"/deck/{deck.letter}"
    kind = chance.randrange(6)
    if kind <= 1:
        night.send(at, "/clock/tempo", chance.uniform(*TEMPOS), chance.choice((0.0, 4.0, 16.0)))
    elif kind == 2:
        deck.synced = not deck.synced
        night.send(at, f"{base}/sync", int(deck.synced), *((1.0,) if chance.random() < 0.5 else ()))
    elif kind == 3:
        deck.keylock = not deck.keylock
        night.send(at, f"{base}/keylock", int(deck.keylock))
    elif kind == 4:
        night.send(at, f"{base}/pitch", float(chance.choice((0, 0, 0, -2, 1, 3))))
    else:
        night.send(at, f"{base}/rate", round(chance.uniform(0.9, 1.1), 3))


def _quantize(night: NightPlan, at: float, deck: Deck) -> None:
    night.send(at, f"/deck/{deck.letter}/quantize", night.random.choice((0.0, 0.0, 1.0, 4.0)))


def _mix(night: NightPlan, at: float, deck: Deck) -> None:
    chance = night.random
    base = f"/deck/{deck.letter}"
    kind = chance.randrange(8)
    ramp = chance.choice((0.02, 0.5, 4.0))
    if kind == 0:
        night.send(at, f"{base}/level", round(chance.uniform(0.3, 1.0), 2), ramp)
    elif kind == 1:
        band = chance.choice(("low", "mid", "high"))
        night.send(at, f"{base}/eq/{band}", round(chance.uniform(0.3, 1.5), 2), ramp)
    elif kind == 2:
        band = chance.choice(("low", "mid", "high"))
        night.send(at, f"{base}/kill", band, 1)
        night.send(at + chance.uniform(0.5, 8.0), f"{base}/kill", band, 0)
    elif kind == 3:
        night.send(at, f"{base}/filter", round(chance.uniform(-0.5, 0.5), 2), ramp)
        night.send(at + 5.0, f"{base}/filter", 0.0, ramp)
    elif kind == 4:
        night.send(at, "/mix/crossfader", round(chance.uniform(0.2, 0.8), 2), ramp)
    elif kind == 5:
        night.send(at, f"{base}/crossfader", chance.choice(("left", "right", "through", "through")))
    elif kind == 6:
        curves = ("additive", "constant-power", "cut")
        night.send(at, "/mix/crossfader/curve", chance.choice(curves))
    else:
        night.send(at, f"{base}/trim", round(chance.uniform(-6.0, 3.0), 1), ramp)


def _ride(night: NightPlan, at: float, deck: Deck) -> None:
    # A moving fader: many messages in short intervals.
    steps = night.random.randint(10, 40)
    goal = night.random.uniform(0.3, 1.0)
    for step in range(1, steps + 1):
        level = deck.level + (goal - deck.level) * step / steps
        night.send(at + 0.04 * step, f"/deck/{deck.letter}/level", round(level, 3))
    deck.level = goal


def _stems(night: NightPlan, at: float, deck: Deck) -> None:
    assert deck.piece
    chance = night.random
    number = chance.randint(1, deck.piece.stems)
    base = f"/deck/{deck.letter}/stem/{number}"
    kind = chance.randrange(5)
    if kind == 0:
        night.send(at, base, round(chance.uniform(0.3, 1.0), 2))
    elif kind == 1:
        what = chance.choice(("solo", "mute") if deck.piece.stems > 1 else ("solo",))
        night.send(at, f"{base}/{what}", 1)
        night.send(at + chance.uniform(0.5, 5.0), f"{base}/{what}", 0)
    elif kind == 2:
        night.send(at, f"{base}/eq/mid", round(chance.uniform(0.3, 1.5), 2))
    elif kind == 3:
        night.send(at, f"{base}/filter", round(chance.uniform(-0.4, 0.4), 2))
        night.send(at + 6.0, f"{base}/filter", 0.0)
    else:
        night.send(at, f"{base}/send", chance.randint(1, 2), chance.choice((0.0, 0.5)))


def _send(night: NightPlan, at: float, deck: Deck) -> None:
    chance = night.random
    base = f"/deck/{deck.letter}"
    kind = chance.randrange(4)
    bus = chance.randint(1, 2)
    if kind <= 1:
        night.send(at, f"{base}/send", bus, chance.choice((0.0, 0.3, 0.8)), 0.2)
    elif kind == 2:
        night.send(at, f"{base}/send/pre", bus, chance.randint(0, 1))
    else:
        night.send(at, f"{base}/pfl", chance.choice((0.0, 1.0)))


def _effect(night: NightPlan, at: float, deck: Deck) -> None:
    chance = night.random
    chains = {f"/deck/{deck.letter}": deck.effects, **night.buses}
    base = chance.choice(list(chains))
    chain = chains[base]
    slot = chance.randint(1, SLOTS)
    if slot not in chain:
        if len(chain) >= 2 or chance.random() > night.rich:
            return
        chain[slot] = chance.choice(list(MODULES))
        night.send(at, f"{base}/fx/insert", slot, chain[slot])
        if chain[slot] in _OFF_AT_FIRST:
            night.send(at + 0.5, f"{base}/fx/on", slot, 1)
            night.send(at + chance.uniform(1.0, 4.0), f"{base}/fx/on", slot, 0)
        if chance.random() > night.rich:
            _remove(night, at + chance.uniform(2.0, 10.0), base, chain, slot)
        return
    kind = chance.randrange(4)
    if kind <= 1:
        _remove(night, at, base, chain, slot)
    elif kind == 2:
        name, low, high = MODULES[chain[slot]]
        night.send(at, f"{base}/fx/set", slot, name, round(chance.uniform(low, high), 3))
    else:
        free = [number for number in range(1, SLOTS + 1) if number not in chain]
        chain[slot] = chance.choice(list(MODULES))
        night.send(at, f"{base}/fx/swap", slot, chain[slot])
        if free:
            night.send(at + 1.0, f"{base}/fx/mix", slot, round(chance.uniform(0.2, 0.8), 2))


def _remove(night: NightPlan, at: float, base: str, chain: dict[int, str], slot: int) -> None:
    night.send(at, f"{base}/fx/remove", slot)
    del chain[slot]


def _together(night: NightPlan, at: float, deck: Deck) -> None:
    # A time-tagged bundle.
    chance = night.random
    ahead = chance.uniform(0.05, 3.0)
    messages: list[tuple[Any, ...]] = [
        (f"/deck/{letter}/eq/low", round(chance.uniform(0.5, 1.2), 2)) for letter in DECKS
    ]
    if deck.plays(at):
        messages.append((f"/deck/{deck.letter}/seek/fraction", 0.1))
        deck.left(at, 0.9, 2.0)
    night.do(at, "together", ahead, *messages)


MOVES: dict[str, tuple[float, Move]] = {
    "transport": (6.0, _transport), "change": (3.0, _change), "seek": (3.0, _seek),
    "loop": (3.0, _loop), "hot cue": (4.0, _hot_cue), "platter": (2.0, _platter),
    "tempo": (4.0, _tempo), "quantize": (0.5, _quantize), "mix": (6.0, _mix),
    "ride": (1.0, _ride), "stems": (4.0, _stems), "send": (2.0, _send),
    "effect": (4.0, _effect), "together": (1.5, _together),
}  # fmt: skip
"""Moves by name: weight and function."""
