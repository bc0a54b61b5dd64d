"""Accompaniments in many styles and meters, as MIDI, for a corpus whose instruments are recorded.

A band plays drums, bass, chords and a melody in the patterns of its style, in phrases of eight bars
with fills, early and late like people. The generated tracks of the tests
(`tests/support/generated_tracks/`) are synthesised and in the styles of DJ music; these are what
the analysis hears elsewhere: waltzes, marches, swing, Latin dances. `benchmarks/midi_corpus.py`
renders them.
"""

from __future__ import annotations

import io
import random
from dataclasses import dataclass

import mido

TICKS = 480  # per beat
KICK, STICK, SNARE, CLAP, HAT, OPEN_HAT, RIDE, CRASH = 36, 37, 38, 39, 42, 46, 51, 49
COWBELL, SHAKER, TIMBALE, CONGA = 56, 70, 45, 63
TOMS = (38, 45, 47, 50)
DRUM_CHANNEL, BASS, COMPING, LEAD = 9, 1, 2, 3
PHRASE_BARS = 8
# Of a tempo without a click: standard deviation of its acceleration per beat, and its range.
WANDER, MAX_WANDER = 0.0012, 0.06


@dataclass(frozen=True)
class Band:
    """One style. The patterns are those of a bar, of which one is chosen.

    meter: beats per bar; division: steps per beat. drums: x is a loud note, o a soft one. bass: r
    is the root, 3 and 5 are the third and the fifth, R is the octave. chords: x is a chord.
    instruments: General MIDI programs for bass, chords and lead.
    """

    name: str
    meter: int
    division: int
    bpm: tuple[float, float]
    drums: dict[int, tuple[str, ...]]
    bass: tuple[str, ...]
    chords: tuple[str, ...]
    instruments: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


