"""The optimised order of a whole set."""

from __future__ import annotations

from itertools import pairwise

from crowdstream.dj.key_compatibility import key_fit
from crowdstream.dj.planning.candidates import Candidates, Card, of_analyses
from crowdstream.dj.planning.cost_model import CostModel
from crowdstream.dj.planning.energy_curve import Curve, find_curve
from crowdstream.dj.planning.track_order import find_order
from tests.support.track_analyses import analysis

FLAT = Curve("flat", lambda _share: 0.5)


def candidates_of(*tracks: tuple[str, float, str, float]) -> Candidates:
    cards = [Card(path, path, bpm, key, level, 200.0) for path, bpm, key, level in tracks]
    return Candidates(cards, lambda path: analysis())


def wheel(count: int = 24) -> Candidates:
    # Two tracks per hour of the Camelot wheel, in an unrelated order.
    return candidates_of(*(
        (f"/{n:02}", 124.0, f"{n * 7 % 12 + 1}{'AB'[n * 5 % 2]}", 0.5) for n in range(count)
    ))  # fmt: skip


def test_no_clashing_track_is_left_for_the_end() -> None:
    candidates = wheel()
    order = find_order(candidates, CostModel(), FLAT, 24)
    assert sorted(order) == [card.path for card in candidates.cards]
    keys = [candidates.card(path).key for path in order]
    assert all(key_fit(one, two).cost < 1 for one, two in pairwise(keys)), keys


def test_given_a_choice_unsuitable_tracks_are_left_out() -> None:
    good = [(f"/good{n}", 124.0 + n % 3, "8A", 0.5) for n in range(6)]
    # Neither do they go with each other.
    keys = ("2B", "6A", "10B", "4A", "12B", "7B")
    odd = [(f"/odd{n}", 60.0 + 9 * n, key, 0.5) for n, key in enumerate(keys)]
    order = find_order(candidates_of(*good, *odd), CostModel(), FLAT, 6)
    assert sorted(order) == [path for path, *_ in good]


def test_the_order_follows_the_energy_curve() -> None:
    tracks = [(f"/{n:02}", 124.0, "8A", (n * 7 % 16) / 16) for n in range(16)]
    candidates = candidates_of(*tracks)
    order = find_order(candidates, CostModel(), find_curve("rise"), 16)
    energies = [candidates.energy(candidates.card(path)) for path in order]
    assert all(abs(energy - n / 15) < 0.2 for n, energy in enumerate(energies)), energies


def test_the_seed_determines_the_order() -> None:
    candidates = wheel()
    first = find_order(candidates, CostModel(1), FLAT, 12)
    assert find_order(candidates, CostModel(1), FLAT, 12) == first
    assert find_order(candidates, CostModel(2), FLAT, 12) != first


def test_played_tracks_are_excluded_and_the_order_continues_from_the_playing_one() -> None:
    candidates = wheel()
    played = {card.path for card in candidates.cards[:20]}
    before = Card("/now", "now", 124.0, candidates.cards[21].key, 0.5, 200.0)
    order = find_order(candidates, CostModel(), FLAT, 9, 0.5, before, played)
    assert sorted(order) == [card.path for card in candidates.cards[20:]]
    assert key_fit(before.key, candidates.card(order[0]).key).cost < 1


def test_without_places_or_tracks_the_order_is_empty() -> None:
    assert find_order(wheel(), CostModel(), FLAT, 0) == []
    assert find_order(of_analyses({}), CostModel(), FLAT, 5) == []
    only = of_analyses({"/only": analysis()})
    assert find_order(only, CostModel(), FLAT, 3) == ["/only"]
