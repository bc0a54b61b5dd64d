"""What has a pitch in a made track: bass, chords, lead, voice."""

from __future__ import annotations

import numpy as np

from benchmarks.made import sounds
from benchmarks.made.maker import Maker
from benchmarks.made.styles import PROGRESSIONS

MELODY = {True: (0, 0, 2, 4, 4, 3, 6, 1), False: (0, 0, 2, 4, 4, 5, 1, 2)}  # degrees, with weights


def _chord_of(maker: Maker, bar: int, cache: dict[str, tuple[int, ...]]) -> int:
    if "progression" not in cache:
        choices = PROGRESSIONS[maker.minor]
        cache["progression"] = choices[maker.random.integers(len(choices))]
    progression = cache["progression"]
    return progression[bar % len(progression)]


def play_bass(maker: Maker) -> None:
    """The roots of the chords, in one octave."""
    random, style = maker.random, maker.style
    pattern = style.bass[random.integers(len(style.bass))]
    timbre = (random.uniform(0.7, 2.2), random.choice([0.0, 1.0]))
    top, decay = random.choice([300.0, 700.0, 2500.0]), random.uniform(0.2, 1.5)
    octave = 1 if maker.tonic >= 4 else 2
    walks = random.random() < 0.3
    cache = maker.__dict__.setdefault("harmony", {})
    for bar, _, section in maker.bars():
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


def play_chords(maker: Maker) -> None:
    """Pads, stabs, keys or an arpeggio."""
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
    for bar, _, section in maker.bars():
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


def play_lead(maker: Maker) -> None:
    """Two bars of melody, with echoes."""
    random = maker.random
    timbre = (random.uniform(0.9, 1.6), random.choice([0.0, 1.0]))
    choices = MELODY[maker.minor]
    # Two bars of melody that come again and again.
    phrase = [
        (at, choices[random.integers(len(choices))], int(random.choice([1, 2, 3])))
        for at in sorted(random.choice(np.arange(0, 32), 9, replace=False))
    ]
    for bar, inside, section in maker.bars():
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


def sing(maker: Maker) -> None:
    """A voice, every other bar or so."""
    random = maker.random
    octave = int(random.choice([3, 4]))
    choices = MELODY[maker.minor]
    bars = maker.bars()
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
