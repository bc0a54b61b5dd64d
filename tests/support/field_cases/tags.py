"""Tags and file names."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from crowdstream.audiofile.tags import Tags, read_tags
from tests.support.field_cases.case import Case, check


def tags_with_128_bpm(path: Path) -> Tags:
    """Return the tags of a file, and check that its tempo is 128."""
    tags = read_tags(path)
    assert tags.bpm == 128, f"{path.name}: {tags}"
    return tags


@check
def tempo_times_hundred(case: Case) -> str:
    """A tempo in hundredths."""
    for name in ("m/12800.mp3", "m/128.00.mp3"):
        tags_with_128_bpm(case.path(name))
    return "128 each"


@check
def id3_with_plain_sizes(case: Case) -> str:
    """ID3v2.4 frames whose sizes are not synchsafe."""
    for name in ("m/itunes.mp3", "m/right.mp3"):
        tags = tags_with_128_bpm(case.path(name))
        assert tags.title == "The Title", f"{name}: {tags}"
    return "The Title, 128"


@check
def cover_before_tags(case: Case) -> str:
    """A large picture precedes the tags."""
    tags = tags_with_128_bpm(case.path("m/cover.flac"))
    assert tags.title == "T", f"{tags}"
    return "T, 128"


@check
def id3_before_flac(case: Case) -> str:
    """An ID3 tag precedes a FLAC file."""
    decks = []
    for name in ("m/eac.flac", "m/plain.flac"):
        tags = tags_with_128_bpm(case.path(name))
        assert tags.key == "8A", f"{name}: {tags}"
        decks.append(case.load(case.path(name), 1.0, ("/deck/A/seek", 17.0)))
        assert not decks[-1].fails, f"{name}: {decks[-1].fails}"
    assert decks[0].seconds == decks[1].seconds
    assert (decks[0].out == decks[1].out).all(), "they differ after 17 s"
    return f"128, 8A, {decks[0].seconds:.3f} s, identical after 17 s"


@check
def very_long_name(case: Case) -> str:
    """File names as long as the system allows."""
    done = case.analyze()
    assert done.returncode == 0, f"analyze: {done.returncode} {done.stderr[-200:]}"
    for length in (245, 230):
        deck = case.load(case.path(f"{length}/{'a' * length}.wav"))
        assert not deck.fails, f"{length}: {deck.fails}"
        assert abs(float(deck.status["deck.A.bpm"]) - 124.0) < 0.05, f"{length}: no grid"
    return "analyze exits with 0, both load with a grid of 124"


@check
def decomposed_unicode(case: Case) -> str:
    """A file with a decomposed name is found by its composed spelling."""
    composed = case.folder / "m" / unicodedata.normalize("NFC", "Café Nuit.wav")
    done = case.analyze("m")
    assert done.returncode == 0, done.stderr[-200:]
    deck = case.load(composed)
    assert not deck.fails, f"deck: {deck.fails}"
    listed = case.run("analyze", "--list", composed)
    assert listed.returncode == 0, "analyze --list does not find it"
    found = case.run("analyze", "--list", "--search", unicodedata.normalize("NFC", "café"))
    assert "Nuit" in found.stdout, "a search does not find it"
    return "deck, list and search find it"
