"""Whole tracks with known truth: tempo, beats, key, sections, voice. Made from a seed.

    from benchmarks.made_tracks import make
    track = make(7)
    track.stems["drums"], track.truth.bpm

Twelve styles (`made/styles.py`), 70 to 180 beats a minute, all 24 keys, swing, syncopation,
breaks, half-time, intros without drums, tempi that move, four families of timbres, noise floors,
side-chain pumping, echoes. Each seed is another track, and always the same one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from benchmarks.made import sounds
from benchmarks.made.styles import PROGRESSIONS, STYLES, Style

Audio = npt.NDArray[np.float32]
STEMS = ("drums", "bass", "vocals", "other")
SCALES = {True: (0, 2, 3, 5, 7, 8, 10), False: (0, 2, 4, 5, 7, 9, 11)}
MELODY = {True: (0, 0, 2, 4, 4, 3, 6, 1), False: (0, 0, 2, 4, 4, 5, 1, 2)}  # degrees, with weights

LANES = {  # what plays in a section of each kind, unless chance has it otherwise
    "intro": ("kick", "hats"),
    "verse": ("kick", "snare", "hats", "bass", "chords", "voice"),
    "build": ("snare roll", "hats", "chords", "riser"),
    "drop": ("kick", "snare", "hats", "percussion", "bass", "chords", "lead"),
    "break": ("chords", "lead", "voice"),
    "outro": ("kick", "hats", "bass"),
}


@dataclass(frozen=True)
class MadeSection:
    """A part of a made track: whole bars."""

    kind: str
    bars: int
    lanes: tuple[str, ...]


@dataclass(frozen=True)
class Truth:
    """What is known. `bpm`: of a track whose tempo moves, the median."""

    style: str
    bpm: float
    steady: bool
    beats: npt.NDArray[np.float64]  # second of each beat; the first is a downbeat
    tonic: int
    minor: bool
    swing: float
    sections: tuple[tuple[float, str], ...]  # begin in seconds, kind
    vocals: tuple[tuple[float, float], ...]
    separate: bool  # analysed as stems, not as one file


@dataclass
class MadeTrack:
    """A track: each stem `(frames, 2)`, float32."""

    name: str
    rate: int
    truth: Truth
    stems: dict[str, Audio] = field(repr=False)

    def mix(self) -> Audio:
        """The sum of the stems."""
        total: Audio = np.sum(list(self.stems.values()), axis=0, dtype=np.float32)
        return total


class _Maker:
    """The state of making one track."""

    def __init__(self, seed: int, seconds: float, style: Style | None, steady: bool | None) -> None:
        self.random = random = np.random.default_rng(seed)
        self.style = style or STYLES[seed % len(STYLES)]
        self.rate = int(random.choice([44100, 44100, 44100, 48000]))
        low, high = self.style.bpm
        self.bpm = random.uniform(max(70.0, 0.95 * low), min(180.0, 1.05 * high))
        kind = random.random()
        if kind < 0.5:
            self.bpm = float(round(self.bpm))
        elif kind < 0.7:
            self.bpm = round(self.bpm, 1)
        self.steady = bool(random.random() > 0.08) if steady is None else steady
        # 5 and 24 have no common factor, nor has the style's number with what is left of it.
        self.tonic, self.minor = (seed * 5 + seed // 24) % 12, bool((seed // 12 + seed) % 2)
        self.cents = random.choice([0.0, 0.0, random.uniform(-25, 25)])
        self.swing = random.uniform(*self.style.swing)
        self.lead_in = random.choice([0.0, random.uniform(0.0, 0.3), random.uniform(0.0, 3.0)])
        self.sections = self._plan(seconds)
        self.total_bars = sum(section.bars for section in self.sections)
        self._lay_beats()
        self.frames = int((self.second(4 * self.total_bars) + 1.5) * self.rate)
        self.stems = {name: np.zeros((self.frames, 2), np.float32) for name in STEMS}
        self.vocals: list[tuple[float, float]] = []
        self.kicks: list[float] = []
        self._notes: dict[tuple[object, ...], Audio] = {}

    def _plan(self, seconds: float) -> tuple[MadeSection, ...]:
        random = self.random
        bars = max(8, round(seconds * self.bpm / 240))
        unit = 8 if bars >= 36 else 4
        order = [["intro", "verse", "build", "drop", "break", "drop", "outro"],
                 ["intro", "verse", "drop", "break", "verse", "drop", "outro"],
                 ["intro", "build", "drop", "break", "build", "drop", "outro"],
                 ["verse", "drop", "verse", "break", "drop"]][int(random.integers(4))]  # fmt: skip
        lengths = {kind: unit for kind in LANES}
        lengths["drop"] = unit * int(random.choice([1, 2]))
        lengths["build"] = 4
        found: list[MadeSection] = []
        lane_of = {kind: list(lanes) for kind, lanes in LANES.items()}
        lane_of["intro"] = list(
            (("kick", "hats"), ("chords",), ("chords", "hats"), ("kick", "hats", "percussion"),
             ("snare", "hats", "kick"))[int(random.integers(5))]
        )  # fmt: skip
        if random.random() < 0.4:
            lane_of["break"] += ["hats"]
        if random.random() < 0.4:
            lane_of["outro"] = ["kick", "snare", "hats", "chords"]
        if random.random() < 0.3:
            lane_of["verse"].remove("voice")
        if random.random() < 0.3:
            lane_of["drop"].remove("lead")
            lane_of["drop"].append("voice")
        while sum(section.bars for section in found) < bars and len(found) < len(order):
            kind = order[len(found)]
            found.append(MadeSection(kind, lengths[kind], tuple(lane_of[kind])))
        return tuple(found)

    def _lay_beats(self) -> None:
        count = 4 * self.total_bars + 9
        tempi = np.full(count, self.bpm)
        if not self.steady:
            at = np.arange(count) / count
            if self.random.random() < 0.5:
                tempi *= 1 + self.random.uniform(0.03, 0.08) * self.random.choice([-1, 1]) * at
            else:  # played by people: the tempo wanders
                steps = self.random.standard_normal(count)
                tempi *= 1 + 0.012 * np.convolve(steps, np.hanning(33) / 4, "same")
        self.beats = self.lead_in + np.concatenate([[0.0], np.cumsum(60.0 / tempi)])

    def second(self, beat: float) -> float:
        """Second of a beat."""
        return float(np.interp(beat, np.arange(len(self.beats)), self.beats))

    def step(self, bar: int, sixteenth: float) -> float:
        """Second of a step of a bar, with swing."""
        whole = int(sixteenth)
        late = self.swing if whole % 2 else 0.0
        return self.second(4 * bar + (sixteenth + late) / 4)

    def put(self, stem: str, second: float, sound: Audio, gain: float, pan: float = 0.0) -> None:
        """Add a mono sound. `pan`: -1 is left."""
        at = round(second * self.rate)
        part = sound[: max(0, self.frames - at)]
        sides = np.array([math.sqrt(0.5 * (1 - pan)), math.sqrt(0.5 * (1 + pan))], np.float32)
        self.stems[stem][at : at + len(part)] += np.float32(gain) * part[:, None] * sides

    def kept(self, *what: object, make: object = None) -> Audio:
        """A note, made once. `what`: arguments of `sounds.note` after the rate."""
        if what not in self._notes:
            self._notes[what] = sounds.note(self.rate, *what)  # type: ignore[arg-type]
        return self._notes[what]

    def scale_note(self, degree: int, octave: int) -> float:
        """MIDI note of a degree of the scale; those beyond 6 go on in the next octave."""
        scale = SCALES[self.minor]
        return 12 * (octave + 1 + degree // 7) + self.tonic + scale[degree % 7]

    def hz(self, midi: float) -> float:
        """Frequency of a MIDI note in this track's tuning."""
        return sounds.hertz(midi, self.cents)