BANDS = (
    Band(
        "waltz", 3, 2, (84, 190),
        {KICK: ("x.....",), STICK: ("..x.x.", "......"), HAT: ("..x.x.", "x.x.x.")},
        ("r.....", "r...5."), ("..x.x.",), ((32,), (0, 21, 24, 48), (40, 73, 21, 65)),
    ),
    Band(
        "jazz waltz", 3, 3, (110, 190),
        {RIDE: ("x..x.xx..", "x..x..x.x"), HAT: ("...x.....", "...x..x.."),
         KICK: ("x........",), SNARE: ("......o..", ".....o...")},
        ("r..5..3..", "r........"), ("x....x...", "..x...x.."), ((32,), (0, 26), (66, 11, 56)),
    ),
    Band(
        "fast waltz", 3, 2, (150, 200), {KICK: ("x.....",), SNARE: ("..o.o.",)},
        ("r.....",), ("..x.x.",), ((43,), (48, 0), (40, 48)),
    ),
    Band(
        "mazurka", 3, 2, (120, 170), {KICK: ("x.....",), STICK: ("..x.x.",)},
        ("r.....", "r...5."), ("..x.x.",), ((32,), (21, 0), (40, 71)),
    ),
    Band(
        "rock ballad in three", 3, 4, (70, 120),
        {KICK: ("x...........", "x.........x."), SNARE: ("....x...x...", "........x..."),
         HAT: ("x.x.x.x.x.x.",)},
        ("r...........", "r.......r..."), ("x...x...x...", "x..........."),
        ((33,), (0, 27), (65, 80)),
    ),
    Band(
        "bolero", 3, 4, (70, 100),
        {SNARE: ("x.xxx.xxx.x.", "x.xxx.x.x.x."), KICK: ("x...........",)},
        ("r.......5...",), ("..x.x.x.x.x.",), ((43,), (24, 46), (71, 73)),
    ),
    Band(
        "six-eight", 2, 3, (48, 80),
        {KICK: ("x.....", "x....x"), SNARE: ("...x..",), HAT: ("xxxxxx", "x.xx.x")},
        ("r..r..", "r.rr.5"), ("x..x..", "xxxxxx"), ((33,), (0, 27, 48), (65, 40)),
    ),
    Band(
        "jig", 2, 3, (90, 132), {KICK: ("x.....", "x..x.."), SNARE: ("......", "...x..")},
        ("r..5..",), ("..x..x", "x.xx.x"), ((32,), (21, 24), (72, 40, 22)),
    ),
    Band(
        "march in six-eight", 2, 3, (100, 126),
        {KICK: ("x.....", "x..x.."), SNARE: ("..ox.o", "..x..x")},
        ("r..5..",), ("..x..x",), ((58,), (61, 0), (56, 72)),
    ),
    Band(
        "slow rock", 4, 3, (50, 84),
        {KICK: ("x.....x.....", "x.....x..x.."), SNARE: ("...x.....x..",),
         HAT: ("xxxxxxxxxxxx",)},
        ("r.....r..5..", "r..r..r..r.."), ("xxxxxxxxxxxx", "x.....x....."),
        ((33,), (0, 27), (65, 52)),
    ),
    Band(
        "swing", 4, 3, (110, 220),
        {RIDE: ("x..x.xx..x.x",), HAT: ("...x.....x..",), KICK: ("x..x..x..x..", "............"),
         SNARE: ("............", "........o...")},
        ("r..3..5..3..", "r..5..r..5.."), ("..x...x.....", "x....x......", ".....x......"),
        ((32,), (0, 26), (66, 56, 65)),
    ),
    Band(
        "shuffle", 4, 3, (90, 150),
        {KICK: ("x.....x.....", "x....xx....."), SNARE: ("...x.....x..",),
         HAT: ("x.xx.xx.xx.x",)},
        ("r.rr.r5.55.5", "r..r..r..r.."), ("x....xx....x", "..x..x..x..x"),
        ((33,), (0, 16, 29), (22, 65)),
    ),
    Band(
        "bossa nova", 4, 4, (110, 150),
        {KICK: ("x..xx..xx..xx..x",), STICK: ("x..x..x...x..x..", "..x..x...x..x..."),
         HAT: ("xxxxxxxxxxxxxxxx", "x.x.x.x.x.x.x.x.")},
        ("r..r5..5r..r5..5",), ("x...x.x...x.x...", "..x...x...x..x.."),
        ((32,), (24, 0), (73, 66)),
    ),
    Band(
        "samba", 4, 4, (90, 125),
        {KICK: ("x..xx..xx..xx..x",), SNARE: ("..x.x..xx.x..x.x",), SHAKER: ("xoxxxoxxxoxxxoxx",),
         HAT: ("..x...x...x...x.",)},
        ("r..rr..rr..rr..r",), ("x.x..x.x.x..x.x.",), ((33,), (24, 0), (73, 11)),
    ),
    Band(
        "rumba", 4, 4, (90, 130),
        {KICK: ("x.....x.x.....x.",), STICK: ("x..x..x...x.x...",), SHAKER: ("x.x.x.x.x.x.x.x.",),
         TIMBALE: ("............x.x.",)},
        ("r.....5.r...5...",), ("..x...x...x...x.",), ((32,), (24, 0), (12, 73)),
    ),
    Band(
        "cha-cha", 4, 4, (105, 130),
        {KICK: ("x.......x.......",), COWBELL: ("x...x...x...x...",), CONGA: ("....x.......x.x.",),
         SHAKER: ("x.x.x.x.x.x.x.x.",)},
        ("r.....5.....r.5.",), ("..x...x...x...x.",), ((32,), (0,), (56, 73)),
    ),
    Band(
        "tango", 4, 4, (112, 136),
        {KICK: ("x...x...x...x...",), SNARE: ("..............o.", "..............oo")},
        ("r...r...r...r...", "r.....r.5...r..."), ("x...x...x...x.x.",),
        ((43,), (21, 0), (40, 21)),
    ),
    Band(
        "beguine", 4, 4, (100, 130),
        {KICK: ("x.......x.......",), SHAKER: ("..x.x.x...x.x.x.",), STICK: ("x...x.x.x...x...",)},
        ("r.....5.r.....5.",), ("..x.x.x...x.x.x.",), ((32,), (24,), (48, 73)),
    ),
    Band(
        "polka", 4, 4, (100, 140),
        {KICK: ("x...x...x...x...", "x.......x......."), SNARE: ("..x...x...x...x.",)},
        ("r...5...r...5...",), ("..x...x...x...x.",), ((58,), (21, 0), (71, 21)),
    ),
    Band(
        "march", 4, 4, (100, 126),
        {KICK: ("x...x...x...x...",), SNARE: ("..x.oox...x.oox.", "....x.......x...")},
        ("r...5...r...5...",), ("..x...x...x...x.",), ((58,), (61, 0), (56, 72)),
    ),
    Band(
        "ska", 4, 4, (130, 185),
        {KICK: ("x.......x.......", "....x.......x..."), SNARE: ("....x.......x...",),
         HAT: ("..x...x...x...x.",)},
        ("r.3.5.3.r.3.5.3.", "r...3...5...3..."), ("..x...x...x...x.",),
        ((33,), (27, 16), (56, 57)),
    ),
    Band(
        "reggae", 4, 4, (120, 170),
        {KICK: ("........x.......", "x.......x......."), SNARE: ("........x.......",),
         HAT: ("x.x.x.x.x.x.x.x.",)},
        ("r.....r.3...5...", "r...........5.r."), ("....x.......x...", "....x.x.....x.x."),
        ((33,), (27, 16), (73, 56)),
    ),
    Band(
        "country", 4, 4, (90, 190),
        {KICK: ("x.......x.......", "x...x...x...x..."),
         SNARE: ("..x...x...x...x.", "....x.......x..."), HAT: ("x.x.x.x.x.x.x.x.",)},
        ("r.......5.......",), ("....x.......x...", "..x...x...x...x."),
        ((32,), (25, 0), (40, 22, 105)),
    ),
    Band(
        "bluegrass", 4, 4, (110, 160), {STICK: ("..x...x...x...x.",)},
        ("r...5...r...5...",), ("..x...x...x...x.",), ((32,), (25, 105), (40, 105)),
    ),
    Band(
        "rock", 4, 4, (90, 170),
        {KICK: ("x.......x.x.....", "x.....x.x......."), SNARE: ("....x.......x...",),
         HAT: ("x.x.x.x.x.x.x.x.",)},
        ("r.r.r.r.r.r.r.r.", "r.....r.r......."), ("x...............", "x.x.x.x.x.x.x.x."),
        ((33,), (29, 27), (30, 65)),
    ),
    Band(
        "pop", 4, 4, (70, 115),
        {KICK: ("x......xx.x.....", "x.....x..x......"), SNARE: ("....x.......x...",),
         HAT: ("xxxxxxxxxxxxxxxx", "x.xxx.xxx.xxx.xx")},
        ("r......rr.......", "r..r..r.r......."), ("x.......x.......", "..x..x....x..x.."),
        ((33,), (4, 27), (80, 65)),
    ),
    Band(
        "funk", 4, 4, (90, 118),
        {KICK: ("x.x...x...x..x..", "x..x......x....."), SNARE: ("....x..o.o..x..o",),
         HAT: ("x.x.x.x.x.x.x.x.", "xxxxxxxxxxxxxxxx")},
        ("r..r..5...r..3..", "r.r....r..5.3..."), ("..x.....x..x....", ".x..x....x..x..."),
        ((36,), (7, 28), (61, 65)),
    ),
    Band(
        "disco", 4, 4, (110, 128),
        {KICK: ("x...x...x...x...",), SNARE: ("....x.......x...",), OPEN_HAT: ("..x...x...x...x.",),
         HAT: ("xx.xxx.xxx.xxx.x",)},
        ("r.R.r.R.r.R.r.R.",), ("..x..x..x.x...x.",), ((33,), (28, 4), (48, 61)),
    ),
    Band(
        "ballad", 4, 4, (56, 84),
        {KICK: ("x.......x.......",), SNARE: ("....x.......x...",), HAT: ("x.x.x.x.x.x.x.x.",)},
        ("r.......5.......", "r.......r......."), ("x.......x.......", "x.x.x.x.x.x.x.x."),
        ((33,), (0, 4, 24), (73, 52, 65)),
    ),
)  # fmt: skip

