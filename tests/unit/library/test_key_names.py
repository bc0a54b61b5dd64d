"""Names of musical keys, in the notations that people use."""

import pytest

from crowdstream.library.key_names import parse_key


@pytest.mark.parametrize(
    ("text", "name", "tonic", "minor"),
    [
        ("8A", "8A", 9, True), ("08a", "8A", 9, True), ("8b", "8B", 0, False),
        ("1m", "8A", 9, True), ("1d", "8B", 0, False), ("Am", "8A", 9, True),
        ("A minor", "8A", 9, True), ("C", "8B", 0, False), ("AM", "11B", 9, False),
        ("F#m", "11A", 6, True), ("Gb major", "2B", 6, False), ("h-moll", "10A", 11, True),
        ("Bb", "6B", 10, False), ("12B", "12B", 4, False), ("1A", "1A", 8, True),
        ("B♭min", "3A", 10, True),
    ],
)  # fmt: skip
def test_key_notations_are_parsed(text: str, name: str, tonic: int, minor: bool) -> None:
    assert parse_key(text) == (name, tonic, minor)


def test_camelot_names_round_trip_and_cover_all_24_keys() -> None:
    names = [f"{number}{letter}" for number in range(1, 13) for letter in "AB"]
    read = [parse_key(name) for name in names]
    assert [one[0] for one in read if one] == names
    assert sorted((one[1], one[2]) for one in read if one) == [
        (tonic, minor) for tonic in range(12) for minor in (False, True)
    ]


@pytest.mark.parametrize("text", ["", "13A", "0A", "H#x", "8", "none", "off", "A" * 1000, "é"])
def test_other_text_is_not_a_key(text: str) -> None:
    assert parse_key(text) is None