def make(
    seed: int, seconds: float = 90.0, style: Style | None = None, steady: bool | None = None
) -> MadeTrack:
    """The track of a seed, about that long. `style`, `steady`: instead of what the seed says."""
    maker = _Maker(seed, seconds, style, steady)
    _play_drums(maker)
    _play_bass(maker)
    _play_chords(maker)
    _play_lead(maker)
    _sing(maker)
    _finish(maker)
    begins = np.cumsum([0, *(section.bars for section in maker.sections)])
    truth = Truth(
        style=maker.style.name,
        bpm=float(60 / np.median(np.diff(maker.beats[: 4 * maker.total_bars + 1]))),
        steady=maker.steady,
        beats=maker.beats[: 4 * maker.total_bars + 1],
        tonic=maker.tonic,
        minor=maker.minor,
        swing=maker.swing,
        sections=tuple(
            (maker.second(4 * int(begin)), section.kind)
            for begin, section in zip(begins[:-1], maker.sections, strict=True)
        ),
        vocals=tuple(maker.vocals),
        separate=bool(maker.random.random() < 0.5),
    )
    return MadeTrack(f"{seed}-{maker.style.name}", maker.rate, truth, maker.stems)


def _bars(maker: _Maker) -> list[tuple[int, int, MadeSection]]:
    # Bar, bar within its section, section.
    found, bar = [], 0
    for section in maker.sections:
        for inside in range(section.bars):
            found.append((bar, inside, section))
            bar += 1
    return found


