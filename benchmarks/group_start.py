"""Verify that decks started together start on the same frame, in ten thousand random trials.

    python benchmarks/group_start.py [--trials 10000] [--seed 1]

Each trial starts two to four decks through the command table, as a sequencer would: at once, at a
future time, at a time that has passed, in a bundle with a time tag, or while the files of some of
them are still loading. It then renders blocks of random sizes, 1 to 2048 frames. Each deck's file
starts with one impulse of a different height (1/4, 1/8, 1/16, 1/32), so a single output frame
shows which decks started in it: the first frame that is not silent must hold the sum of exactly the
decks that were started. The frames that the engine reports must agree, and scheduled starts must
be on their frame.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pythonosc.osc_bundle_builder import OscBundleBuilder
from pythonosc.osc_message import OscMessage

from benchmarks import common
from crowdstream.desk.constants import BANK_RATES
from crowdstream.desk.opcodes import EV_LATE, EV_STARTED, FREE
from crowdstream.offline.session import Session
from crowdstream.osc.socket import build
from crowdstream.settings import Settings
from tests.support.wav_header import wav_header

HEIGHTS = (0.25, 0.125, 0.0625, 0.03125)
FILE_FRAMES = 3000
BIGGEST_BLOCK = 2048
FURTHEST = 6000  # maximum frames ahead of most starts
PAST_HORIZON = 40_000  # of the others: so far ahead that control holds a bundle back for a while
MAX_RATE = BANK_RATES[0]  # at higher rates the interpolator lowers the impulse
TOLERANCE = 1e-4  # the interpolator's centre tap is 1 to 7 digits
MEMORY_BYTES = 64 << 20
BLOCK = 512  # frames, of the simulated device
KINDS = ("now", "ahead", "passed", "bundle", "late bundle", "loading")


@dataclass
class Outcome:
    """Result of a trial.

    `apart`: frames between the first and the last deck. `off`: frames from the requested frame, 0
    without one or if it had passed.
    """

    kind: str
    apart: int
    off: int
    decks: int
    wrong: list[str] = field(default_factory=list)


def write_files(folder: Path) -> list[Path]:
    """Write a file for each deck: an impulse in its first frame, then silence."""
    paths = []
    for letter, height in zip("ABCD", HEIGHTS, strict=True):
        samples = np.zeros((FILE_FRAMES, 2), "<i2")
        samples[0] = round(height * 32768)
        path = folder / f"{letter}.wav"
        path.write_bytes(wav_header(samples.nbytes) + samples.tobytes())
        paths.append(path)
    return paths


def bundle(moment: float, messages: Sequence[tuple[str, tuple[Any, ...]]]) -> bytes:
    """Return an OSC bundle with a time tag in Unix seconds."""
    builder = OscBundleBuilder(moment)  # type: ignore[arg-type]  # takes Unix seconds as well
    for address, arguments in messages:
        builder.add_content(OscMessage(build(address, arguments)))
    return bytes(builder.build().dgram)


class Watched(Session):
    """A session that records the engine's events, dtype `EVENT`, and failures."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.events: list[np.ndarray] = []
        # Without look-ahead, sound is output on the frame that it is mixed for.
        super().__init__(Settings(limiter_lookahead=0.0), MEMORY_BYTES, block_frames=BLOCK)
        self._forward = self.core.voice_allocator.engine_events
        self.core.voice_allocator.engine_events = self._record  # type: ignore[method-assign]

    def answer(self, _sender: Any, address: str, *arguments: Any) -> None:
        """Record failures."""
        if address == "/fail":
            self.failures.append(" ".join(map(str, arguments)))

    def _record(self, events: np.ndarray) -> None:
        self.events.extend(events.copy())
        self._forward(events)


