"""The cost of taps."""

from benchmarks.taps import SETS, measure, rows, scene
from crowdstream.desk.constants import TAP_DECK, TAP_MASTER, TAPS


def test_every_set_of_taps_is_measured_on_the_same_scene() -> None:
    times_by_set = measure(64, 20)
    assert list(times_by_set) == list(SETS)
    assert all((times > 0).all() for times in times_by_set.values())
    found = rows(times_by_set)
    assert [row["number"] for row in found] == [0, 1, 5, TAPS]
    assert found[0]["taps_ms"] == 0.0


def test_the_taps_of_a_set_are_on() -> None:
    desk = scene(SETS["master and decks"])
    on = desk.taps["on"].nonzero()[0].tolist()
    desk.close()
    assert on == [TAP_MASTER, *range(TAP_DECK, TAP_DECK + 4)]