def _play_drums(maker: _Maker) -> None:
    random, rate = maker.random, maker.rate
    kick, snare = sounds.kick(random, rate), sounds.snare(random, rate)
    closed, opened = sounds.hat(random, rate, False), sounds.hat(random, rate, True)
    crash, tone = sounds.crash(random, rate), sounds.percussion(random, rate)
    style = maker.style
    patterns = {
        "kick": style.kick[random.integers(len(style.kick))],
        "snare": style.snare[random.integers(len(style.snare))],
        "hats": style.hats[random.integers(len(style.hats))],
        "percussion": "".join(random.choice(list("..xo.."), 16)),
    }
    kit = {"kick": (kick, 0.8, 0.0), "snare": (snare, 0.5, 0.0), "hats": (closed, 0.22, 0.25),
           "percussion": (tone, 0.2, -0.4)}  # fmt: skip
    # No two drummers play the same: hits are added and left out, for the whole track.
    for lane, (more, less) in {"kick": (0.03, 0.0), "snare": (0.03, 0.0), "hats": (0.08, 0.1),
                               "percussion": (0.0, 0.0)}.items():  # fmt: skip
        chance = random.random(16)
        patterns[lane] = "".join(
            ("o" if roll < more else mark) if mark == "." else ("." if roll < less else mark)
            for mark, roll in zip(patterns[lane], chance, strict=True)
        )
    if random.random() < 0.15:  # the hats of another style
        other = STYLES[random.integers(len(STYLES))]
        patterns["hats"] = other.hats[random.integers(len(other.hats))]
    if random.random() < 0.04:  # hands instead of a drum kit
        patterns["kick"] = patterns["snare"] = "." * 16
    open_hats = random.random() < 0.4 and patterns["hats"].startswith("..x")
    loud_hats = random.uniform(0.6, 1.8)
    crashes = random.random() < 0.7
    for bar, inside, section in _bars(maker):
        last = inside == section.bars - 1
        if crashes and inside == 0 and "kick" in section.lanes and bar:
            maker.put("drums", maker.step(bar, 0), crash, 0.3, 0.1)
        for lane, pattern in patterns.items():
            if lane not in section.lanes:
                continue
            sound, gain, pan = kit[lane]
            if lane == "hats":
                sound, gain = (opened if open_hats else closed), gain * loud_hats
            for at, mark in enumerate(pattern):
                if mark == ".":
                    continue
                if lane == "kick" and last and at >= 8 and random.random() < 0.3:
                    continue
                strength = (1.0 if mark == "x" else 0.5) * random.uniform(0.85, 1.0)
                second = maker.step(bar, at)
                if lane == "kick":
                    maker.kicks.append(second)
                else:
                    second += abs(random.normal(0, 1)) * style.jitter_ms / 1000
                maker.put("drums", second, sound, gain * strength, pan)
        if last and "snare" in section.lanes and random.random() < 0.5:  # a fill
            for at in sorted(random.choice(np.arange(8, 16), 4, replace=False)):
                maker.put("drums", maker.step(bar, int(at)), snare, 0.3)
        if "snare roll" in section.lanes:
            share = (inside + 1) / section.bars
            step = 4 if share <= 0.25 else 2 if share <= 0.75 else 1
            for at in range(0, 16, step):
                maker.put("drums", maker.step(bar, at), snare, 0.15 + 0.3 * share)
        if "riser" in section.lanes and inside == 0:
            frames = int((maker.second(4 * (bar + section.bars)) - maker.second(4 * bar)) * rate)
            noise = sounds._noise(random, frames, rate, 1000, 12000)
            rising = (noise * np.linspace(0, 1, frames) ** 2).astype(np.float32)
            maker.put("other", maker.step(bar, 0), rising, 0.12)


