"""Optimise the order of a whole set by simulated annealing.

Taking the best next track each time would leave those for the end that go with nothing else. The
search therefore swaps tracks of the set with each other and with unused ones, and accepts a worse
order ever more rarely.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from random import Random

from crowdstream.dj.planning.candidates import Candidates, Card
from crowdstream.dj.planning.cost_model import CostModel
from crowdstream.dj.planning.energy_curve import Curve

MAX_CARDS = 400  # of more tracks, the seed samples this many
ROUNDS = 400  # steps per place of the set
HOT, COLD = 0.6, 0.01  # first and last temperature: a step that much worse is accepted at 1/e
REPLACED = 0.5  # share of steps that bring in an unused track, if there is one


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
            one, two = int(random.random() * count), int(random.random() * count)
            replaces = bool(spare) and (random.random() < REPLACED or count == 1)
            other = int(random.random() * len(spare))
            if not replaces and one == two:
                continue
            touched = {one, one + 1} if replaces else {one, one + 1, two, two + 1}
            touched.discard(count)
            before = self._cost(order, touched)
            self._change(order, spare, one, two, other, replaces)
            more = self._cost(order, touched) - before
            if more > 0 and random.random() >= math.exp(-more / heat):
                self._change(order, spare, one, two, other, replaces)
                continue
            cost += more
            if cost < least - 1e-9:
                best, least = list(order), cost
        return best

    @staticmethod
    def _change(
        order: list[int], spare: list[int], one: int, two: int, other: int, replaces: bool
    ) -> None:
        # This change is its own inverse.
        if replaces:
            order[one], spare[other] = spare[other], order[one]
        else:
            order[one], order[two] = order[two], order[one]
