"""Rhythms of the generated tracks: kick, snare, hats and bass in the steps of a bar.

A bar has four beats of four steps unless a style says otherwise. x is a loud note, o a soft one, -
a sustained one, . silence. The tempo of a half-time style is that of its grid, as it is written and
mixed: 140 for dubstep, although its snare plays once per bar.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """One style: tempo range in BPM, patterns to choose from, feel."""

    name: str
    bpm: tuple[float, float]
    kick: tuple[str, ...]
    snare: tuple[str, ...]
    hats: tuple[str, ...]
    bass: tuple[str, ...]
    swing: tuple[float, float] = (0.0, 0.0)  # delay of every second 16th, relative to a 16th
    chords: tuple[str, ...] = ("pad", "stabs", "keys")
    jitter_ms: float = 0.0  # standard deviation of the hits other than the kick
    shuffle: tuple[float, float] = (0.0, 0.0)  # delay of every second eighth, relative to an eighth
    beats: int = 4  # per bar
    steps: int = 16  # per bar
    comping: tuple[str, ...] = ()  # rhythms of the chords, instead of those of `chords`
    human_ms: float = 0.0  # standard deviation of all notes, early and late


STYLES = (
    Style(
        "house", (114.0, 130.0),
        ("x...x...x...x...", "x...x...x...x..o"),
        ("....x.......x...", "....x.......x..o"),
        ("..x...x...x...x.", "o.x.o.x.o.x.o.x.", "ooxoooxoooxoooxo"),
        ("..x-..x-..x-..x-", "x-....x-..x-..o-", "x--...x-x--...x-"),
        (0.0, 0.24),
    ),
    Style(
        "techno", (125.0, 158.0),
        ("x...x...x...x...",),
        ("................", "....x.......x...", "......o.......o."),
        ("..x...x...x...x.", "xoxoxoxoxoxoxoxo", "xxxxxxxxxxxxxxxx"),
        (".oo..oo..oo..oo.", "..x...x...x...x.", ".xxx.xxx.xxx.xxx"),
        chords=("pad", "stabs"),
    ),
    Style(
        "trance", (130.0, 142.0),
        ("x...x...x...x...",),
        ("....x.......x...",),
        ("..x...x...x...x.", "o.x.o.x.o.x.o.x."),
        (".xxx.xxx.xxx.xxx", "..x-..x-..x-..x-"),
        chords=("pad", "arp"),
    ),
    Style(
        "disco", (108.0, 124.0),
        ("x...x...x...x...",),
        ("....x.......x...",),
        ("x.xox.xox.xox.xo", "..x...x...x...x."),
        ("x-x-x-x-x-x-x-x-", "x-..x-x-x-..x-x-"),
        (0.0, 0.2), ("keys", "stabs"), 3.0,
    ),
    Style(
        "breakbeat", (112.0, 140.0),
        ("x.x.......x.....", "x.....x...x.....", "x..x......xx...."),
        ("....x.......x...", "....x..o.o..x..o"),
        ("x.x.x.x.x.x.x.x.", "xoxoxoxoxoxoxoxo"),
        ("x-----x-..x-....", "x-..x-....x-..x-"),
        (0.0, 0.15), ("pad", "stabs", "keys"), 2.0,
    ),
    Style(
        "garage", (128.0, 138.0),
        ("x.........x.....", "x..o......x..o..", "x.....o...x....."),
        ("....x.......x...",),
        ("..x...x...x...x.", "x.xox.xox.xox.xo"),
        ("x-..o-x-..x-..x-", "x--..x-...x--.x-"),
        (0.2, 0.34), ("stabs", "keys"), 1.5,
    ),
    Style(
        "drum and bass", (160.0, 180.0),
        ("x.........x.....", "x.........x..x..", "x.x.......x....."),
        ("....x.......x...", "....x..o.o..x..o"),
        ("x.x.x.x.x.x.x.x.", "xoxoxoxoxoxoxoxo"),
        ("x-------x---x---", "x-----x---------", "x-x-..x-x---..x-"),
        (0.0, 0.08), ("pad", "keys"), 1.5,
    ),
    Style(
        "dubstep", (136.0, 146.0),
        ("x...............", "x.....x.........", "x..x......x....."),
        ("........x.......",),
        ("x.x.x.x.x.x.x.x.", "..x...x...x...x.", "x.xox.xox.xox.xo"),
        ("x---x-x-x---x-x-", "x-------x-x-x-x-"),
        chords=("pad", "stabs"),
    ),
    Style(
        "trap", (130.0, 150.0),
        ("x.....x...x.....", "x..x......x..x..", "x.........x..o.."),
        ("........x.......",),
        ("x.x.x.x.x.x.xxxx", "x.x.xxx.x.x.x.xx", "xoxoxoxoxoxoxoxo"),
        ("x---------x-----", "x-----x---x-----"),
        chords=("pad", "keys"),
    ),
    Style(
        "hip-hop", (80.0, 102.0),
        ("x......xx.......", "x.x.......x.....", "x..x..x...x....."),
        ("....x.......x...",),
        ("x.x.x.x.x.x.x.x.", "x.x.x.xox.x.x.xo"),
        ("x---..x-x---....", "x--x--x---......"),
        (0.0, 0.3), ("keys", "pad"), 4.0,
    ),
    Style(
        "dembow", (88.0, 108.0),
        ("x...x...x...x...", "x...x...x...x..."),
        ("...x..x....x..x.",),
        ("x.x.x.x.x.x.x.x.", "x...x...x...x..."),
        ("x--x--x-x--x--x-", "x-----x-x-----x-"),
        chords=("stabs", "keys"),
    ),
    Style(
        "ballad", (70.0, 88.0),
        ("x.......x.......", "x......xx......."),
        ("....x.......x...",),
        ("x.x.x.x.x.x.x.x.", "x...x...x...x..."),
        ("x-------x-------", "x-----x-x-------"),
        (0.0, 0.1), ("keys", "pad"), 4.0,
    ),
)  # fmt: skip

DANCES = (
    # Swing is written in eighths here: the second one of a beat comes late.
    Style(
        "swing", (110.0, 190.0),
        ("x...x...x...x...", "................", "x...............", "o...o...o...o..."),
        ("................", "....o.......o...", "......o.........", "..........o...o."),
        ("x...x.x.x...x.x.", "x...x.x.x.x.x.x.", "....x.......x..."),
        ("x---x---x---x---", "x---x---x---x-x-"),
        chords=("keys",), jitter_ms=5.0, shuffle=(0.25, 0.42),
        comping=("......x-......x-", "..x-......x-....", "x-....x-........"),
    ),
    Style(
        "shuffle", (84.0, 140.0),
        ("x.......x.......", "x.....x.x.......", "x...x...x...x..."),
        ("....x.......x...",),
        ("x.x.x.x.x.x.x.x.", "x.x.x.x.x.x.x.x.", "x...x...x...x..."),
        ("x-x-x-x-x-x-x-x-", "x---x---x---x---", "x-..x-x-x-..x-x-"),
        chords=("keys", "stabs"), jitter_ms=4.0, shuffle=(0.2, 0.36),
    ),
    Style(
        "samba", (92.0, 132.0),
        ("x.....o.x.....o.", "o.......x.......", "x..ox..ox..ox..o"),
        ("..x..x...x..x...", "x..x..x...x.x...", "....x.......x..."),
        ("xooxxooxxooxxoox", "xoxoxoxoxoxoxoxo"),
        ("x--ox---x--ox---", "x-----o-x-----o-"),
        (0.0, 0.12), ("keys",), 4.0, comping=("x..x..x...x.x...", "..x-..x...x-..x."),
    ),
    Style(
        "salsa", (84.0, 112.0),
        ("................", "x.....x.x.....x."),
        ("x.....x.....x...", "....x...x......."),
        ("x...x.x.x...x.x.", "x.x.x.x.x.x.x.x."),
        ("......x-....x---", "x.....x-....x---"),
        chords=("keys",), jitter_ms=4.0, comping=("x.x...x.x.x...x.", "x..xx.x...x.x.x."),
    ),
    Style(
        "cha-cha", (110.0, 132.0),
        ("x...x...x...x...", "............x.x."),
        ("....x...........", "....x.......x.x."),
        ("x...x...x...x...", "x.x.x.x.x.x.x.x."),
        ("x-....x-....x---", "x-----x-x---x-x-"),
        chords=("keys",), jitter_ms=3.0, comping=("....x-......x-..", "..x-..x-..x-..x-"),
    ),
    Style(
        "polka", (104.0, 136.0),
        ("x...x...x...x...", "x.......x......."),
        ("..x...x...x...x.", "..x...x...x.x.x."),
        ("................", "..x...x...x...x.", "x.x.x.x.x.x.x.x."),
        ("x---x---x---x---", "x-..x-..x-..x-.."),
        chords=("stabs",), jitter_ms=5.0, comping=("..x...x...x...x.",),
    ),
    Style(
        "march", (90.0, 124.0),
        ("x...x...x...x...", "x.......x......."),
        ("....x.......x...", "..oox.oox.oox.oo", "x.oox.oox.oox.xx"),
        ("................", "x.......x......."),
        ("x---x---x---x---", "x-------x-------"),
        chords=("stabs", "keys"), jitter_ms=6.0, comping=("..x...x...x...x.", "....x.......x..."),
    ),
    Style(
        "ska", (140.0, 184.0),
        ("x...x...x...x...", "....x.......x...", "x.......x......."),
        ("....x.......x...",),
        ("..x...x...x...x.", "x.x.x.x.x.x.x.x."),
        ("x-x-x-x-x-x-x-x-", "x---x---x---x---"),
        chords=("stabs",), jitter_ms=4.0, comping=("..x...x...x...x.", "..xo..xo..xo..xo"),
    ),
    Style(
        "reggae", (128.0, 184.0),
        ("........x.......", "x.......x.......", "x...x...x...x..."),
        ("........x.......", "........o......."),
        ("x...x...x...x...", "x.x.x.x.x.x.x.x.", "x...x.x.x...x.x."),
        ("x---x-x-....x---", "....x-x-x---x---"),
        chords=("stabs",), jitter_ms=4.0, shuffle=(0.0, 0.2), comping=("....x.......x...",),
    ),
    Style(
        "rock", (100.0, 184.0),
        ("x.......x.......", "x.......x.x.....", "x.....x.x......."),
        ("....x.......x...",),
        ("x.x.x.x.x.x.x.x.", "x...x...x...x..."),
        ("x-x-x-x-x-x-x-x-", "x---x-x-x---x-x-"),
        chords=("keys", "pad"), jitter_ms=5.0, comping=("x---x---x---x---", "x-x-x-x-x-x-x-x-"),
    ),
    Style(
        "waltz", (88.0, 186.0),
        ("x...........", "x...........", "x...x...x..."),
        ("....x...x...", "........x...", "............"),
        ("x...x...x...", "x.x.x.x.x.x.", "............"),
        ("x-----------", "x---........", "x-......x---"),
        chords=("keys", "pad"), jitter_ms=6.0, shuffle=(0.0, 0.2), beats=3, steps=12,
        comping=("....x-..x-..", "x---x---x---", "x-----------"),
    ),
    Style(
        "six-eight", (64.0, 136.0),
        ("x...........", "x.....x.....", "x...x.x....."),
        ("......x.....", "......x.....", "............"),
        ("x.x.x.x.x.x.", "x.o.o.x.o.o.", "x...x.x...x."),
        ("x-----x-----", "x---x-x---x-", "x-----------"),
        chords=("keys", "pad"), jitter_ms=5.0, beats=2, steps=12,
        comping=("x-x-x-x-x-x-", "x-----x-----", "..x.x...x.x."),
    ),
)  # fmt: skip
"""Dances and band music, which are played rather than programmed."""

PROGRESSIONS = {
    # Degrees of the scale, 0 is the tonic; one per bar, repeated.
    True: ((0, 5, 2, 6), (0, 6, 5, 6), (0, 3, 0, 4), (0, 0, 3, 3), (0,), (0, 5, 3, 4),
           (0, 3, 5, 4), (0, 2, 5, 6)),
    False: ((0, 4, 5, 3), (0, 3, 4, 3), (0, 5, 3, 4), (0, 3), (0, 0, 3, 4), (0, 2, 3, 4),
            (0,), (0, 3, 0, 4)),
}  # fmt: skip
"""By whether the key is minor."""