def _chord_of(maker: _Maker, bar: int, cache: dict[str, tuple[int, ...]]) -> int:
    if "progression" not in cache:
        choices = PROGRESSIONS[maker.minor]
        cache["progression"] = choices[maker.random.integers(len(choices))]
    progression = cache["progression"]
    return progression[bar % len(progression)]


def _play_bass(maker: _Maker) -> None:
    random, style = maker.random, maker.style
    pattern = style.bass[random.integers(len(style.bass))]
    timbre = (random.uniform(0.7, 2.2), random.choice([0.0, 1.0]))
    top, decay = random.choice([300.0, 700.0, 2500.0]), random.uniform(0.2, 1.5)
    octave = 1 if maker.tonic >= 4 else 2
    walks = random.random() < 0.3
    cache = maker.__dict__.setdefault("harmony", {})
    for bar, _, section in _bars(maker):
        root = _chord_of(maker, bar, cache)
        if "bass" not in section.lanes:
            continue
        for at, mark in enumerate(pattern):
            if mark not in "xo":
                continue
            length = 1 + len(pattern[at + 1 :]) - len(pattern[at + 1 :].lstrip("-"))
            degree = root + (4 if walks and at >= 12 else 0)
            pitch = maker.hz(maker.scale_note(degree, octave))
            seconds = max(0.08, round(length * 15 / maker.bpm * 0.95, 3))
            sound = maker.kept(pitch, seconds, timbre, 4.0, decay, max(top, 2.5 * pitch))
            maker.put("bass", maker.step(bar, at), sound, 0.4 if mark == "x" else 0.25)


def _play_chords(maker: _Maker) -> None:
    random = maker.random
    kind = maker.style.chords[random.integers(len(maker.style.chords))]
    timbre = (random.uniform(0.8, 1.8), random.choice([0.3, 1.0]))
    steps = {"pad": "x---------------", "stabs": "..x-..x-..x-..x-", "keys": "x---..x-..x---..",
             "arp": "xxxxxxxxxxxxxxxx"}[kind]  # fmt: skip
    if kind == "stabs" and random.random() < 0.5:
        steps = "x..x..x-....x..x"
    sevenths = random.random() < 0.3
    cache = maker.__dict__.setdefault("harmony", {})
    gain = random.uniform(0.07, 0.14)
    for bar, _, section in _bars(maker):
        root = _chord_of(maker, bar, cache)
        if "chords" not in section.lanes:
            continue
        degrees = [root, root + 2, root + 4] + ([root + 6] if sevenths else [])
        for at, mark in enumerate(steps):
            if mark != "x":
                continue
            length = 1 + len(steps[at + 1 :]) - len(steps[at + 1 :].lstrip("-"))
            seconds = round(length * 15 / maker.bpm, 3)
            attack = 60.0 if kind == "pad" else 3.0
            decay = 9.0 if kind == "pad" else 0.35
            sounding = [degrees[at % len(degrees)]] if kind == "arp" else degrees
            for number, degree in enumerate(sounding):
                pitch = maker.hz(maker.scale_note(degree % 7, 4 if degree < 7 else 5))
                for side in (-1, 1):
                    sound = maker.kept(
                        pitch * (1 + 0.0012 * side), seconds, timbre, attack, decay, 5000.0
                    )
                    pan = side * (0.7 if kind == "pad" else 0.3 + 0.1 * number)
                    maker.put("other", maker.step(bar, at), sound, gain, pan)


