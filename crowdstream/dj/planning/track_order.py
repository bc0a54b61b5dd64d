"""Optimise the order of a whole set by simulated annealing.

Taking the best next track each time would leave those for the end that go with nothing else. The
search therefore swaps tracks of the set with each other and with unused ones, reverses parts of it,
and accepts a worse order ever more rarely.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from crowdstream.dj.planning.candidates import Candidates, Card
from crowdstream.dj.planning.cost_model import CostModel
from crowdstream.dj.planning.energy_curve import Curve

MAX_CARDS = 400  # of more tracks, the seed samples this many
ROUNDS = 600  # steps per place of the set
HOT, COLD = 0.6, 0.01  # first and last temperature: a step that much worse is accepted at 1/e
REPLACED = 0.4  # share of steps that bring in an unused track, if there is one
# Of the other steps: share of those that reverse a part of the order. These keep neighbours that go
# together (the 2-opt moves of Croes, 1958), and the rest swap two tracks.
REVERSED = 0.4
MAX_REVERSED = 16  # tracks


def find_order(
    candidates: Candidates, cost_model: CostModel, curve: Curve, count: int,
    begin: float = 0.0, before: Card | None = None, played: Collection[str] = (),
) -> list[str]:  # fmt: skip
    """Return the paths of up to `count` tracks in order.

    `begin`: position in the set, 0 to 1, of the first of them; `before`: the track that plays
    then; `played`: paths to exclude.
    """
    cards = [card for card in candidates.cards if card.path not in played]
    if len(cards) > MAX_CARDS:
        cards = sorted(cards, key=lambda card: cost_model.chance(card.path))[:MAX_CARDS]
    count = min(count, len(cards))
    if count < 1:
        return []
    shares = [begin + (1 - begin) * (n + 0.5) / count for n in range(count)]
    search = _Search(
        candidates, cost_model, [curve.energy(share) for share in shares], cards, before
    )
    return [cards[at].path for at in search.best(count)]


@dataclass(frozen=True)
class _Move:
    """A change of the order, which is its own inverse.

    "replace" exchanges place `one` with spare track `two`; "swap" exchanges two places; "reverse"
    reverses all places from `one` to `two`.
    """

    kind: Literal["replace", "swap", "reverse"]
    one: int
    two: int

    def touched(self, count: int) -> set[int]:
        """Return the places of `count` whose tracks or predecessors change."""
        if self.kind == "replace":
            found = {self.one, self.one + 1}
        elif self.one == self.two:
            return set()
        elif self.kind == "swap":
            found = {self.one, self.one + 1, self.two, self.two + 1}
        else:
            found = set(range(self.one, self.two + 2))
        return found - {count}

    def apply(self, order: list[int], spare: list[int]) -> None:
        """Change the order, and the unused tracks, in place."""
        if self.kind == "replace":
            order[self.one], spare[self.two] = spare[self.two], order[self.one]
        elif self.kind == "swap":
            order[self.one], order[self.two] = order[self.two], order[self.one]
        else:
            order[self.one : self.two + 1] = order[self.one : self.two + 1][::-1]


def _random_move(random: Random, count: int, spare: int) -> _Move:
    one, two = int(random.random() * count), int(random.random() * count)
    if spare and (random.random() < REPLACED or count == 1):
        return _Move("replace", one, int(random.random() * spare))
    one, two = min(one, two), max(one, two)
    reverses = random.random() < REVERSED and two - one <= MAX_REVERSED
    return _Move("reverse" if reverses else "swap", one, two)


class _Search:
    def __init__(
        self,
        candidates: Candidates,
        cost_model: CostModel,
        wanted: Sequence[float],
        cards: Sequence[Card],
        before: Card | None,
    ) -> None:
        self._cost_model, self._cards, self._before = cost_model, cards, before
        self._wanted = wanted
        self._energies = [candidates.energy(card) for card in cards]
        self._chances = [cost_model.chance(card.path) for card in cards]
        self._steps: dict[tuple[int, int], float] = {}

    def _step(self, one: int, two: int) -> float:
        key = (one, two)
        if key not in self._steps:
            before = self._cards[one] if one >= 0 else self._before
            self._steps[key] = (
                self._cost_model.step(before, self._cards[two], before.tempo) if before else 0.0
            )
        return self._steps[key]

    def _cost(self, order: Sequence[int], places: Collection[int]) -> float:
        total = 0.0
        for at in places:
            card = order[at]
            total += self._cost_model.energy(self._energies[card], self._wanted[at])
            total += self._chances[card] + self._step(order[at - 1] if at else -1, card)
        return total

    def best(self, count: int) -> list[int]:
        """Return the cheapest order found."""
        random = Random(self._cost_model.seed)
        # Initial order: for each place, the unused track with the nearest energy.
        free = set(range(len(self._cards)))
        order = [-1] * count
        for at in range(count):
            order[at] = min(free, key=lambda card: (
                abs(self._energies[card] - self._wanted[at]), card))  # fmt: skip
            free.remove(order[at])
        spare = sorted(free)
        cost = self._cost(order, range(count))
        best, least = list(order), cost
        rounds = ROUNDS * count
        for number in range(rounds):
            heat = HOT * (COLD / HOT) ** (number / rounds)
            move = _random_move(random, count, len(spare))
            touched = move.touched(count)
            if not touched:
                continue
            before = self._cost(order, touched)
            move.apply(order, spare)
            more = self._cost(order, touched) - before
            if more > 0 and random.random() >= math.exp(-more / heat):
                move.apply(order, spare)
                continue
            cost += more
            if cost < least - 1e-9:
                best, least = list(order), cost
        return best
