"""Compressed nights: the same sets, rendered offline, block by block and faster than real time.

Each hour has a seed of its own, a schedule with a loudness ceiling and announcements, and a live
input from a file. The input and a folder of removable music disappear and return. Measured are the
sound, the ledger, and this process's memory after each hour, when everything is unloaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import common
from benchmarks.long_night.judge import Verdict
from crowdstream.settings import validate
from tests.support.long_night import files
from tests.support.long_night.model import Piece
from tests.support.long_night.offline import OfflineNight
from tests.support.long_night.plan import NightPlan
from tests.support.long_night.stick import Stick

# Low, so that days take minutes; nothing in the engine depends on the rate.
RATE = 8000
MEMORY_BYTES = 24_000_000
LONG_SECONDS = 1000.0  # 32 MB of 16-bit stereo: more than the budget
STICK_SECONDS = 300.0
INPUT_SECONDS = 120.0
FAULTS, FAULT_SECONDS = ("stick", "input"), 200.0  # kinds, and mean seconds between two of them
RICH = 0.15  # effects take most of the time
SILENCE_SECONDS = 4.0  # a platter may stand for 3 s
WARM_HOURS = 4
GROWTH_MB_A_DAY = 5.0
COUNTERS = ("late_commands", "pending_refused", "events_lost", "guarded", "nonfinite")
MISSING_SHARE = 0.001  # of all frames: jumps of streamed tracks that nobody saw coming


def own_mb() -> float:
    """Return the private memory of this process in MB, after a garbage collection."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("RssAnon"))


def play(hours: int, seed: int, pace: float, music: Path, schedule: Path) -> Iterator[Verdict]:
    """Play `hours` hours and judge them. Prints a line per hour on standard error."""
    pieces = files.pieces(LONG_SECONDS)
    removable = files.stick_pieces(STICK_SECONDS)
    tone = Piece("tone", INPUT_SECONDS, 1, 120.0, "float")
    sources = files.write_pieces(music, [*pieces, *removable, tone], RATE)
    stick = Stick(music / "pulled", {one.name: sources[one.name] for one in removable})
    paths = {one.name: sources[one.name] for one in pieces} | stick.paths
    settings = validate(schedule=schedule)
    bad = files.write_bad_files(music / "bad")
    memory: list[float] = []
    begun = time.monotonic()
    progress = common.Progress(float(hours))
    with (
        contextlib.closing(stick),
        OfflineNight(
            MEMORY_BYTES, RATE, paths, bad, settings=settings, stick=stick, inputs=[sources["tone"]]
        ) as night,
    ):
        arena, buffers = night.loader._arena, night.core.track_table
        before = (len(arena._free), arena.reserved, buffers.free_sources)
        for hour in range(hours):
            plan = NightPlan(
                seed + hour, [*pieces, *removable], files.BAD_FILES, pace, records=False,
                visits=False, rich=RICH, faults=FAULTS, fault_seconds=FAULT_SECONDS, inputs=True,
            )
            night.restart()
            night.send("/notify", 1)
            night.play(plan.actions(), 3600.0)
            night.clear_up()
            memory.append(own_mb())
            progress.add(1.0, f"hour {hour + 1}: {memory[-1]:.1f} MB")
        progress.close()
        seconds = time.monotonic() - begun
        ledger = {name: int(night.desk.ledger[name]) for name in COUNTERS}
        missing = int(night.desk.ledger["missing_frames"])
        rest = float(np.abs(night.render(2048)).max())
        after = (len(arena._free) + len(arena._retired), arena.reserved, buffers.free_sources)
        internal = [words for words in night.refused_words if "internal error" in words]
        counts = Counter(night.counts)
        yield Verdict(
            "music plays", night.played > 0.75 * hours * 3600.0,
            f"{night.played / 3600.0:.1f} of {hours} h at {RATE} Hz,"
            f" {hours * 3600.0 / seconds:.0f} times faster than real time",
        )
        yield Verdict(
            "the sound is finite and within full scale", night.finite and 0.1 < night.peak <= 1.0,
            f"peak {night.peak:.3f}",
        )
        yield Verdict(
            f"no silence of {SILENCE_SECONDS:g} s while a deck plays",
            night.silence < SILENCE_SECONDS, f"longest {night.silence:.2f} s",
        )
        yield Verdict("nothing is lost inside", not any(ledger.values()), str(ledger))
        yield Verdict(
            "pages are there in time", missing < MISSING_SHARE * night.played * RATE,
            f"{missing} of {night.played * RATE:.0f} frames missing",
        )
        yield Verdict(
            "input and removable music disappeared and returned",
            counts["fault"] > 0 and 0.5 < night.input_seconds / (hours * 3600.0) < 1.0,
            f"{counts['fault']} faults; the input was there for {night.input_seconds / 3600:.2f} h",
        )
        yield Verdict("no internal error", not internal, "; ".join(internal[:3]) or "none")
        yield Verdict(
            "announcements and samples were played",
            min(counts["announce"], counts["sample"], counts["/announcement"]) > 0,
            ", ".join(f"{counts[name]} {name}" for name in ("announce", "sample", "/announcement")),
        )
        yield Verdict(
            "everything is returned", before == after and rest == 0.0,
            f"pages and sources {before} before, {after} after; peak afterwards {rest:g}",
        )
    warm = memory[min(WARM_HOURS, hours // 3) :]
    slope = float(np.polyfit(np.arange(len(warm)), warm, 1)[0]) * 24 if len(warm) > 2 else 0.0
    yield Verdict(
        f"memory grows by at most {GROWTH_MB_A_DAY:g} MB a day", slope <= GROWTH_MB_A_DAY,
        f"{slope:+.2f} MB a day; {warm[0]:.1f} MB after {hours - len(warm) + 1} h,"
        f" {memory[-1]:.1f} MB at the end",
    )


def report(verdicts: Iterator[Verdict]) -> bool:
    """Print the verdicts; return whether all requirements are met."""
    with common.quiet(logging.CRITICAL):  # thousands of refusals
        found = list(verdicts)
    passed = all(one.met for one in found)
    print("\nPASS" if passed else "\nFAIL")
    for one in found:
        print(f"{'ok  ' if one.met else 'FAIL'} {one.name}: {one.reason}")
    sys.stdout.flush()
    return passed