TRIADS = ((0, 4, 7), (2, 5, 9), (4, 7, 11), (5, 9, 12), (7, 11, 14), (9, 12, 16))  # of a major key
PROGRESSIONS = (
    (0, 3, 4, 0), (0, 5, 3, 4), (0, 5, 1, 4), (5, 3, 0, 4), (0, 4, 5, 3), (0, 0, 3, 3, 4, 4, 0, 0),
    (0, 0, 0, 0, 3, 3, 0, 0, 4, 3, 0, 4),
)  # fmt: skip


@dataclass
class _Song:
    # The choices that hold for a whole song.
    dice: random.Random
    band: Band
    bpm: float
    human: float  # standard deviation of the notes, in ticks
    swing: float  # delay of every second sixteenth, relative to a sixteenth

    def at(self, step: int) -> float:
        """Return the ticks of a step from the beginning of its bar."""
        late = self.swing if self.band.division == 4 and step % 2 else 0.0
        return (step + late) * TICKS / self.band.division


class _Notes:
    def __init__(self, song: _Song) -> None:
        self._song = song
        self._events: list[tuple[float, str, int, int, int]] = []

    def add(self, channel: int, ticks: float, note: int, velocity: int, length: float) -> None:
        dice = self._song.dice
        begin = max(0.0, ticks + dice.gauss(0.0, self._song.human))
        loud = round(min(127.0, max(8.0, velocity + dice.gauss(0.0, 5.0))))
        self._events.append((begin, "note_on", channel, note, loud))
        self._events.append((begin + length, "note_off", channel, note, 0))

    def write(self, track: mido.MidiTrack) -> None:
        now = 0
        for ticks, kind, channel, note, velocity in sorted(self._events):
            place = round(ticks)
            track.append(
                mido.Message(kind, channel=channel, note=note, velocity=velocity, time=place - now)
            )
            now = place


