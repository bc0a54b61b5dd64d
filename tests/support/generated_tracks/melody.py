"""The pitched parts of a generated track: bass, chords, lead and vocals."""

from __future__ import annotations

import numpy as np

from tests.support.generated_tracks import instruments
from tests.support.generated_tracks.composer import Composer
from tests.support.generated_tracks.styles import PROGRESSIONS

MELODY = {True: (0, 0, 2, 4, 4, 3, 6, 1), False: (0, 0, 2, 4, 4, 5, 1, 2)}  # degrees, with weights


def _chord_of(composer: Composer, bar: int, cache: dict[str, tuple[int, ...]]) -> int:
    if "progression" not in cache:
        choices = PROGRESSIONS[composer.minor]
        cache["progression"] = choices[composer.random.integers(len(choices))]
    progression = cache["progression"]
    return progression[bar % len(progression)]


def play_bass(composer: Composer) -> None:
    """The roots of the chords, in one octave."""
    random, style = composer.random, composer.style
    pattern = style.bass[random.integers(len(style.bass))]
    timbre = (random.uniform(0.7, 2.2), random.choice([0.0, 1.0]))
    top, decay = random.choice([300.0, 700.0, 2500.0]), random.uniform(0.2, 1.5)
    octave = 1 if composer.tonic >= 4 else 2
    walks = random.random() < 0.3
    cache = composer.__dict__.setdefault("harmony", {})
    for bar, _, section in composer.bars():
        root = _chord_of(composer, bar, cache)
        if "bass" not in section.lanes:
            continue
        for at, mark in enumerate(pattern):
            if mark not in "xo":
                continue
            length = 1 + len(pattern[at + 1 :]) - len(pattern[at + 1 :].lstrip("-"))
            degree = root + (4 if walks and at >= 0.75 * style.steps else 0)
            pitch = composer.hz(composer.scale_note(degree, octave))
            seconds = max(0.08, round(length * composer.step_seconds * 0.95, 3))
            sound = composer.cached_note(pitch, seconds, timbre, 4.0, decay, max(top, 2.5 * pitch))
            composer.put("bass", composer.step(bar, at), sound, 0.4 if mark == "x" else 0.25)


def play_chords(composer: Composer) -> None:
    """Pads, stabs, keys or an arpeggio."""
    random = composer.random
    kind = composer.style.chords[random.integers(len(composer.style.chords))]
    timbre = (random.uniform(0.8, 1.8), random.choice([0.3, 1.0]))
    steps = {"pad": "x---------------", "stabs": "..x-..x-..x-..x-", "keys": "x---..x-..x---..",
             "arp": "xxxxxxxxxxxxxxxx"}[kind]  # fmt: skip
    if kind == "stabs" and random.random() < 0.5:
        steps = "x..x..x-....x..x"
    if composer.style.comping:
        steps = composer.style.comping[random.integers(len(composer.style.comping))]
    sevenths = random.random() < 0.3
    cache = composer.__dict__.setdefault("harmony", {})
    gain = random.uniform(0.07, 0.14)
    for bar, _, section in composer.bars():
        root = _chord_of(composer, bar, cache)
        if "chords" not in section.lanes:
            continue
        degrees = [root, root + 2, root + 4] + ([root + 6] if sevenths else [])
        for at, mark in enumerate(steps):
            if mark not in "xo":
                continue
            length = 1 + len(steps[at + 1 :]) - len(steps[at + 1 :].lstrip("-"))
            seconds = round(length * composer.step_seconds, 3)
            attack = 60.0 if kind == "pad" else 3.0
            decay = 9.0 if kind == "pad" else 0.35
            sounding = [degrees[at % len(degrees)]] if kind == "arp" else degrees
            for number, degree in enumerate(sounding):
                pitch = composer.hz(composer.scale_note(degree % 7, 4 if degree < 7 else 5))
                for side in (-1, 1):
                    sound = composer.cached_note(
                        pitch * (1 + 0.0012 * side), seconds, timbre, attack, decay, 5000.0
                    )
                    pan = side * (0.7 if kind == "pad" else 0.3 + 0.1 * number)
                    composer.put("other", composer.step(bar, at), sound, gain, pan)


def play_lead(composer: Composer) -> None:
    """Two bars of melody, with echoes."""
    random, steps = composer.random, composer.style.steps
    timbre = (random.uniform(0.9, 1.6), random.choice([0.0, 1.0]))
    choices = MELODY[composer.minor]
    # Two bars of melody that repeat.
    phrase = [
        (at, choices[random.integers(len(choices))], int(random.choice([1, 2, 3])))
        for at in sorted(random.choice(np.arange(0, 2 * steps), 9, replace=False))
    ]
    for bar, inside, section in composer.bars():
        if "lead" not in section.lanes:
            continue
        for at, degree, length in phrase:
            if at // steps != inside % 2:
                continue
            pitch = composer.hz(composer.scale_note(degree, 5))
            seconds = round(length * composer.step_seconds, 3)
            second = composer.step(bar, int(at) % steps)
            sound = composer.cached_note(pitch, seconds, timbre, 5.0, 0.4, 7000.0)
            for echo in range(3):
                late = 3 * echo * composer.step_seconds
                composer.put("other", second + late, sound, 0.12 * 0.4**echo, 0.5 * (-1) ** echo)


def sing(composer: Composer) -> None:
    """Vocals in about every other bar."""
    random = composer.random
    octave = int(random.choice([3, 4]))
    choices = MELODY[composer.minor]
    bars = composer.bars()
    for bar, inside, section in bars:
        if "voice" not in section.lanes or inside % 2 or random.random() < 0.15:
            continue
        length = 60 / composer.bpm
        count = int(random.integers(5, 10))
        pitches = [
            (
                composer.hz(composer.scale_note(choices[random.integers(len(choices))], octave)),
                length * float(random.choice([0.5, 0.5, 1.0])),
            )
            for _ in range(count)
        ]
        begin = composer.step(bar, int(random.choice([0, 2, 4])))
        sound = instruments.sing(random, composer.rate, pitches)
        sound = sound[: int((composer.bar_second(bar + 1.875) - begin) * composer.rate)]
        end = begin + len(sound) / composer.rate
        composer.put("vocals", begin, sound, 0.35)
        composer.vocals.append((begin, end))
