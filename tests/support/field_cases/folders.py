"""Folders of stems: which files are stems, separate tracks, or left out."""

from __future__ import annotations

from crowdstream.library.scanner import SINGLE, STEMS
from tests.support.field_cases.case import Case, check

LU = 0.1  # tolerated difference in loudness


@check
def release_with_instrumental(case: Case) -> str:
    """Versions of a song are separate tracks."""
    case.analyze()
    counts = {name: len(case.tracks(name)) for name in ("EP", "EP2")}
    kinds = {entry.kind for entry in case.tracks()}
    assert counts == {"EP": 3, "EP2": 2}, f"tracks found: {counts}"
    assert kinds == {SINGLE}, f"taken for {kinds}"
    return "EP: 3 tracks, EP2: 2 tracks"


@check
def mixdown_beside_stems(case: Case) -> str:
    """A mixdown is not played together with the stems."""
    wanted = case.load(case.path("Song.wav"), 20.0).lufs
    found = {name: case.load(case.path(name), 20.0) for name in ("named", "full", "none")}
    loud = {name: round(deck.lufs - wanted, 2) for name, deck in found.items()}
    stems = {name: len(deck.stems) for name, deck in found.items()}
    assert all(abs(value) <= LU for value in loud.values()), f"LU off: {loud}, stems {stems}"
    assert set(stems.values()) == {4}, f"stems: {stems}"
    return f"4 stems each, LU off: {loud}"


@check
def combined_stem(case: Case) -> str:
    """A sum of some stems is left out, so that muting a stem has an effect."""
    order = ("/deck/A/stem/1/mute", 1)
    decks = [case.load(case.path(name), 20.0, order) for name in ("no_vocals", "none")]
    apart = round(decks[0].lufs - decks[1].lufs, 2)
    assert abs(apart) <= LU, f"with drums muted {apart} LU off; stems {decks[0].stems}"
    assert len(decks[0].stems) == 4, f"stems {decks[0].stems}"
    return f"drums muted: {apart} LU off"


@check
def separator_names(case: Case) -> str:
    """Stem names in the middle of a file name are recognised."""
    case.analyze()
    entries = case.tracks()
    kinds = [(entry.kind, sorted(entry.stems)) for entry in entries]
    assert [kind for kind, _ in kinds] == [STEMS, STEMS], f"found {kinds}"
    assert all("vocals" in stems for _, stems in kinds), f"stems {kinds}"
    return f"{[stems for _, stems in kinds]}"


@check
def lead_and_backing_vocals(case: Case) -> str:
    """Lead and backing vocals are separate stems of one track."""
    case.analyze()
    entries = case.tracks()
    stems = [len(entry.stems) for entry in entries]
    assert stems == [5, 5], f"stems {[entry.stems for entry in entries]}"
    sources = [case.analysis(entry).vocals.source for entry in entries]
    assert sources == ["stem", "stem"], f"voice from {sources}"
    return "5 stems each, voice from stems"


@check
def stem_in_another_format(case: Case) -> str:
    """An unreadable stem is reported."""
    done = case.analyze()
    printed = done.stdout + done.stderr
    results = []
    for name, missing in (("m4a", "vocals"), ("opus", "opus")):
        deck = case.load(case.path(name))
        played = len(deck.stems) == 4
        named = missing in " ".join([*deck.fails, *deck.notes, printed])
        assert played or named, f"{name}: {deck.stems}, {missing} is not reported"
        results.append(f"{name}: {'played' if played else 'reported'}")
    return ", ".join(results)


@check
def unusual_blanks(case: Case) -> str:
    """File names with all kinds of spaces and joiners."""
    case.analyze("m")
    entries = case.tracks("m")
    assert len(entries) == 5, f"{len(entries)} of 5 found"
    assert not any(entry.error for entry in entries), [entry.error for entry in entries]
    for entry in entries:
        deck = case.load(entry.play)
        assert not deck.fails, f"{entry.name!r}: {deck.fails}"
    return "5 found and loaded"


@check
def twelve_stems(case: Case) -> str:
    """Up to eight stems play; a larger number is refused in one line that states it."""
    deck = case.load(case.path("eight"))
    assert len(deck.stems) == 8, f"eight: {deck.stems} {deck.fails}"
    deck = case.load(case.path("twelve"))
    grouped = 0 < len(deck.stems) <= 8 and not deck.fails
    refused = len(deck.fails) == 1 and "12" in deck.fails[0]
    assert grouped or refused, f"twelve: {deck.stems} {deck.fails}"
    done = case.analyze("twelve")
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert grouped or len(lines) == 1, f"analyze printed {len(lines)} lines"
    return "grouped" if grouped else "refused in one line"


@check
def link_to_another_disk(case: Case) -> str:
    """Analysis and deck treat a link that leads outside the media root alike."""
    case.analyze("Music")
    known = any("Song" in entry.name for entry in case.tracks())
    music = case.path("Music").absolute()
    with case.server(media_root=[music]) as rig:
        rig.send("/deck/A/load", str(music / "usb" / "Song.wav"))
        rig.run(2048)
        loads = not rig.fails()
    assert known == loads, f"analysis {'lists' if known else 'hides'} it, deck loads it: {loads}"
    return "listed and loadable" if known else "neither listed nor loadable"
