"""The demo's four songs, as data: tempo, chords, patterns, arrangement.

The keys are neighbours on the Camelot wheel (8A, 8B, 9B, 9A), and the songs are tuned so
that pitch is proportional to tempo: played at one common tempo, by changing the speed as a
turntable does, all four are in tune with each other. At `TUNED_TEMPO` that is A = 440 Hz.

Patterns have one character per sixteenth, over one or two bars: ``1`` to ``9`` is how hard,
``.`` is a rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from crowdstream.demo.voices import Bass

TUNED_TEMPO = 124.0
"""Beats per minute at which every song's A is 440 Hz."""

STEMS = ("drums", "bass", "vocals", "other")


@dataclass(frozen=True)
class Section:
    """A part of a song, `bars` long.

    `lanes` are drum lanes by name, with ``@n`` when they come in at the section's bar n.
    `bright` is how open the chords' filters are at its start and end (0..1). `fill` plays a
    snare roll in the last bar, `rise` swells into what follows, `crash` marks the first beat.
    """

    name: str
    lanes: str
    bass: bool = False
    layers: str = ""
    vocal: str = ""
    bright: tuple[float, float] = (0.5, 0.5)
    fill: bool = False
    rise: bool = False
    crash: bool = False
    bars: int = 8


@dataclass(frozen=True)
class Lane:
    """One drum's part. `human` is how much its loudness varies from hit to hit (0..1)."""

    sound: str
    pattern: str
    gain: float
    human: float = 0.0


@dataclass(frozen=True)
class Layer:
    """One chord sound's part: `gate` is a note's length in sixteenths; arps play one at a time."""

    timbre: str
    pattern: str
    gate: float
    gain: float
    arp: tuple[int, ...] = ()
    octave: int = 0


@dataclass(frozen=True)
class Chord:
    """A bar's harmony, as MIDI note numbers: the bass's root and the notes above it."""

    root: int
    notes: tuple[int, ...]


@dataclass(frozen=True)
class Song:
    """All that a track is made from. Bass notes are (sixteenth, length, semitones, accent)."""

    folder: str
    title: str
    bpm: float
    key: str
    camelot: str
    swing: float
    gain: float
    duck: float
    chords: tuple[Chord, ...]
    lanes: dict[str, Lane]
    bass: Bass
    bass_gain: float
    bass_line: tuple[tuple[float, float, int, float], ...]
    bass_bars: int
    layers: dict[str, Layer]
    hook: tuple[tuple[float, float, int, str], ...]
    hook_bars: int
    hook_gain: float
    choir_gain: float
    other_gain: float
    sections: tuple[Section, ...]


def _form(beat: str, extra: str, peak: str, chords: str, lead: str) -> tuple[Section, ...]:
    """48 bars that a DJ can mix: drums alone at both ends, two drops, a break between."""
    kick, tops, *rest = beat.split()
    intro = " ".join([kick, tops, *(f"{lane}@4" for lane in rest), extra])
    first_peak = peak.split(maxsplit=1)[0]
    # fmt: off
    return (
        Section("intro", intro, layers=chords, bright=(-0.6, 0.0)),
        Section(
            "build", f"{beat} {extra} {first_peak}@4", True, chords, "tease", (0.0, 0.6),
            fill=True, rise=True, crash=True,
        ),
        Section(
            "drop", f"{beat} {extra} {peak}", True, f"{chords} {lead}", "hook", (0.6, 0.75),
            crash=True,
        ),
        Section(
            "break", f"{extra} {rest[-1]}@2", False, f"{chords} pad", "choir", (0.25, 0.9),
            fill=True, rise=True, crash=True,
        ),
        Section(
            "drop", f"{beat} {extra} {peak}", True, f"{chords} {lead} pad", "hook choir",
            (0.7, 1.0), crash=True, fill=True,
        ),
        Section("outro", f"{beat} {extra}", layers=chords, bright=(0.1, -0.9), crash=True),
    )
    # fmt: on


