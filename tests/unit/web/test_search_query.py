"""The search language of the library: words, tempos, keys."""

from __future__ import annotations

import pytest

from crowdstream.web.search_query import NEAR, SHOWN, Term, parse

INFINITE = float("inf")


@pytest.mark.parametrize("text, span", [
    ("124", (124 - NEAR, 124 + NEAR)), ("124.5", (124.5 - SHOWN, 124.5 + SHOWN)),
    ("174,25", (174.25 - SHOWN, 174.25 + SHOWN)), ("120-126", (120 - SHOWN, 126 + SHOWN)),
    ("126-120", (120 - SHOWN, 126 + SHOWN)), ("120–126", (120 - SHOWN, 126 + SHOWN)),
    ("119.5..120.5", (119.5 - SHOWN, 120.5 + SHOWN)), ("bpm:20", (20 - NEAR, 20 + NEAR)),
    ("BPM: 120-126", (120 - SHOWN, 126 + SHOWN)), ("124bpm", (124 - NEAR, 124 + NEAR)),
    ("124 bpm", (124 - NEAR, 124 + NEAR)), ("tempo:90", (90 - NEAR, 90 + NEAR)),
    (">124", (124 + NEAR, INFINITE)), ("<124", (0.0, 124 - NEAR)),
    (">=124", (124 - NEAR, INFINITE)), ("≤124", (0.0, 124 + NEAR)),
])  # fmt: skip
def test_tempos(text: str, span: tuple[float, float]) -> None:
    (term,) = parse(text)
    assert term.bpm == pytest.approx(span) and not term.key


@pytest.mark.parametrize("text, key", [
    ("8A", "8A"), ("8a", "8A"), ("08A", "8A"), ("12b", "12B"), ("1m", "8A"), ("Am", "8A"),
    ("F#m", "11A"), ("Gbm", "11A"), ("G♭m", "11A"), ("Bb", "6B"), ("F#", "2B"), ("Amin", "8A"),
    ("Cmaj", "8B"), ("A minor", "8A"), ("F# major", "2B"), ("key:C", "8B"), ("key: am", "8A"),
    ('key:"A minor"', "8A"), ("KEY:8A", "8A"),
])  # fmt: skip
def test_keys(text: str, key: str) -> None:
    (term,) = parse(text)
    assert term.key == key and term.bpm is None


@pytest.mark.parametrize("text", [
    "am", "b", "A", "C", "13A", "0A", "4999", "29", "301", "1-2", "1999-2024", "a124", "124x",
    "night", "-", "120-", "-126", "key:night", "bpm:fast", "<", "2 4", "Jam", "80s", "drum&bass",
    "AM", "Amber", "9000bpm", "🎵", "12.345",
])  # fmt: skip
def test_anything_else_is_a_word(text: str) -> None:
    terms = parse(text)
    assert [term.word for term in terms] == text.casefold().split()
    assert all(term.plain and not term.whole for term in terms)


def test_terms_are_combined_and_quotes_keep_words_together() -> None:
    word, span, key = parse('"night drive" 120-126 8A')
    assert word == Term("night drive")
    assert span.bpm == pytest.approx((120 - SHOWN, 126 + SHOWN)) and key.key == "8A"
    assert parse("") == parse("  ") == parse('""') == []
    assert len(parse("I Am Here")) == 3


def test_a_number_in_a_name_counts_as_a_whole_word() -> None:
    (tempo,) = parse("124")
    assert tempo.in_text("0/track 124.wav") and not tempo.in_text("0/track 1243.wav")
    (stated,) = parse("bpm:124")
    assert not stated.in_text("0/track 124.wav")
    (key,) = parse("Am")
    assert key.in_text("i am here") and not key.in_text("jam")


@pytest.mark.parametrize("text, bpm, key, wanted", [
    ("124", 124.4, "", True), ("124", 124.6, "", False), ("124", None, "", False),
    ("120-126", 119.98, "", True), ("120-126", 126.0, "", True), ("120-126", 126.3, "", False),
    ("8A", 120.0, "Am", True), ("Am", 120.0, "8A", True), ("Am", 120.0, "1m", True),
    ("Am", 120.0, "8B", False), ("8A", 120.0, "", False), ("8A", 120.0, "unknown", False),
    ("night", 120.0, "8A", False), (">124", 124.0, "", False), (">124", 174.0, "", True),
])  # fmt: skip
def test_a_term_matches_a_track_by_tempo_and_key(
    text: str, bpm: float | None, key: str, wanted: bool
) -> None:
    (term,) = parse(text)
    assert term.of_track(bpm, key) is wanted