def make_song(number: int, seconds: float = 75.0) -> tuple[str, float, int, int, int, bytes]:
    """Return name, beats per minute, beats per bar, bars, key, and MIDI data of a song.

    `number` is its seed; consecutive ones are in different styles. Beat 0 is at the beginning. The
    key is a major one: 0 to 11 from C.
    """
    dice = random.Random(number)
    band = BANDS[number % len(BANDS)]
    bpm = dice.uniform(*band.bpm)
    bpm = 6e7 / round(6e7 / (round(bpm) if dice.random() < 0.7 else bpm))  # as MIDI stores it
    human = dice.choice((0.0, 0.0, 0.004, 0.008, 0.012)) * bpm / 60 * TICKS
    swing = dice.uniform(0.05, 0.2) if dice.random() < 0.25 else 0.0
    song = _Song(dice, band, bpm, human, swing)
    bars = int(seconds * bpm / 60 / band.meter) // 4 * 4
    file, track = _file(bpm)
    for channel, programs in zip((BASS, COMPING, LEAD), band.instruments, strict=True):
        track.append(
            mido.Message("program_change", channel=channel, program=dice.choice(programs))
        )
    notes = _Notes(song)
    key = dice.randrange(12)
    _play(song, key, bars, notes)
    notes.write(track)
    return f"{band.name.replace(' ', '-')}-{number}", bpm, band.meter, bars, key, _bytes(file)


def make_moving_song(number: int, seconds: float = 75.0) -> tuple[str, list[float], int, bytes]:
    """Return name, times of the beats in seconds, beats per bar, and MIDI data of a song.

    It is that of `make_song`, played without a click: the tempo wanders, by a few percent in a
    minute, and no note is exactly on its beat.
    """
    name, bpm, meter, bars, _key, data = make_song(number, seconds)
    dice = random.Random(number + 1_000_000)
    file, track = _file(bpm)
    wander, pull, now = 0.0, 0.0, 0.0
    beats, tempi = [0.0], []
    for _beat in range(bars * meter):
        pull = 0.9 * pull + dice.gauss(0.0, WANDER)
        wander = max(-MAX_WANDER, min(MAX_WANDER, wander + pull))
        tempi.append(round(6e7 / (bpm * (1 + wander))))
        now += tempi[-1] / 1e6
        beats.append(now)
    events = [(float(TICKS * beat), 0, mido.MetaMessage("set_tempo", tempo=tempo))
              for beat, tempo in enumerate(tempi)]  # fmt: skip
    place = 0
    jitter = dice.choice((0.006, 0.009, 0.012)) * bpm / 60 * TICKS
    for message in mido.MidiFile(file=io.BytesIO(data)).tracks[0]:
        place += message.time
        if not message.is_meta:
            late = dice.gauss(0.0, jitter) if message.type == "note_on" else 0.0
            order = 1 if message.type == "program_change" else 2
            events.append((max(0.0, place + late), order, message))
    last = 0
    for at, _order, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=round(at) - last))
        last = round(at)
    return name, beats[:-1], meter, _bytes(file)


def _file(bpm: float) -> tuple[mido.MidiFile, mido.MidiTrack]:
    file, track = mido.MidiFile(ticks_per_beat=TICKS), mido.MidiTrack()
    file.tracks.append(track)
    track.append(mido.MetaMessage("set_tempo", tempo=round(6e7 / bpm)))
    return file, track


