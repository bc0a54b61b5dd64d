"""What the log of a night says in numbers: gaps and what explains them, drift, memory, answers."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.long_night.log import Night

NEAR_SECONDS = 3.0  # a gap so near to a kill is the kill's
JUMP_SECONDS = 8.0  # a page that is missing so long after a jump of a track is the jump's
WAITED_SHARE = 0.3  # of a gap, that the machine kept the engine or the card waiting, explains it
EPISODE_SECONDS = 0.5  # gaps nearer than that are heard as one
STEP_BLOCKS = 0.75  # the card's clock is never off by so many blocks from one second to the next
STEP_MARGIN_BLOCKS = 4  # a gap may cost so many blocks more than it was late: the card's buffer
WARM_SHARE = 0.25  # of the night: memory is judged after it

_JUMP = re.compile(r"seek|jump|hotcue|reverse|slip|loop|sync|spin|load|cue")


@dataclass
class Gap:
    """A gap of the ledger, and what explains it; empty if nothing does."""

    at: float
    cause: str
    excess_ms: float
    why: str


def kill_times(night: Night) -> list[tuple[float, float]]:
    """When processes were killed, and until when that was watched."""
    ends = {entry["number"]: entry["t"] for entry in night.all("killed")}
    return [(entry["t"], ends.get(entry["number"], entry["t"])) for entry in night.all("kill")]


def near_kill(kills: Sequence[tuple[float, float]], at: float) -> bool:
    """Whether a moment belongs to a kill."""
    return any(begin - 0.5 <= at <= begin + NEAR_SECONDS for begin, _ in kills)


def during_kill(kills: Sequence[tuple[float, float]], at: float) -> bool:
    """Whether a moment lies between a kill and when all was well again."""
    return any(begin - 1.0 <= at <= end + NEAR_SECONDS for begin, end in kills)


def _waits(night: Night) -> Callable[[float], float]:
    # How long the machine kept engine or card waiting about a moment: in the second that it is
    # in, and its neighbours; ms.
    seconds = night.all("second")
    times = np.array([entry["t"] for entry in seconds])
    busy = np.array([
        max(entry["engine_waited"], entry["card_waited"], entry["stolen"]) for entry in seconds
    ])  # fmt: skip
    return lambda at: float(busy[np.abs(times - at) < 2.0].sum()) * 1e3 if len(busy) else 0.0


def gaps(night: Night) -> list[Gap]:
    """All gaps with their explanations."""
    kills = kill_times(night)
    waited = _waits(night)
    jumps = np.array([
        entry["t"] for entry in night.all("action") if _JUMP.search(entry["kind"] + entry["words"])
    ])  # fmt: skip
    found = []
    for entry in night.all("gap"):
        at, cause = entry["at"], entry["cause"]
        why = ""
        if near_kill(kills, at):
            why = "kill"
        elif cause == "missing_page":
            if ((jumps <= at) & (jumps > at - JUMP_SECONDS)).any():
                why = "jump"
        # A standby, too, can't tell an engine that was kept waiting from one that hangs.
        elif waited(at) >= max(1.0, WAITED_SHARE * entry["excess_ms"]):
            why = "machine"
        found.append(Gap(at, cause, entry["excess_ms"], why))
    return found


def episodes(found: Sequence[Gap]) -> int:
    """How many gaps are heard: those that follow each other closely are one."""
    times = sorted(gap.at for gap in found)
    return sum(
        1 for before, at in zip([-1e9, *times], times, strict=False)
        if at - before > EPISODE_SECONDS
    )  # fmt: skip


@dataclass
class Drift:
    """Engine frames against the wall clock.

    `times` (s), `behind` (ms that the engine's frames are behind), `net` (the same without
    steps), `ppm` by which the card's clock is slow, in the first and second half, and `steps`:
    (time, ms) of each sudden loss of frames.
    """

    times: np.ndarray
    behind: np.ndarray
    net: np.ndarray
    ppm: float
    halves: tuple[float, float]
    steps: list[tuple[float, float]]


def drift(night: Night) -> Drift | None:
    """Compare the clocks; None for a night of a few seconds."""
    desk = night.one("desk")
    # A stream that begins is asked for blocks ahead.
    seconds = [entry for entry in night.all("second") if entry["asked_ns"] > 0][3:]
    if not desk or len(seconds) < 10:
        return None
    wall = np.array([entry["asked_ns"] / 1e9 for entry in seconds])
    frame = np.array([entry["frame"] for entry in seconds], float)
    times = np.array([entry["t"] for entry in seconds])
    behind = ((wall - wall[0]) - (frame - frame[0]) / desk["rate"]) * 1e3
    block = desk["block"] / desk["rate"] * 1e3
    rates = np.diff(behind) / np.maximum(np.diff(wall), 1e-3)
    usual = float(np.median(rates))
    jumps = np.diff(behind) - usual * np.diff(wall)
    jumps[np.abs(jumps) < STEP_BLOCKS * block] = 0.0
    # A block that comes early or late by itself is no step: the next one takes it back.
    for place in np.flatnonzero(jumps[:-1]):
        if abs(jumps[place] + jumps[place + 1]) < STEP_BLOCKS * block:
            jumps[place] = jumps[place + 1] = 0.0
    net = behind - np.concatenate([[0.0], np.cumsum(jumps)])
    half = len(net) // 2
    slopes = [1e3 * float(np.polyfit(wall[part] - wall[0], net[part], 1)[0])
              for part in (slice(None), slice(None, half), slice(half, None))]
    steps = [(float(times[i + 1]), float(jumps[i])) for i in np.flatnonzero(jumps)]
    return Drift(times, behind, net, slopes[0], (slopes[1], slopes[2]), steps)


def unknown_steps(night: Night, found: Drift) -> list[tuple[float, float]]:
    """The steps of the clock that neither a kill explains nor as long a gap in the ledger."""
    kills = kill_times(night)
    desk = night.one("desk")
    margin = STEP_MARGIN_BLOCKS * desk["block"] / desk["rate"] * 1e3
    waited = _waits(night)
    timed = [gap for gap in gaps(night) if gap.cause != "missing_page"]
    odd = []
    for at, step in found.steps:
        near = [gap for gap in timed if abs(gap.at - at) < NEAR_SECONDS]
        # A gap of the device has no length in the ledger: it is what kept the sound server.
        known = max(sum(gap.excess_ms for gap in near), waited(at)) + margin
        if not during_kill(kills, at) and not (near and abs(step) <= known):
            odd.append((at, step))
    return odd


@dataclass
class Usage:
    """What roles took over time: `times`, and by role arrays of as many values (0: not there).

    `total` is the memory of all: their own, the shared block, and their part of program files as
    it was when PSS was counted (before and after the set). Bytes.
    """

    times: np.ndarray
    own: dict[str, np.ndarray]
    files: dict[str, np.ndarray]
    threads: dict[str, np.ndarray]
    cpu: dict[str, np.ndarray]  # percent of a core since the reading before
    shared: np.ndarray
    total: np.ndarray


def usage(night: Night) -> Usage:
    """What the processes took, by what they do; those of one role together."""
    entries = night.all("family")
    roles = sorted({row["role"] for entry in entries for row in entry["members"]})
    made = {
        name: {role: np.zeros(len(entries)) for role in roles}
        for name in ("own", "files", "threads", "cpu")
    }
    before: dict[int, float] = {}
    code = 0.0
    for place, entry in enumerate(entries):
        lasted = entry["t"] - entries[place - 1]["t"] if place else 0.0
        for row in entry["members"]:
            for name in ("own", "files", "threads"):
                made[name][row["role"]][place] += row[name]
            if lasted > 1.0 and row["pid"] in before:
                used = row["cpu"] - before[row["pid"]]
                made["cpu"][row["role"]][place] += 100.0 * used / lasted
        before = {row["pid"]: row["cpu"] for row in entry["members"]}
        if entry["members"] and all("pss" in row for row in entry["members"]):
            pss = sum(row["pss"] for row in entry["members"])
            code = max(code, pss - entry["shared"] - sum(row["own"] for row in entry["members"]))
    shared = np.array([entry["shared"] for entry in entries], float)
    total = np.sum(list(made["own"].values()), axis=0) + shared + code
    return Usage(
        np.array([entry["t"] for entry in entries]), made["own"], made["files"],
        made["threads"], made["cpu"], shared, total,
    )


def slope_mb_an_hour(times: np.ndarray, values: np.ndarray) -> float:
    """By how much bytes grow, robustly: the median of the slopes between all pairs (Theil-Sen)."""
    first, second = np.triu_indices(len(times), 1)
    apart = times[second] - times[first]
    far = apart > 0.2 * (times[-1] - times[0])
    slopes = (values[second] - values[first])[far] / apart[far]
    return float(np.median(slopes)) * 3600.0 / 1e6 if len(slopes) else 0.0


def answers(night: Night) -> dict[str, np.ndarray]:
    """How long answers took, ms, by what was asked, apart from those near a kill."""
    kills = kill_times(night)
    found = defaultdict(list)
    for entry in night.all("answer"):
        if not near_kill(kills, entry["t"] - entry["ms"] / 1e3):
            found[entry["key"]].append(entry["ms"])
    return {key: np.array(values) for key, values in found.items()}


def own_cpu(night: Night) -> float:
    """What the script itself took, percent of a core."""
    entries: list[dict[str, Any]] = night.all("family")
    if len(entries) < 2:
        return 0.0
    lasted = entries[-1]["t"] - entries[0]["t"]
    return float(100.0 * (entries[-1]["own_cpu"] - entries[0]["own_cpu"]) / max(lasted, 1.0))