def _bars(*chords: Chord) -> tuple[Chord, ...]:
    """Each chord for two bars."""
    return tuple(chord for chord in chords for _ in range(2))


# fmt: off
LOW_TIDE = Song(
    folder="1-low-tide", title="Low Tide", bpm=120.0, key="Am", camelot="8A",
    swing=0.57, gain=0.70, duck=0.55,
    chords=_bars(
        Chord(33, (57, 60, 64, 67, 71)), Chord(29, (57, 60, 64, 67)),
        Chord(38, (53, 57, 60, 64)), Chord(28, (55, 59, 62, 67)),
    ),
    lanes={
        "kick": Lane("kick deep", "9...9...9...9...", 0.82),
        "clap": Lane("clap", "....8.......8...", 0.50),
        "hat": Lane("hat", "..7...7...7...72", 0.32, 0.2),
        "shaker": Lane("shaker", "4265426542654275", 0.21, 0.25),
        "open": Lane("open hat", "..8...8...8...8.", 0.32, 0.1),
        "conga": Lane("conga high", "......4..3....5....4..6..3....3.", 0.31, 0.2),
        "low": Lane("conga low", "...5......6........5......64....", 0.31, 0.2),
        "rim": Lane("rim", "...6..6...6.....", 0.22, 0.2),
    },
    bass=Bass(520.0, 120.0, 0.11, 0.25, 0.7, 1.2), bass_gain=0.70, bass_bars=2,
    bass_line=(
        (0, 2.6, 0, 0.9), (3, 1.2, 0, 0.4), (6, 1.8, 12, 0.7), (10, 2.5, 0, 0.8), (13, 1, 7, 0.4),
        (16, 2.6, 0, 0.9), (19, 1.2, 0, 0.4), (22, 1.8, 12, 0.7), (26, 1.4, 7, 0.6),
        (28, 1.2, 0, 0.7), (30, 1.6, 12, 0.9),
    ),
    layers={
        "keys": Layer("keys", "9.....7....6......7...8....6..4.", 3.0, 0.19),
        "stab": Layer("stab", "...8..6.......7....8..6..5....7.", 1.2, 0.13),
        "pad": Layer("pad", "8...............", 15.5, 0.07),
    },
    hook=(
        (0, 3, 76, "wa"), (4, 1.5, 74, "oh"), (6, 4, 72, "ooah"), (14, 1.6, 69, "ha"),
        (16, 3, 72, "wa"), (20, 1.5, 74, "ya"), (22, 7, 76, "oh"),
        (34, 2, 76, "ha"), (38, 2, 74, "ya"), (42, 4, 72, "oh"), (48, 2, 69, "ta"),
        (51, 2, 72, "ta"), (54, 7, 71, "ooah"),
    ),
    hook_bars=4, hook_gain=0.5, choir_gain=0.17, other_gain=2.0,
    sections=_form("kick hat clap shaker", "rim low@2", "open conga", "keys", "stab"),
)

