"""Measure how announcements duck the mix, in random trials, and whether that is heard as a click.

    python benchmarks/ducking.py [--trials 300] [--seed 1]

Each trial renders an announcement over music on the complete server, with random depth, attack,
hold, release, look-ahead, block size, and silence at the beginning of the file. The music is a
constant on the left channel, so each output frame shows the gain of the mix; the announcement is on
the right channel alone, so each frame shows the words. The figures are distances from the set
values. The mix counts as down when the gain is within 0.01 dB of the set depth.

Then a tone of 100 Hz is ducked in the same ways, and what it contains above 4 kHz is measured: a
click has energy there, a tone and its fade do not. A duck without an attack shows what the
measurement finds.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common
from crowdstream.engine.voice.voice import TAIL
from crowdstream.offline.session import Session
from crowdstream.settings import Settings

RATE = 44100
BLOCKS = (64, 128, 256, 512, 1024, 2048)
MUSIC = 0.25
MEMORY_BYTES = 64 << 20
NEAR = 10 ** (0.01 / 20)  # the mix is down: within 0.01 dB of the set depth
TONE, LOWEST_CLICK = 100.0, 4000.0  # Hz
MAX_SECONDS = 30.0  # of a trial

# Largest deviations that pass. Control looks for the end of the announcement once a block.
GOALS = {
    "depth_db": 0.01, "attack_ms": 0.1, "first_word_db": 0.01, "release_ms": 0.1,
    "step": 1e-6, "words": 1e-6, "mix_after": 0.0,
}  # fmt: skip
CLICK_GOAL_DBFS = -90.0


@dataclass(frozen=True)
class Setup:
    """An announcement: the arguments of `/announce`, the block size, and the file's silence (s)."""

    depth: float = 14.0
    attack: float = 0.4
    hold: float = 0.3
    release: float = 1.2
    ahead: float = 0.5
    silence: float = 0.0
    block: int = 256

    @property
    def gain(self) -> float:
        """The set gain of the ducked mix."""
        return float(10 ** (-self.depth / 20))

    def gain_after(self, seconds: float) -> float:
        """The gain so long after the beginning of the attack."""
        share = min(1.0, seconds / self.attack) if self.attack else 1.0
        return 1.0 + share * (self.gain - 1.0)


def random_setup(dice: random.Random) -> Setup:
    """Return a setup whose look-ahead is as long as its attack or longer, as by default."""
    attack = dice.uniform(0.02, 1.0)
    return Setup(
        dice.uniform(3.0, 60.0), attack, dice.uniform(0.0, 1.0), dice.uniform(0.05, 2.0),
        attack + dice.uniform(0.0, 0.5), dice.choice((0.0, dice.uniform(0.0, 0.4))),
        dice.choice(BLOCKS),
    )  # fmt: skip


def words(silence: float, seed: int) -> np.ndarray:
    """Return speech-like sound on the right channel: syllables of filtered noise, after silence.

    Its first and last frames after the silence are not zero.
    """
    dice = np.random.default_rng(seed)
    count = round(0.8 * RATE)
    noise = np.convolve(dice.normal(0, 1, count + 31), np.hanning(32) / 16, "valid")[:count]
    syllables = 0.55 + 0.45 * np.cos(2 * np.pi * 4.5 * np.arange(count) / RATE)
    spoken = np.clip(0.2 * noise * syllables, -0.6, 0.6)
    spoken[[0, -1]] = 0.3, -0.3
    whole = np.zeros((round(silence * RATE) + count, 2), np.float32)
    whole[-count:, 1] = np.round(spoken * 32767) / 32768
    return whole


