"""What is heard when a playing server is upgraded, in recordings of a virtual sound card.

    python benchmarks/upgrade.py [--card pulse] [--upgrades 20] [--frames 256] [--trial 3]

A server plays two sines on PulseAudio or JACK, and is upgraded again and again, alternately between
two copies of the package: control, loader, web process and engine are replaced each time. The
output is recorded. Measured in the 1.5 s around each handover from engine to engine, and, to tell
what the machine itself misses, in as long a part of the recording three seconds earlier ("before"):

- gap: the longest time in ms in which the left channel's amplitude is below half;
- level: the largest deviation of that amplitude from its usual value, in dB;
- click: the largest error, in dB below the sine's peak, with which each sample follows from the
  two before it; for a sine without a step it is that of 16-bit samples, about -85 dB;
- shift: the change in ms of the time at which frames are heard, from the right channel's phase;
Then the server is upgraded to versions that are broken on purpose: their engine exits, hangs, or
renders nothing, or their control exits, two seconds after it has begun. Measured is the longest gap
until the previous version is back.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common
from contrib.jack_recorder import JackRecorder
from contrib.soundcard import JackDummy, PulseNull, Recorder
from tests.support.server import Running, server, until
from tests.support.upgrades import Patch, begin, finish, installation, roots

RATE = 44100
LEVEL = 0.25
TONE_HZ, SLOW_HZ = 441.0, 10.0  # whole numbers of periods in the looped file
SETTLE_SECONDS = 0.5  # of undisturbed sound before and after each upgrade
BEFORE_SECONDS, AFTER_SECONDS = 1.0, 0.5  # of the recording, around the report of a handover
EARLIER_SECONDS = 3.0
MAX_GAP_MS = 0.0
MAX_LEVEL_DB = 1.0
MAX_CLICK_DB = -40.0
SECONDS = 2.0  # from the beginning of a broken version to its fault

_ENGINE = '''        report({"took": asdict(self._info), "why": why, "lost": lost})

    def _handover_frames'''
_FAULT = '''        report({{"took": asdict(self._info), "why": why, "lost": lost}})
        import threading
        threading.Timer({seconds}, lambda: {fault}).start()

    def _handover_frames'''


def engine_fault(fault: str) -> Patch:
    """A change that makes the engine fail some seconds after it has taken over."""
    return ("engine/main.py", _ENGINE, _FAULT.format(seconds=SECONDS, fault=fault))


BROKEN: dict[str, Patch] = {
    "engine exits": engine_fault("os._exit(3)"),
    "engine hangs": engine_fault("os.kill(os.getpid(), signal.SIGSTOP)"),
    "no frames": engine_fault(
        "setattr(self._callback, '_kernels', self._callback._kernels._replace("
        "render_at=lambda *_: None))"
    ),
    "control exits": (
        "control/server.py", "        packet = self.core.handle_packet\n",
        f"        packet = self.core.handle_packet\n        import threading\n"
        f"        threading.Timer({SECONDS + 8.0}, lambda: os._exit(3)).start()\n",
    ),
}  # fmt: skip


def amplitude(signal: np.ndarray, hz: float, window: int) -> np.ndarray:
    """Return the complex amplitude of a sine, averaged over `window` frames."""
    turned = signal * np.exp(-2j * np.pi * hz * np.arange(len(signal)) / RATE)
    sums = np.cumsum(np.concatenate(([0.0], turned)))
    found: np.ndarray = 2.0 * (sums[window:] - sums[:-window]) / window
    return found


def heard(recorded: np.ndarray, first: int, last: int) -> dict[str, float]:
    """Measure an upgrade between two frames of the recording."""
    margin = round(SETTLE_SECONDS * RATE)
    part = recorded[max(0, first) : last].astype(np.float64)
    left, right = part[:, 0], part[:, 1]
    level = np.abs(amplitude(left, TONE_HZ, round(RATE / TONE_HZ)))
    usual = float(np.median(level))
    quiet = np.concatenate(([0], (level < usual / 2).astype(np.int8), [0]))
    edges = np.flatnonzero(np.diff(quiet))
    longest = int((edges[1::2] - edges[::2]).max(initial=0))
    turn = 2.0 * np.cos(2.0 * np.pi * TONE_HZ / RATE)
    error = np.abs(left[2:] - turn * left[1:-1] + left[:-2])
    phase = np.unwrap(np.angle(amplitude(right, SLOW_HZ, round(RATE / SLOW_HZ))))
    moved = (np.median(phase[-margin // 4 :]) - np.median(phase[: margin // 4])) / (2 * np.pi)
    with np.errstate(divide="ignore"):
        return {
            "gap ms": round(1000.0 * longest / RATE, 1),
            "level dB": round(float(np.abs(20 * np.log10(level / usual)).max()), 2),
            "click dB": round(float(20 * np.log10(error.max() / usual)), 1),
            "shift ms": round(1000.0 * float(moved) / SLOW_HZ, 2),
        }


def play(running: Running, folder: Path) -> None:
    """Deck A plays the two sines."""
    at = np.arange(20 * RATE) / RATE
    sines = np.stack([np.sin(2 * np.pi * hz * at) for hz in (TONE_HZ, SLOW_HZ)], 1)
    track = folder / "sines.wav"
    soundfile.write(track, (LEVEL * sines).astype(np.float32), RATE, "PCM_16")
    running.client.request("/deck/A/load", str(track), answer="/done")
    running.client.send("/deck/A/play", 0.0, 1)
    until(lambda: running.client.status()["standby"] != "none", 60)


def measure(
    running: Running, recorder: Recorder | JackRecorder, path: Path, trial: float
) -> tuple[int, str, int, int]:
    """Upgrade; return exit status, output, and the recorded frames at the handover and the end."""
    time.sleep(SETTLE_SECONDS)
    process = begin(running, path, "--allow-older", trial=trial)
    mark, lines = recorder.frames(), ""
    assert process.stdout
    for line in process.stdout:
        lines += line
        if "the previous one is kept" in line:
            mark = recorder.frames()
    status, rest = finish(process)
    time.sleep(SETTLE_SECONDS)
    return status, lines + rest, mark, recorder.frames()


def run(
    kind: str, upgrades: int, frames: int, trial: float
) -> tuple[list[dict[str, Any]], list[Any]]:
    """Carry out all upgrades, then those to broken versions."""
    progress = common.Progress(upgrades + len(BROKEN))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        recorder: Recorder | JackRecorder
        if kind == "jack":
            jack = stack.enter_context(JackDummy(frames=frames, realtime=True))
            recorder, env = stack.enter_context(jack.recorder()), jack.env
        else:
            pulse = stack.enter_context(PulseNull(realtime=True))
            recorder, env = stack.enter_context(pulse.recorder()), pulse.env
        versions = [installation(folder / name, f"9.0.{name}") for name in ("1", "2")]
        broken = {
            name: installation(folder / name, "9.9.9", [patch]) for name, patch in BROKEN.items()
        }
        options = ("--buffer-size", str(frames), "--driver", "pyaudio", "--http")
        running = stack.enter_context(server(folder, *options, env=env))
        play(running, folder)
        spans: list[tuple[str, int, int, float]] = []
        failures = 0
        while len(spans) < upgrades:
            path = versions[len(spans) % 2]
            status, output, first, last = measure(running, recorder, path, trial)
            if status:  # on a busy machine, an engine may be late, which counts as a hang
                failures += 1
                print(f"upgrade {len(spans) + 1} was taken back: {output.splitlines()[-1]}")
                if failures > upgrades:
                    raise common.BenchmarkError(f"{failures} upgrades failed: {output}")
                continue
            until(lambda wanted=str(path): roots(running) == {wanted}, 20)
            spans.append((str(len(spans) + 1), first, last, 0.0))
            progress.add(1.0, "upgrades")
        before = roots(running)
        for name, path in broken.items():
            since = time.monotonic()
            status, output, first, last = measure(running, recorder, path, 20.0)
            took = time.monotonic() - since
            if status != 1:
                raise common.BenchmarkError(f"{name}: status {status}: {output}")
            try:
                until(lambda: roots(running) == before, 20)
            except TimeoutError:
                print(f"{name}: {roots(running)} run\n{running.log()[-3000:]}")
                raise
            spans.append((name, first, last, round(took, 1)))
            progress.add(1.0, name)
        status_ = running.client.status()
        recorded = recorder.stop()
    late = np.isnan(recorded).any(axis=1)
    if late.any():
        print(f"the recorder was late: {late.sum()} frames are missing in the recording")
    if status_["deck.A.state"] != "playing":
        raise common.BenchmarkError(f"the deck is {status_['deck.A.state']} at the end")
    good = []
    for name, mark, _last, _took in spans[:upgrades]:
        first, last = mark - round(BEFORE_SECONDS * RATE), mark + round(AFTER_SECONDS * RATE)
        earlier = round(EARLIER_SECONDS * RATE)
        usual = heard(recorded, first - earlier, last - earlier)
        row = {"upgrade": name, **heard(recorded, first, last)}
        good.append({**row, **{f"before: {key}": value for key, value in usual.items()}})
    broken_rows = []
    for name, mark, last, took in spans[upgrades:]:
        found = heard(recorded, mark, last)
        broken_rows.append({"fault": name, "gap ms": found["gap ms"], "whole test s": took})
    return good, broken_rows


def main() -> int:
    """Measure and print; return 1 if something is heard of an upgrade."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upgrades", type=int, default=20)
    parser.add_argument("--frames", type=int, default=256)
    parser.add_argument("--trial", type=float, default=3.0, help="seconds of each trial")
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--card", choices=("pulse", "jack"), default="pulse",
        help="jack: with periods of at least 512 frames, which the recorder can follow",
    )
    options = parser.parse_args()
    common.print_heading("Upgrades while a server plays")
    good, broken = run(options.card, options.upgrades, options.frames, options.trial)
    print(common.table(good))
    print(common.table(broken))
    common.write_json(
        options.json, {"machine": common.machine(), "upgrades": good, "broken": broken}
    )
    unheard = all(
        row["gap ms"] <= MAX_GAP_MS and row["level dB"] <= MAX_LEVEL_DB
        and row["click dB"] <= MAX_CLICK_DB for row in good
    )  # fmt: skip
    print(
        f"goal of the upgrades: no gap, {MAX_LEVEL_DB:g} dB of level, {MAX_CLICK_DB:g} dB of click "
        f"at most: {'reached' if unheard else 'NOT reached'}"
    )
    return 0 if unheard else 1


if __name__ == "__main__":
    sys.exit(main())