def _bytes(file: mido.MidiFile) -> bytes:
    data = io.BytesIO()
    file.save(file=data)
    return data.getvalue()


def _play(song: _Song, key: int, bars: int, notes: _Notes) -> None:
    dice, band = song.dice, song.band
    progression = dice.choice(PROGRESSIONS)
    # Chords last one bar or two; in a fast or short bar, longer ones are usual.
    chord_bars = dice.choice((1, 1, 2)) if song.bpm > 100 or band.meter < 4 else 1
    drums = [{drum: dice.choice(lines) for drum, lines in band.drums.items()} for _ in range(2)]
    bass, comping = dice.choice(band.bass), [dice.choice(band.chords) for _ in range(2)]
    has_drums, has_lead, has_fills = dice.random() < 0.85, dice.random() < 0.7, dice.random() < 0.8
    intro = dice.choice((0, 0, 4))
    for bar in range(bars):
        begin = float(bar * band.meter * TICKS)
        section = bar // PHRASE_BARS
        triad = TRIADS[progression[bar // chord_bars % len(progression)]]
        if has_drums and bar >= intro:
            fills = has_fills and bar % PHRASE_BARS == PHRASE_BARS - 1
            _play_drums(song, begin, drums[section % 2], fills, notes)
            if bar and bar % PHRASE_BARS == 0 and dice.random() < 0.6:
                notes.add(DRUM_CHANNEL, begin, CRASH, 100, 200.0)
        if bar >= intro // 2:
            _play_bass(song, begin, bass, key, triad, notes)
        for step, length in _held(comping[bar % 2]):
            for pitch in triad:
                _sound(song, COMPING, begin, step, 60 + (key + pitch) % 12, 78, length, notes)
        if has_lead and section % 4 != 3 and bar >= intro:
            _play_lead(song, begin, key, triad, notes)


def _held(pattern: str) -> list[tuple[int, int]]:
    # The steps of a pattern's notes, and their lengths up to the next one.
    steps = [at for at, mark in enumerate(pattern) if mark != "."]
    return [
        (at, end - at) for at, end in zip(steps, [*steps[1:], len(pattern)], strict=True)
    ]


def _sound(
    song: _Song, channel: int, begin: float, step: int, note: int, velocity: int, steps: int,
    notes: _Notes,
) -> None:
    length = 0.85 * steps * TICKS / song.band.division
    notes.add(channel, begin + song.at(step), note, velocity, length)


def _play_drums(
    song: _Song, begin: float, patterns: dict[int, str], fills: bool, notes: _Notes
) -> None:
    steps = song.band.meter * song.band.division
    for drum, pattern in patterns.items():
        for step, mark in enumerate(pattern):
            quiet = fills and step >= steps // 2 and drum in (KICK, HAT, RIDE)
            if mark != "." and not quiet:
                velocity = 100 if mark == "x" else 55
                notes.add(DRUM_CHANNEL, begin + song.at(step), drum, velocity, 60.0)
    if fills:
        for step in range(steps // 2, steps):
            if song.dice.random() < 0.7:
                drum = song.dice.choice(TOMS)
                notes.add(DRUM_CHANNEL, begin + song.at(step), drum, 95, 60.0)


def _play_bass(
    song: _Song, begin: float, pattern: str, key: int, triad: tuple[int, ...], notes: _Notes
) -> None:
    for step, length in _held(pattern):
        mark = pattern[step]
        above = {"r": 0, "R": 0, "3": triad[1] - triad[0], "5": 7}[mark]
        note = 36 + (key + triad[0] + above) % 12 + 12 * (mark == "R")
        _sound(song, BASS, begin, step, note, 95, length, notes)


def _play_lead(
    song: _Song, begin: float, key: int, triad: tuple[int, ...], notes: _Notes
) -> None:
    dice, division = song.dice, song.band.division
    steps = song.band.meter * division
    step = 0
    while step < steps:
        length = min(dice.choice((1, 2, 2, division, division, 2 * division)), steps - step)
        if dice.random() < 0.8:
            note = 72 + (key + dice.choice((*triad, 2, 9))) % 12
            velocity = 76 if step % division else 88
            _sound(song, LEAD, begin, step, note, velocity, length, notes)
        step += length