class Stage(Session):
    """A server that plays a file on deck A, looped, and keeps its output."""

    def __init__(self, music: Path, block: int) -> None:
        self.failures: list[str] = []
        # Without look-ahead, sound is output on the frame that it is mixed for; below the ceiling
        # the limiter changes nothing.
        settings = Settings(limiter_lookahead=0.0, limiter_ceiling=0.0)
        super().__init__(settings, MEMORY_BYTES, RATE, block)
        self._block = block
        self.out: list[np.ndarray] = []
        self.send("/deck/A/load", str(music))
        self.run(0.1)
        self.send("/deck/A/play", 0.0, 1)
        self.run(0.3)

    def answer(self, _sender: Any, address: str, *arguments: Any) -> None:
        """Record failures."""
        if address == "/fail":
            self.failures.append(" ".join(map(str, arguments)))

    def run(self, seconds: float) -> None:
        """Render for some seconds, and keep the output."""
        for _ in range(math.ceil(seconds * RATE / self._block)):
            self.out.append(self.render(self._block).copy())
            self.load()

    def announce(self, setup: Setup, file: Path) -> np.ndarray:
        """Announce a file; return the output from then on, float32 `(frames, 2)`.

        Raises `BenchmarkError` if the announcement fails.
        """
        begin = sum(map(len, self.out))
        self.send(
            "/announce", str(file), setup.depth, setup.attack, setup.hold, setup.release,
            setup.ahead,
        )  # fmt: skip
        self.run(0.2)
        while (status := self.core.announcer.readings())["announcement"] or status["announcements"]:
            self.run(0.1)
            if sum(map(len, self.out)) > begin + MAX_SECONDS * RATE:
                raise common.BenchmarkError("the announcement does not end")
        self.run(setup.hold + setup.release + 0.3)
        if self.failures:
            raise common.BenchmarkError(f"the announcement failed: {self.failures[0]}")
        return np.concatenate(self.out)[begin:]


@dataclass(frozen=True)
class Measured:
    """One announcement, as distances from the set values.

    `depth_db`, `attack_ms`, `hold_ms`, `release_ms`, `ahead_ms`: measured less set. `down_ms`: how
    long the mix is down when the first word sounds. `first_word_db`: gain at that frame, less the
    gain that is due then. `step`: largest change of the gain from frame to frame, less that of the
    steeper ramp: a few roundings to float32. `words`: largest deviation of the words from the file.
    `mix_after`: the same of the mix after the release.
    """

    depth_db: float
    attack_ms: float
    hold_ms: float
    release_ms: float
    ahead_ms: float
    down_ms: float
    first_word_db: float
    step: float
    words: float
    mix_after: float


def measure(setup: Setup, out: np.ndarray, spoken: np.ndarray, music: float = MUSIC) -> Measured:
    """Measure the gain of a constant on the left channel around words on the right one.

    `out`: float32 `(frames, 2)`; `spoken`: the file of the announcement. Raises `BenchmarkError` if
    there are no words.
    """
    gain = out[:, 0].astype(np.float64) / music
    sounding = np.flatnonzero(out[:, 1])
    if not len(sounding):
        raise common.BenchmarkError("the announcement is not heard")
    silent = int(np.flatnonzero(spoken[:, 1])[0])
    first = int(sounding[0])
    begin = first - silent  # of the file
    end = begin + len(spoken)
    falls = int(np.flatnonzero(gain < 1.0)[0])  # the first frame that is lower
    low = np.flatnonzero(gain <= setup.gain * NEAR)
    down = int(low[0]) if len(low) else first
    rises = 1 + int(low[-1]) if len(low) else end
    up = rises + int(np.flatnonzero(gain[rises:] >= 1.0)[0])
    plateau = gain[max(down, first) : end]
    slopes = [(1.0 - setup.gain) / max(1.0, seconds * RATE)
              for seconds in (setup.attack, setup.release)]  # fmt: skip
    steps = np.abs(np.diff(gain))
    heard = out[begin:end, 1].astype(np.float64) - spoken[:, 1]
    due = setup.gain_after((first - (falls - 1)) / RATE)
    # The last 0.01 dB of a ramp, which `down` and `rises` leave out.
    rest = (setup.gain * NEAR - setup.gain) / (1.0 - setup.gain)

    def ms(frames: float) -> float:
        return 1e3 * frames / RATE

    return Measured(
        depth_db=20 * math.log10(float(np.median(plateau))) + setup.depth,
        attack_ms=ms(down - (falls - 1)) - 1e3 * setup.attack * (1.0 - rest),
        hold_ms=ms(rises - end) - 1e3 * (setup.hold + setup.release * rest),
        release_ms=ms(up - rises) - 1e3 * setup.release * (1.0 - rest),
        ahead_ms=ms(begin - (falls - 1)) - 1e3 * setup.ahead,
        down_ms=ms(first - down) if len(low) else 0.0,
        first_word_db=20 * math.log10(float(gain[first]) / due),
        step=float(steps.max()) - max(slopes),
        words=float(np.abs(heard).max()),
        mix_after=float(np.abs(gain[up:] - 1.0).max()),
    )


