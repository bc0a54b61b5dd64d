"""The drums of a made track."""

from __future__ import annotations

import numpy as np

from benchmarks.made import sounds
from benchmarks.made.maker import Maker
from benchmarks.made.styles import STYLES


def play_drums(maker: Maker) -> None:
    """Kick, snare, hats, percussion, and what leads from one section to the next."""
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
    for bar, inside, section in maker.bars():
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
            noise = sounds.noise_band(random, frames, rate, 1000, 12000)
            rising = (noise * np.linspace(0, 1, frames) ** 2).astype(np.float32)
            maker.put("other", maker.step(bar, 0), rising, 0.12)
