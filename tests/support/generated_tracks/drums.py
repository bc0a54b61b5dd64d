"""The drums of a generated track."""

from __future__ import annotations

import numpy as np

from tests.support.generated_tracks import instruments
from tests.support.generated_tracks.composer import Composer
from tests.support.generated_tracks.styles import STYLES


def play_drums(composer: Composer) -> None:
    """Add kick, snare, hats, percussion, and the fills that lead into the next section."""
    random, rate = composer.random, composer.rate
    kick, snare = instruments.kick(random, rate), instruments.snare(random, rate)
    closed, opened = instruments.hat(random, rate, False), instruments.hat(random, rate, True)
    crash, tone = instruments.crash(random, rate), instruments.percussion(random, rate)
    style, steps = composer.style, composer.style.steps
    patterns = {
        "kick": style.kick[random.integers(len(style.kick))],
        "snare": style.snare[random.integers(len(style.snare))],
        "hats": style.hats[random.integers(len(style.hats))],
        "percussion": "".join(random.choice(list("..xo.."), steps)),
    }
    kit = {"kick": (kick, 0.8, 0.0), "snare": (snare, 0.5, 0.0), "hats": (closed, 0.22, 0.25),
           "percussion": (tone, 0.2, -0.4)}  # fmt: skip
    # Hits are added and removed for the whole track, so that tracks of one style differ.
    for lane, (more, less) in {"kick": (0.03, 0.0), "snare": (0.03, 0.0), "hats": (0.08, 0.1),
                               "percussion": (0.0, 0.0)}.items():  # fmt: skip
        chance = random.random(steps)
        patterns[lane] = "".join(
            ("o" if roll < more else mark) if mark == "." else ("." if roll < less else mark)
            for mark, roll in zip(patterns[lane], chance, strict=True)
        )
    if random.random() < 0.15 and style in STYLES:  # the hats of another style
        other = STYLES[random.integers(len(STYLES))]
        patterns["hats"] = other.hats[random.integers(len(other.hats))]
    if random.random() < 0.04:  # hands instead of a drum kit
        patterns["kick"] = patterns["snare"] = "." * steps
    open_hats = random.random() < 0.4 and patterns["hats"].startswith("..x")
    loud_hats = random.uniform(0.6, 1.8)
    crashes = random.random() < 0.7
    for bar, inside, section in composer.bars():
        last = inside == section.bars - 1
        if crashes and inside == 0 and "kick" in section.lanes and bar:
            composer.put("drums", composer.step(bar, 0), crash, 0.3, 0.1)
        for lane, pattern in patterns.items():
            if lane not in section.lanes:
                continue
            sound, gain, pan = kit[lane]
            if lane == "hats":
                sound, gain = (opened if open_hats else closed), gain * loud_hats
            for at, mark in enumerate(pattern):
                if mark == ".":
                    continue
                if lane == "kick" and last and at >= steps // 2 and random.random() < 0.3:
                    continue
                strength = (1.0 if mark == "x" else 0.5) * random.uniform(0.85, 1.0)
                second = composer.step(bar, at)
                if lane == "kick":
                    composer.kicks.append(second)
                else:
                    second += abs(random.normal(0, 1)) * style.jitter_ms / 1000
                composer.put("drums", second, sound, gain * strength, pan)
        if last and "snare" in section.lanes and random.random() < 0.5:  # a fill
            for at in sorted(random.choice(np.arange(steps // 2, steps), 4, replace=False)):
                composer.put("drums", composer.step(bar, int(at)), snare, 0.3)
        if "snare roll" in section.lanes:
            share = (inside + 1) / section.bars
            step = 4 if share <= 0.25 else 2 if share <= 0.75 else 1
            for at in range(0, steps, step):
                composer.put("drums", composer.step(bar, at), snare, 0.15 + 0.3 * share)
        if "riser" in section.lanes and inside == 0:
            begin, end = composer.bar_second(bar), composer.bar_second(bar + section.bars)
            frames = int((end - begin) * rate)
            noise = instruments.noise_band(random, frames, rate, 1000, 12000)
            rising = (noise * np.linspace(0, 1, frames) ** 2).astype(np.float32)
            composer.put("other", composer.step(bar, 0), rising, 0.12)