MIRROR_SEASON = Song(
    folder="2-mirror-season", title="Mirror Season", bpm=124.0, key="C", camelot="8B",
    swing=0.53, gain=0.70, duck=0.45,
    chords=(
        Chord(38, (53, 57, 60, 64)), Chord(31, (53, 57, 59, 64)),
        Chord(36, (52, 55, 59, 62)), Chord(33, (52, 55, 60, 64)),
    ),
    lanes={
        "kick": Lane("kick round", "9...9...9...9...", 0.82),
        "snare": Lane("snare", "....8.......8..2", 0.48),
        "clap": Lane("clap", "....8.......8...", 0.31),
        "hat": Lane("hat soft", "6365636563656366", 0.27, 0.2),
        "open": Lane("open hat", "..9...9...9...9.", 0.38, 0.1),
        "tambourine": Lane("tambourine", "4.7.4.7.4.7.4.75", 0.21, 0.2),
        "conga": Lane("conga high", "..5..4.....5.4....5..4...4.5..6.", 0.29, 0.2),
        "low": Lane("conga low", "......6.5.......", 0.29, 0.2),
    },
    bass=Bass(900.0, 170.0, 0.09, 0.35, 0.55, 1.4), bass_gain=0.58, bass_bars=1,
    bass_line=(
        (0, 1.5, 0, 0.9), (2, 1.2, 12, 0.7), (4, 1.5, 0, 0.8), (6, 1.2, 12, 0.7),
        (7, 0.8, 12, 0.4), (8, 1.5, 0, 0.9), (10, 1.2, 12, 0.7), (12, 1.2, 7, 0.7),
        (14, 0.9, 12, 0.9), (15, 0.8, 7, 0.5),
    ),
    layers={
        "guitar": Layer("guitar", "..7..5.7.6..7.5...7..5.7.6.57.86", 0.9, 0.17),
        "strings": Layer("strings", "8..........6....", 10.5, 0.09, octave=1),
        "keys": Layer("keys", "8..6....7..6....", 2.5, 0.11),
        "pad": Layer("strings", "8...............", 15.5, 0.06),
    },
    hook=(
        (2, 1.5, 76, "hey"), (6, 1.5, 76, "hey"), (8, 3, 77, "ya"), (12, 3, 74, "oh"),
        (18, 1.5, 74, "hey"), (22, 1.5, 74, "hey"), (24, 3, 76, "ya"), (28, 3, 71, "oh"),
        (32, 2, 72, "so"), (35, 2, 74, "wa"), (38, 6, 76, "ooah"),
        (48, 2, 76, "so"), (51, 2, 74, "wa"), (54, 7, 72, "ah"),
    ),
    hook_bars=4, hook_gain=0.5, choir_gain=0.17, other_gain=2.0,
    sections=_form(
        "kick open snare hat", "tambourine low@2", "clap conga", "guitar", "strings keys",
    ),
)

PAPER_KITES = Song(
    folder="3-paper-kites", title="Paper Kites", bpm=126.0, key="G", camelot="9B",
    swing=0.54, gain=0.70, duck=0.35,
    chords=_bars(
        Chord(31, (54, 57, 59, 62)), Chord(28, (55, 59, 62, 66)),
        Chord(36, (52, 55, 59, 62)), Chord(38, (55, 57, 62, 64)),
    ),
    lanes={
        "kick": Lane("kick tight", "9.....5...9.....9..6......9...4.", 0.85),
        "snare": Lane("snare crisp", "....9.......9.......9..3....9..4", 0.62),
        "ghost": Lane("snare", ".......3.3.............3.2.2....", 0.36, 0.3),
        "hat": Lane("hat", "7.5.7.5.7.5.7.537.5.7.5.7.537.5.", 0.35, 0.2),
        "ride": Lane("ride", "7...6...7...6...", 0.21, 0.1),
        "shaker": Lane("shaker", "3.5.3.543.5.3.54", 0.21, 0.25),
        "rim": Lane("rim", "......6.....5.....6....5......6.", 0.21, 0.2),
        "open": Lane("open hat", "..............7...........6.....", 0.32, 0.1),
    },
    bass=Bass(420.0, 260.0, 0.4, 0.2, 0.75, 1.6, 0.006), bass_gain=0.60, bass_bars=2,
    bass_line=(
        (0, 5, 0, 0.9), (6, 1.5, 0, 0.5), (10, 4.5, 12, 0.6), (16, 3, 0, 0.9),
        (19, 1.2, 7, 0.5), (22, 3, 12, 0.8), (26, 2.5, 0, 0.8), (29, 2, 7, 0.6),
    ),
    layers={
        "pluck": Layer(
            "pluck", "7.57.5.76.5.7.5.7.57.5.76.57.5.7", 1.4, 0.21, (0, 2, 1, 3, 2, 1, 3), 1,
        ),
        "stab": Layer("stab", "......7.........8.....7.........", 2.0, 0.14),
        "pad": Layer("pad", "8...............", 15.5, 0.08),
    },
    hook=(
        (4, 2, 74, "oo"), (7, 4, 78, "ooah"), (12, 3, 76, "ya"), (20, 2, 74, "oo"),
        (23, 7, 71, "ooah"), (36, 2, 74, "oo"), (39, 4, 76, "ooah"), (44, 2, 74, "ta"),
        (47, 1, 74, "ta"), (48, 1, 74, "ta"), (50, 3, 71, "ya"), (54, 8, 69, "oh"),
    ),
    hook_bars=4, hook_gain=0.5, choir_gain=0.17, other_gain=2.0,
    sections=_form("kick hat snare shaker", "rim ghost@4", "ride open", "pluck", "stab"),
)