def clicks_dbfs(out: np.ndarray) -> float:
    """Return the peak of what the left channel contains above `LOWEST_CLICK`, in dBFS."""
    sound = out[:, 0].astype(np.float64)
    # Faded in and out, so that the edges of the excerpt are no clicks.
    edge = min(len(sound) // 4, RATE // 10)
    fade = 0.5 - 0.5 * np.cos(np.pi * np.arange(edge) / edge)
    sound[:edge] *= fade
    sound[-edge:] *= fade[::-1]
    spectrum = np.fft.rfft(sound)
    spectrum[: int(LOWEST_CLICK * len(sound) / RATE)] = 0.0
    return 20 * math.log10(max(1e-12, float(np.abs(np.fft.irfft(spectrum, len(sound))).max())))


def tone(folder: Path) -> Path:
    """Write a loop of a tone: a whole number of periods."""
    path = folder / "tone.wav"
    frames = np.arange(RATE * 10)
    wave = MUSIC * np.sin(2 * np.pi * TONE * frames / RATE)
    soundfile.write(path, np.stack([wave, wave], axis=1), RATE, subtype="FLOAT")
    return path


NAMED = {
    "default": Setup(),
    "short": Setup(attack=0.1, ahead=0.1, hold=0.1, release=0.3),
    "deep": Setup(depth=60.0),
    "late: look-ahead a quarter of the attack": Setup(ahead=0.1),
    "silence at the beginning": Setup(silence=0.3),
    "blocks of 2048": Setup(block=2048),
}


def one(setup: Setup, folder: Path, music: Path, seed: int) -> Measured:
    """Render and measure one announcement."""
    spoken = words(setup.silence, seed)
    file = folder / "words.wav"
    soundfile.write(file, spoken, RATE, subtype="PCM_16")
    with Stage(music, setup.block) as stage:
        return measure(setup, stage.announce(setup, file), spoken)


def hold_goal_ms(setup: Setup) -> float:
    """Return the largest passing deviation of the hold: control looks once a block.

    A voice ends `TAIL` frames after its file, which a shorter hold waits for.
    """
    tail = max(0.0, TAIL / RATE - setup.hold)
    return 1e3 * (2 * setup.block / RATE + tail) + 0.1


def faults(setup: Setup, found: Measured) -> list[str]:
    """Return which figures exceed their goals."""
    wrong = [name for name, goal in GOALS.items() if abs(getattr(found, name)) > goal]
    if abs(found.hold_ms) > hold_goal_ms(setup):
        wrong.append("hold_ms")
    if setup.ahead + setup.silence >= setup.attack and found.down_ms < 0.0:
        wrong.append("down_ms")
    return wrong


def click_rows(folder: Path) -> list[dict[str, Any]]:
    """Duck a tone in all named ways, and without an attack; return a row for each."""
    music = tone(folder)
    file = folder / "silent words.wav"
    soundfile.write(file, np.zeros((RATE // 2, 2)), RATE, subtype="PCM_16")
    rows = []
    ways = {**NAMED, "no attack and no release, for comparison": Setup(attack=0.0, release=0.0)}
    for name, setup in ways.items():
        with Stage(music, setup.block) as stage:
            rest = np.concatenate(stage.out)[-RATE // 5 :]
            found = clicks_dbfs(stage.announce(setup, file))
        rows.append({"duck": name, "peak_above_4_khz_dbfs": round(found, 1),
                     "tone_alone_dbfs": round(clicks_dbfs(rest), 1)})  # fmt: skip
    return rows


def run(trials: int, seed: int, folder: Path, bar: common.Progress) -> dict[str, Any]:
    """Run all measurements; return the result for the JSON file."""
    music = folder / "music.wav"
    constant = np.zeros((RATE, 2), np.float32)
    constant[:, 0] = MUSIC
    soundfile.write(music, constant, RATE, subtype="PCM_16")
    named = {}
    for name, setup in NAMED.items():
        named[name] = one(setup, folder, music, seed)
        bar.add(1, "announcements")
    dice = random.Random(seed)
    found = []
    for number in range(trials):
        setup = random_setup(dice)
        found.append((setup, one(setup, folder, music, number)))
        bar.add(1, "announcements")
    names = [field.name for field in fields(Measured)]
    worst = {name: max((getattr(one, name) for _, one in found), key=abs) for name in names}
    worst["down_ms"] = min(one.down_ms for _, one in found)
    # A hold ends with a block: the deviation in blocks, where it is longer than the voice's tail.
    blocks = max((abs(one.hold_ms) * RATE / 1e3 / setup.block for setup, one in found
                  if setup.hold * RATE > TAIL), default=0.0)  # fmt: skip
    wrong = [(name, NAMED[name], one) for name, one in named.items()]
    wrong += [("random", setup, one) for setup, one in found]
    failed = [f"{name}: {', '.join(bad)}" for name, setup, one in wrong
              if (bad := faults(setup, one))]  # fmt: skip
    return {
        "named": {name: vars(one) for name, one in named.items()},
        "trials": trials,
        "largest_deviation": worst,
        "largest_hold_deviation_blocks": blocks,
        "clicks": click_rows(folder),
        "faults": failed,
    }


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    made = argparse.ArgumentParser(description="How announcements duck the mix.")
    made.add_argument("--trials", type=int, default=300)
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--json", type=Path, metavar="FILE")
    return made


def _rounded(values: dict[str, float]) -> dict[str, object]:
    return {name: float(f"{value:.3g}") for name, value in values.items()}


@common.quiet()
def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if a figure exceeds its goal."""
    options = parser().parse_args(argv)
    common.print_heading("Announcements: ducking of the mix, as distances from the set values")
    bar = common.Progress(options.trials + len(NAMED))
    with tempfile.TemporaryDirectory(prefix="crowdstream-bench-") as folder:
        result = run(options.trials, options.seed, Path(folder), bar)
    bar.close()
    rows = [{"announcement": name, **_rounded(one)} for name, one in result["named"].items()]
    rows.append({"announcement": f"worst of {options.trials} random ones",
                 **_rounded(result["largest_deviation"])})  # fmt: skip
    print()
    print(common.table(rows))
    print(f"\nhold: at most {result['largest_hold_deviation_blocks']:.2f} blocks late\n")
    print(common.table(result["clicks"]))
    missed = [one["duck"] for one in result["clicks"][:-1]
              if one["peak_above_4_khz_dbfs"] > CLICK_GOAL_DBFS]  # fmt: skip
    print(f"\nfaults: {'; '.join(result['faults']) or 'none'}")
    print(f"clicks above {CLICK_GOAL_DBFS:g} dBFS: {'; '.join(missed) or 'none'}")
    common.write_json(options.json, result)
    return 1 if result["faults"] or missed else 0


if __name__ == "__main__":
    sys.exit(main())
