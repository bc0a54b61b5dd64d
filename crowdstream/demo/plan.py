"""The mix as a list of timed messages: a pure function of the tracks.

Times are in beats of the mix, which has a constant tempo. Every track plays at the rate ``mix tempo
/ its own tempo``, starts on a phrase of the previous track, and takes over in stages of about eight
beats: it fades in without its lows; then lows, mids and highs are handed over, and the previous
track fades out.

The messages use the addresses of existing sequencers (``/cue``, ``/start_group``, ``/deck_eq``,
``/deck_levels``), and ``/deck/<D>/rate`` and ``/deck/<D>/stop``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, cycle

from crowdstream.demo.tracks import Track

Argument = int | float | str

TEMPO = 124.0
"""Tempo of the mix in BPM, in the middle of the four tracks' tempos."""

LEVEL = 0.8
"""Level of a deck that plays alone: leaves room for two decks under the limiter."""

LEVELS_PER_SECOND = 40.0
EQ_STEPS_PER_BEAT = 4

FLAT, KILLED = 50.0, 0.0
"""Percentages of `/deck_eq`."""

ENTER_MID, ENTER_HIGH = 35.0, 40.0
"""Mids and highs of an incoming track, in percent, before they are handed over to it."""

LEAVE = 20.0
"""Mids and highs of an outgoing track, in percent, until its level has faded: -14 dB."""

FADE_IN = (0.0, 8.0)
LOWS_AT = 8.0
MIDS = (16.0, 24.0)
HIGHS = (22.0, 30.0)
FADE_OUT = (27.0, 32.0)
"""The stages of a transition, in beats after the incoming track's start."""

OPENING_BARS = 4
"""Bars of the first track before the first transition, so that mixing starts within seconds."""

EXITS = (3, 3, 5)
"""Phrases that a track has played when the next one enters, used cyclically. For tracks with intro,
build, drop, break, drop, outro: over the break, over the break, over the outro."""

START_NOTICE = 4.0
"""Beats between sending `/start_group` and the requested start."""

BEATS_PER_BAR = 4


@dataclass(frozen=True)
class Message:
    """One OSC message."""

    address: str
    arguments: tuple[Argument, ...] = ()


@dataclass(frozen=True)
class Action:
    """Messages that take effect together at a beat of the mix.

    If `stamped`, they are sent a little early in one bundle whose time tag is that beat; otherwise
    they are sent without a time tag at the beat. `note` describes the audible change.
    """

    beat: float
    messages: tuple[Message, ...]
    note: str = ""
    stamped: bool = True


@dataclass
class _Mixer:
    """Levels set by the plan so far, so that every message can contain all four."""

    decks: str
    levels: dict[str, float] = field(default_factory=dict)

    def level(self, beat: float, deck: str, level: float) -> Action:
        self.levels[deck] = level
        values = tuple(round(self.levels.get(name, 0.0), 4) for name in self.decks)
        return Action(beat, (Message("/deck_levels", values),))


def deck_of(index: int) -> str:
    """Return the deck of the mix's track number `index`, from 0: A, B, C, D cyclically."""
    return "ABCD"[index % 4]


def seconds_of(beat: float, tempo: float = TEMPO) -> float:
    """Return the seconds from the start of the mix to a beat."""
    return beat * 60.0 / tempo


