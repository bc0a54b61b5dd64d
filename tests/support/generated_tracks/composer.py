"""State shared by the instruments of a generated track: tempo, key, sections, beats, stems."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tests.support.generated_tracks import instruments
from tests.support.generated_tracks.styles import STYLES, Style

Audio = npt.NDArray[np.float32]
STEMS = ("drums", "bass", "vocals", "other")
SCALES = {True: (0, 2, 3, 5, 7, 8, 10), False: (0, 2, 4, 5, 7, 9, 11)}

LANES = {  # lanes that play in each kind of section; the seed may change them
    "intro": ("kick", "hats"),
    "verse": ("kick", "snare", "hats", "bass", "chords", "voice"),
    "build": ("snare roll", "hats", "chords", "riser"),
    "drop": ("kick", "snare", "hats", "percussion", "bass", "chords", "lead"),
    "break": ("chords", "lead", "voice"),
    "outro": ("kick", "hats", "bass"),
}


@dataclass(frozen=True)
class Section:
    """A section of a generated track, in whole bars."""

    kind: str
    bars: int
    lanes: tuple[str, ...]


class Composer:
    """The state of one track during its generation."""

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
        # 5 and 24 have no common factor, nor have the style's number and the remaining part.
        self.tonic, self.minor = (seed * 5 + seed // 24) % 12, bool((seed // 12 + seed) % 2)
        self.cents = float(random.choice([0.0, 0.0, random.uniform(-25, 25)]))
        self.swing = random.uniform(*self.style.swing)
        # Styles without a shuffle use no random number, so their tracks stay the same.
        delay = self.style.shuffle
        self.shuffle = random.uniform(*delay) if delay != (0.0, 0.0) else 0.0
        lead_ins = [0.0, random.uniform(0.0, 0.3), random.uniform(0.0, 3.0)]
        self.lead_in = float(random.choice(lead_ins))
        self.sections = self._plan(seconds)
        self.total_bars = sum(section.bars for section in self.sections)
        self._lay_beats()
        self.frames = int((self.bar_second(self.total_bars) + 1.5) * self.rate)
        self.stems = {name: np.zeros((self.frames, 2), np.float32) for name in STEMS}
        self.vocals: list[tuple[float, float]] = []
        self.kicks: list[float] = []
        self._notes: dict[tuple[object, ...], Audio] = {}

    def _plan(self, seconds: float) -> tuple[Section, ...]:
        random = self.random
        bars = max(8, round(seconds * self.bpm / (60 * self.style.beats)))
        unit = 8 if bars >= 36 else 4
        order = [["intro", "verse", "build", "drop", "break", "drop", "outro"],
                 ["intro", "verse", "drop", "break", "verse", "drop", "outro"],
                 ["intro", "build", "drop", "break", "build", "drop", "outro"],
                 ["verse", "drop", "verse", "break", "drop"]][int(random.integers(4))]  # fmt: skip
        lengths = {kind: unit for kind in LANES}
        lengths["drop"] = unit * int(random.choice([1, 2]))
        lengths["build"] = 4
        found: list[Section] = []
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
            found.append(Section(kind, lengths[kind], tuple(lane_of[kind])))
        return tuple(found)

    def _lay_beats(self) -> None:
        count = self.style.beats * self.total_bars + 9
        tempi = np.full(count, self.bpm)
        if not self.steady:
            at = np.arange(count) / count
            if self.random.random() < 0.5:
                tempi *= 1 + self.random.uniform(0.03, 0.08) * self.random.choice([-1, 1]) * at
            else:  # like human players: the tempo wanders
                steps = self.random.standard_normal(count)
                tempi *= 1 + 0.012 * np.convolve(steps, np.hanning(33) / 4, "same")
        self.beats = self.lead_in + np.concatenate([[0.0], np.cumsum(60.0 / tempi)])

    def second(self, beat: float) -> float:
        """Return the time of a beat in seconds."""
        return float(np.interp(beat, np.arange(len(self.beats)), self.beats))

    def bar_second(self, bar: float) -> float:
        """Return the time of a bar line in seconds."""
        return self.second(self.style.beats * bar)

    @property
    def step_seconds(self) -> float:
        """The length of a step at the mean tempo."""
        return 60 * self.style.beats / self.style.steps / self.bpm

    def step(self, bar: int, step: float) -> float:
        """Return the time of a step of a bar in seconds, with swing."""
        late = self.swing if int(step) % 2 else 0.0
        per_beat = self.style.steps / self.style.beats
        beat, within = divmod((step + late) / per_beat, 1.0)
        middle = 0.5 * (1 + self.shuffle)  # of the beat: where the second eighth is played
        within = within * 2 * middle if within < 0.5 else 1 - (1 - within) * 2 * (1 - middle)
        return self.second(self.style.beats * bar + beat + within)

    def put(self, stem: str, second: float, sound: Audio, gain: float, pan: float = 0.0) -> None:
        """Add a mono sound. `pan`: -1 is left, 1 right."""
        if self.style.human_ms:
            second += float(self.random.normal(0, self.style.human_ms)) / 1000
        at = max(0, round(second * self.rate))
        part = sound[: max(0, self.frames - at)]
        sides = np.array([math.sqrt(0.5 * (1 - pan)), math.sqrt(0.5 * (1 + pan))], np.float32)
        self.stems[stem][at : at + len(part)] += np.float32(gain) * part[:, None] * sides

    def cached_note(self, *key: object) -> Audio:
        """Synthesize a note once. `key`: the arguments of `instruments.note` after the rate."""
        if key not in self._notes:
            self._notes[key] = instruments.note(self.rate, *key)  # type: ignore[arg-type]
        return self._notes[key]

    def scale_note(self, degree: int, octave: int) -> float:
        """Return the MIDI note of a scale degree; degrees above 6 continue in the next octave."""
        scale = SCALES[self.minor]
        return 12 * (octave + 1 + degree // 7) + self.tonic + scale[degree % 7]

    def hz(self, midi: float) -> float:
        """Return the frequency in Hz of a MIDI note in this track's tuning."""
        return instruments.hertz(midi, self.cents)

    def bars(self) -> list[tuple[int, int, Section]]:
        """Return (bar, bar within its section, section) for every bar."""
        found, bar = [], 0
        for section in self.sections:
            for inside in range(section.bars):
                found.append((bar, inside, section))
                bar += 1
        return found