class Trials:
    """Runs trials one after another on one session."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._dice = random.Random(seed)
        self._session = Watched()
        self._files = write_files(folder)
        for letter in "ABCD":
            self._load(letter)
        self._session.load()

    def close(self) -> None:
        """Free the memory."""
        self._session.close()

    def _load(self, letter: str) -> None:
        self._session.send("/cue", letter, str(self._files["ABCD".index(letter)]))

    def _silence(self) -> None:
        # Stop all decks and render until all voices are free.
        session = self._session
        session.load()
        for letter in "ABCD":
            session.send(f"/deck/{letter}/stop")
        for _ in range(20):
            session.render(self._dice.randint(1, BIGGEST_BLOCK))
            if not bool((session.desk.voices["state"] != FREE).any()):
                break
        session.events.clear()
        session.failures.clear()
        # Messages arrive at any time between two callbacks.
        session.time += self._dice.uniform(0.0, 1.0) * BLOCK / session.desk.sample_rate

    def _set_rates(self, letters: Sequence[str]) -> None:
        for letter in letters:
            rate = self._dice.choice((1.0, 1.0, 1.06, 0.94, self._dice.uniform(0.3, MAX_RATE)))
            self._session.send(f"/deck/{letter}/rate", rate)

    def one(self, kind: str) -> Outcome:
        """Run one trial of this kind."""
        session, dice = self._session, self._dice
        self._silence()
        letters = dice.sample("ABCD", dice.randint(2, 4))
        self._set_rates(letters)
        begin = session.desk.frame
        far = FURTHEST if dice.random() < 0.9 else PAST_HORIZON
        ahead = begin + dice.randint(0, far)  # the next frame to render, or a later one
        named = 0
        before: list[np.ndarray] = []
        if kind == "now":
            session.send("/start_group", 0.0, *letters)
        elif kind in ("ahead", "passed"):
            session.send("/reset")
            zero = session.core.beat_clock.zero or 0
            named = max(zero + 1, ahead) if kind == "ahead" else zero + dice.randint(1, FURTHEST)
            if kind == "passed":
                before = self._render_until(named + dice.randint(1, BIGGEST_BLOCK))
            seconds = (named - zero) / session.desk.sample_rate
            # The time may be the first or the last argument.
            words = (seconds, *letters) if dice.random() < 0.5 else (*letters, seconds)
            session.send("/start_group", *words)
        elif kind in ("bundle", "late bundle"):
            named = ahead
            packet = self._bundle(named, letters)
            if kind == "late bundle":
                before = self._render_until(named + dice.randint(1, BIGGEST_BLOCK))
            session.packet(packet)
        else:
            for letter in dice.sample(letters, dice.randint(1, len(letters))):
                self._load(letter)
            session.send("/start_group", 0.0, *letters)
        late = kind in ("passed", "late bundle")
        return self._judge(kind, letters, begin, named, late, before)

    def _bundle(self, named: int, letters: Sequence[str]) -> bytes:
        # One group start, or one start per deck: the time tag keeps them together.
        moment = self._session.tag_of(named)
        if self._dice.random() < 0.5:
            return bundle(moment, [("/start_group", (0.0, *letters))])
        return bundle(moment, [(f"/deck/{letter}/play", ()) for letter in letters])

    def _render_until(self, frame: int) -> list[np.ndarray]:
        parts = []
        while self._session.desk.frame < frame:
            parts.append(self._session.render(self._dice.randint(1, BIGGEST_BLOCK)).copy())
        return parts

    def _judge(
        self, kind: str, letters: Sequence[str], begin: int, named: int, late: bool,
        parts: list[np.ndarray],
    ) -> Outcome:  # fmt: skip
        session = self._session
        started: list[Any] = []
        for _ in range(10_000):
            if kind == "loading":
                session.load(self._dice.randint(0, 2))
            parts.append(session.render(self._dice.randint(1, BIGGEST_BLOCK)).copy())
            started = [event for event in session.events if int(event["kind"]) == EV_STARTED]
            if len(started) >= len(letters):
                break
        output = np.concatenate(parts)[:, 0]
        nonzero = np.flatnonzero(np.abs(output) > TOLERANCE)
        frames = [int(event["frame"]) for event in started]
        wrong = list(session.failures)
        if len(started) != len(letters) or len(nonzero) == 0:
            return Outcome(kind, -1, -1, len(letters), [*wrong, "not all decks started"])
        first = int(nonzero[0])
        expected = sum(HEIGHTS["ABCD".index(letter)] for letter in letters)
        if abs(float(output[first]) - expected) > TOLERANCE:
            wrong.append(f"the first frame holds {output[first]:.5f}, not {expected:.5f}")
        if begin + first != min(frames):
            wrong.append(f"sound at {begin + first}, reported {min(frames)}")
        reports = [event for event in session.events if int(event["kind"]) == EV_LATE]
        if bool(reports) != late:
            wrong.append("lateness was not reported" if late else "reported as late")
        if late and any(
            int(event["frame"]) - int(event["wanted"]) != int(event["value"])
            or int(event["wanted"]) != named
            for event in reports
        ):
            wrong.append("reported with the wrong lateness")
        off = begin + first - named if named and not late else 0
        return Outcome(kind, max(frames) - min(frames), off, len(letters), wrong)


def run(trials: int, seed: int, bar: common.Progress) -> dict[str, Any]:
    """Run the trials; return the result for the JSON file."""
    outcomes: list[Outcome] = []
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="crowdstream-bench-") as folder:
        runner = Trials(Path(folder), seed)
        dice = random.Random(seed + 1)
        try:
            for number in range(trials):
                outcomes.append(runner.one(dice.choice(KINDS)))
                if number % 100 == 99:
                    bar.add(100, "trials")
        finally:
            runner.close()
    return summary(outcomes, time.monotonic() - begin)


def summary(outcomes: Sequence[Outcome], seconds: float) -> dict[str, Any]:
    """Return the figures of all trials."""
    kinds = Counter(outcome.kind for outcome in outcomes)
    faults = [outcome for outcome in outcomes if outcome.wrong or outcome.apart or outcome.off]
    return {
        "trials": len(outcomes),
        "largest_distance_frames": max(abs(outcome.apart) for outcome in outcomes),
        "largest_offset_frames": max(abs(outcome.off) for outcome in outcomes),
        "faulty_trials": len(faults),
        "first_faults": [f"{fault.kind}: {fault}" for fault in faults[:5]],
        "trials_by_kind": dict(sorted(kinds.items())),
        "trials_by_decks": dict(sorted(Counter(str(o.decks) for o in outcomes).items())),
        "seconds": round(seconds, 1),
    }


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    made = argparse.ArgumentParser(description="Distances between decks started together.")
    made.add_argument("--trials", type=int, default=10_000)
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--json", type=Path, metavar="FILE")
    return made


@common.quiet()  # lateness is intended here
def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if a deck was off by a frame."""
    options = parser().parse_args(argv)
    common.print_heading("Group starts: distance between decks, in frames")
    bar = common.Progress(options.trials)
    result = run(options.trials, options.seed, bar)
    bar.close()
    print()
    for name, value in result.items():
        print(f"{name:24} {value}")
    common.write_json(options.json, [result])
    return 1 if result["faulty_trials"] else 0


if __name__ == "__main__":
    sys.exit(main())