def _exit(track: Track, phrases: int) -> int:
    return min(phrases, track.bars // track.phrase_bars - 1)


def cueing(tracks: Sequence[Track], index: int, bar: int, tempo: float = TEMPO) -> list[Message]:
    """Messages that prepare a deck: load the track at `bar`, set the rate, mute, kill the lows."""
    track, deck = tracks[index % len(tracks)], deck_of(index)
    return [
        Message("/cue", (deck, str(track.folder), bar / track.bars)),
        Message(f"/deck/{deck}/rate", (tempo / track.bpm,)),
        Message("/deck_eq_all", (deck, KILLED, ENTER_MID, ENTER_HIGH)),
    ]


def opening(tracks: Sequence[Track], tempo: float = TEMPO) -> list[Message]:
    """Messages before the mix starts: cue the first two tracks, set all levels to 0."""
    first = tracks[0]
    bar = _exit(first, EXITS[0]) * first.phrase_bars - OPENING_BARS
    return [
        Message("/deck_levels", (0.0, 0.0, 0.0, 0.0)),
        *cueing(tracks, 0, bar, tempo),
        *cueing(tracks, 1, 0, tempo),
        Message("/deck_eq_all", (deck_of(0), FLAT, FLAT, FLAT)),
    ]


def transitions(tracks: Sequence[Track]) -> Iterator[float]:
    """Yield the beats at which the second, third, ... track of the mix start. Endless."""
    beat = float(OPENING_BARS * BEATS_PER_BAR)
    exits = cycle(EXITS)
    next(exits)
    for index in count(1):
        yield beat
        track = tracks[index % len(tracks)]
        beat += _exit(track, next(exits)) * track.phrase_bars * BEATS_PER_BAR


def mix(tracks: Sequence[Track], tempo: float = TEMPO) -> Iterator[Action]:
    """Yield all actions of the mix after `opening`, in order of time. Endless.

    Beat 0 is the start of the first track, and also sets the server's time to zero (`/reset`), so
    that later starts refer to the server's own sample clock: the decks stay on the same grid to the
    frame, however much the clocks of computer and sound card diverge.
    """
    mixer = _Mixer("ABCD")
    first = Message("/start_group", (0.0, deck_of(0)))
    mixer.levels[deck_of(0)] = LEVEL
    levels = Message("/deck_levels", (LEVEL, 0.0, 0.0, 0.0))
    yield Action(0.0, (Message("/reset"), levels, first), f"A: {tracks[0].title}")
    for index, beat in enumerate(transitions(tracks), start=1):
        actions = _transition(mixer, tracks, index, beat, tempo)
        yield from sorted(actions, key=lambda action: action.beat)


def _transition(
    mixer: _Mixer, tracks: Sequence[Track], index: int, beat: float, tempo: float
) -> Iterator[Action]:
    """Yield the actions from the notice of a track's start to the cueing of the next one."""
    old, new = deck_of(index - 1), deck_of(index)
    title = tracks[index % len(tracks)].title
    start = Message("/start_group", (seconds_of(beat, tempo), new))
    yield Action(beat - START_NOTICE, (start,), stamped=False)
    entrance, *fade = _fade(mixer, new, beat, FADE_IN, level=LEVEL, tempo=tempo)
    yield replace(entrance, note=f"{new} comes in: {title}")
    yield from fade
    # The old bass is removed before the new one enters, at the same frame: never both at once.
    swap = (Message("/deck_eq", (old, "low", KILLED)), Message("/deck_eq", (new, "low", FLAT)))
    yield Action(beat + LOWS_AT, swap, f"lows: {old} to {new}")
    for band, stage, entered in (("mid", MIDS, ENTER_MID), ("high", HIGHS, ENTER_HIGH)):
        yield from _hand_over((old, new), band, beat, stage, entered)
    yield from _fade(mixer, old, beat, FADE_OUT, level=0.0, tempo=tempo)
    yield Action(beat + FADE_OUT[1] + 1.0, (Message(f"/deck/{old}/stop"),), f"{new} alone")
    # The deck after the next was the first to fall silent; its file is loaded meanwhile.
    yield Action(
        beat + FADE_OUT[1] + 8.0, tuple(cueing(tracks, index + 1, 0, tempo)), stamped=False
    )


def _fade(
    mixer: _Mixer,
    deck: str,
    beat: float,
    stage: tuple[float, float],
    *,
    level: float,
    tempo: float,
) -> Iterator[Action]:
    """Fade a deck to `level` with 40 messages per second, along a quarter of a sine."""
    first, last = stage
    steps = max(1, round(seconds_of(last - first, tempo) * LEVELS_PER_SECOND))
    before = mixer.levels.get(deck, 0.0)
    for step in range(1, steps + 1):
        place = step / steps
        rising = math.sin(place * math.pi / 2.0)
        curve = rising if level > before else 1.0 - math.sin((1.0 - place) * math.pi / 2.0)
        now = before + (level - before) * curve
        yield mixer.level(beat + first + (last - first) * place, deck, now)


def _hand_over(
    decks: tuple[str, str], band: str, beat: float, stage: tuple[float, float], entered: float
) -> Iterator[Action]:
    """Hand a band over from the first of two decks to the second, step by step."""
    old, new = decks
    first, last = stage
    steps = round((last - first) * EQ_STEPS_PER_BEAT)
    for step in range(1, steps + 1):
        place = step / steps
        yield Action(
            beat + first + (last - first) * place,
            (
                Message("/deck_eq", (old, band, round(FLAT + (LEAVE - FLAT) * place, 2))),
                Message("/deck_eq", (new, band, round(entered + (FLAT - entered) * place, 2))),
            ),
            f"{band}s: {old} to {new}" if step == 1 else "",
        )
