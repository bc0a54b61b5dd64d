"""The order of a whole set."""

from __future__ import annotations

from itertools import pairwise

from crowdstream.dj.key_compatibility import key_fit
from crowdstream.dj.planning.candidates import Candidates, Card, of_analyses
from crowdstream.dj.planning.cost_model import CostModel
from crowdstream.dj.planning.energy_curve import Curve, find_curve
from crowdstream.dj.planning.track_order import find_route
from tests.support.track_analyses import analysis

FLAT = Curve("flat", lambda _share: 0.5)


def shelf_of(*tracks: tuple[str, float, str, float]) -> Candidates:
    cards = [Card(path, path, bpm, key, level, 200.0) for path, bpm, key, level in tracks]
    return Candidates(cards, lambda path: analysis())


def wheel(count: int = 24) -> Candidates:
    # Two of each hour, in an order that has nothing to do with the wheel's.
    return shelf_of(*(
        (f"/{n:02}", 124.0, f"{n * 7 % 12 + 1}{'AB'[n * 5 % 2]}", 0.5) for n in range(count)
    ))  # fmt: skip


def test_no_track_is_left_that_fits_nowhere() -> None:
    shelf = wheel()
    route = find_route(shelf, CostModel(), FLAT, 24)
    assert sorted(route) == [card.path for card in shelf.cards]
    keys = [shelf.card(path).key for path in route]
    assert all(key_fit(one, two).cost < 1 for one, two in pairwise(keys)), keys


def test_where_there_is_a_choice_those_that_do_not_fit_stay_at_home() -> None:
    good = [(f"/good{n}", 124.0 + n % 3, "8A", 0.5) for n in range(6)]
    odd = [(f"/odd{n}", 90.0, "2B", 0.5) for n in range(6)]
    route = find_route(shelf_of(*good, *odd), CostModel(), FLAT, 6)
    assert sorted(route) == [path for path, *_ in good]


def test_it_goes_along_the_curve() -> None:
    tracks = [(f"/{n:02}", 124.0, "8A", (n * 7 % 16) / 16) for n in range(16)]
    shelf = shelf_of(*tracks)
    route = find_route(shelf, CostModel(), find_curve("rise"), 16)
    energies = [shelf.energy(shelf.card(path)) for path in route]
    assert all(abs(energy - n / 15) < 0.2 for n, energy in enumerate(energies)), energies


def test_the_seed_decides() -> None:
    shelf = wheel()
    first = find_route(shelf, CostModel(1), FLAT, 12)
    assert find_route(shelf, CostModel(1), FLAT, 12) == first
    assert find_route(shelf, CostModel(2), FLAT, 12) != first


def test_what_was_played_does_not_come_and_what_plays_is_followed() -> None:
    shelf = wheel()
    played = {card.path for card in shelf.cards[:20]}
    before = Card("/now", "now", 124.0, shelf.cards[21].key, 0.5, 200.0)
    route = find_route(shelf, CostModel(), FLAT, 9, 0.5, before, played)
    assert sorted(route) == [card.path for card in shelf.cards[20:]]
    assert key_fit(before.key, shelf.card(route[0]).key).cost < 1


def test_no_place_and_no_track_are_no_route() -> None:
    assert find_route(wheel(), CostModel(), FLAT, 0) == []
    assert find_route(of_analyses({}), CostModel(), FLAT, 5) == []
    only = of_analyses({"/only": analysis()})
    assert find_route(only, CostModel(), FLAT, 3) == ["/only"]