def _play_lead(maker: _Maker) -> None:
    random = maker.random
    timbre = (random.uniform(0.9, 1.6), random.choice([0.0, 1.0]))
    choices = MELODY[maker.minor]
    # Two bars of melody that come again and again.
    phrase = [
        (at, choices[random.integers(len(choices))], int(random.choice([1, 2, 3])))
        for at in sorted(random.choice(np.arange(0, 32), 9, replace=False))
    ]
    for bar, inside, section in _bars(maker):
        if "lead" not in section.lanes:
            continue
        for at, degree, length in phrase:
            if at // 16 != inside % 2:
                continue
            pitch = maker.hz(maker.scale_note(degree, 5))
            seconds = round(length * 15 / maker.bpm, 3)
            second = maker.step(bar, int(at) % 16)
            sound = maker.kept(pitch, seconds, timbre, 5.0, 0.4, 7000.0)
            for echo in range(3):
                late = echo * 45 / maker.bpm
                maker.put("other", second + late, sound, 0.12 * 0.4**echo, 0.5 * (-1) ** echo)


def _sing(maker: _Maker) -> None:
    random = maker.random
    octave = int(random.choice([3, 4]))
    choices = MELODY[maker.minor]
    bars = _bars(maker)
    for bar, inside, section in bars:
        if "voice" not in section.lanes or inside % 2 or random.random() < 0.15:
            continue
        length = 60 / maker.bpm
        count = int(random.integers(5, 10))
        pitches = [
            (
                maker.hz(maker.scale_note(choices[random.integers(len(choices))], octave)),
                length * float(random.choice([0.5, 0.5, 1.0])),
            )
            for _ in range(count)
        ]
        begin = maker.step(bar, int(random.choice([0, 2, 4])))
        sound = sounds.sing(random, maker.rate, pitches)
        sound = sound[: int((maker.second(4 * bar + 7.5) - begin) * maker.rate)]
        end = begin + len(sound) / maker.rate
        maker.put("vocals", begin, sound, 0.35)
        maker.vocals.append((begin, end))


def _finish(maker: _Maker) -> None:
    # Side-chain, echo on the voice, noise, level: as a producer would.
    random, rate = maker.random, maker.rate
    if random.random() < 0.5:
        depth = random.uniform(0.3, 0.8)
        shape = 1 - depth * np.exp(-np.arange(int(0.35 * rate)) / (0.09 * rate))
        gain = np.ones(maker.frames, np.float32)
        for second in maker.kicks:
            at = round(second * rate)
            part = gain[at : at + len(shape)]
            np.minimum(part, shape[: len(part)], out=part)
        for name in ("bass", "other"):
            maker.stems[name] *= gain[:, None]
    late = int(45 / maker.bpm * rate)
    maker.stems["vocals"][late:] += 0.25 * maker.stems["vocals"][:-late, ::-1]
    floor = 10 ** (random.uniform(-80, -45) / 20)
    noise = floor * random.standard_normal((maker.frames, 2), dtype=np.float32)
    maker.stems["other"] += noise
    peak = float(np.abs(np.sum(list(maker.stems.values()), axis=0)).max())
    level = random.uniform(0.3, 0.95) / peak
    for name in STEMS:
        maker.stems[name] *= np.float32(level)