NIGHT_FREIGHT = Song(
    folder="4-night-freight", title="Night Freight", bpm=128.0, key="Em", camelot="9A",
    swing=0.5, gain=0.65, duck=0.7,
    chords=(
        *([Chord(28, (52, 55, 59, 66))] * 4),
        *([Chord(28, (52, 57, 59, 64))] * 2),
        Chord(36, (52, 55, 59, 64)), Chord(38, (54, 57, 62, 66)),
    ),
    lanes={
        "kick": Lane("kick hard", "9...9...9...9...", 0.82),
        "clap": Lane("clap hall", "....8.......8...", 0.41),
        "hat": Lane("hat", "3.524.523.524.53", 0.32, 0.2),
        "open": Lane("open hat", "..9...9...9...9.", 0.40, 0.05),
        "ride": Lane("ride", "6.4.6.4.6.4.6.4.", 0.18, 0.1),
        "tom": Lane("tom", "...5.....4....6....5.....4..3...", 0.30, 0.2),
        "rim": Lane("rim", "..6..6..6..6..6...6..6..6..6.6..", 0.18, 0.2),
        "shaker": Lane("shaker", "5364536453645365", 0.16, 0.2),
    },
    bass=Bass(480.0, 110.0, 0.05, 0.5, 0.8, 1.8), bass_gain=0.58, bass_bars=1,
    bass_line=(
        (2, 0.9, 0, 0.9), (3, 0.8, 0, 0.4), (6, 0.9, 0, 0.9), (7, 0.8, 0, 0.5),
        (10, 0.9, 0, 0.9), (11, 0.8, 12, 0.4), (14, 0.9, 0, 1.0), (15, 0.8, 0, 0.5),
    ),
    layers={
        "dub": Layer("dub", "...8..............7.............", 1.3, 0.22),
        "acid": Layer("acid", "7.57..7.5.75.7.5", 0.8, 0.17, (0, 0, 3, 1, 0, 2, 0, 3, 1)),
        "pad": Layer("pad", "8...............", 15.5, 0.08),
    },
    hook=(
        (3, 1, 71, "ha"), (6, 1, 71, "ha"), (11, 2, 74, "hey"), (19, 1, 71, "ta"),
        (21, 1, 71, "tu"), (23, 1, 71, "ta"), (27, 4, 67, "oh"), (35, 1, 71, "ha"),
        (38, 1, 71, "ha"), (43, 2, 76, "hey"), (51, 1, 74, "ta"), (53, 1, 74, "tu"),
        (55, 7, 71, "ooah"),
    ),
    hook_bars=4, hook_gain=0.5, choir_gain=0.17, other_gain=2.0,
    sections=_form("kick open clap hat", "rim tom@4", "ride shaker", "dub", "acid"),
)
# fmt: on

SONGS = (LOW_TIDE, MIRROR_SEASON, PAPER_KITES, NIGHT_FREIGHT)
