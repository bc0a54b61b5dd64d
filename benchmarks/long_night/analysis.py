"""Figures from the log of a night: gaps and their explanations, drift, memory, reply times."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.long_night.faults import UPGRADES
from benchmarks.long_night.log import Night

NEAR_SECONDS = 3.0  # a gap this close to a kill is attributed to it
JUMP_SECONDS = 8.0  # a page missing this soon after a jump of the track is attributed to it
WAITED_SHARE = 0.3  # a gap is explained if the machine held up engine or card for this share of it
EPISODE_SECONDS = 0.5  # gaps closer than this are audible as one
STEP_BLOCKS = 0.75  # the card's clock never deviates by as many blocks within a second
STEP_MARGIN_BLOCKS = 4  # a gap may cost this many blocks more than its delay: the card's buffer
WARM_SHARE = 0.25  # of the night; memory is judged after it

_JUMP = re.compile(r"seek|jump|hotcue|reverse|slip|loop|sync|spin|load|cue")


@dataclass
class Gap:
    """A gap in the ledger, and its explanation; empty if there is none."""

    at: float
    cause: str
    excess_ms: float
    why: str


def kill_times(night: Night) -> list[tuple[float, float]]:
    """Return for each kill its time, and the end of its observation."""
    ends = {entry["number"]: entry["t"] for entry in night.all("killed")}
    return [(entry["t"], ends.get(entry["number"], entry["t"])) for entry in night.all("kill")]


def fault_times(night: Night, *kinds: str) -> list[tuple[float, float]]:
    """Return for each fault of these kinds its time, and the end of its observation."""
    ends = {entry["number"]: entry["t"] for entry in night.all("fault over")}
    return [
        (entry["t"], ends.get(entry["number"], entry["t"])) for entry in night.all("fault")
        if entry["kind"] in kinds
    ]  # fmt: skip


def upgrade_times(night: Night) -> list[tuple[float, float]]:
    """Return the beginning and the end of each upgrade, good and broken ones."""
    return fault_times(night, *UPGRADES)


def near_kill(kills: Sequence[tuple[float, float]], at: float) -> bool:
    """Return whether a time is attributed to a kill."""
    return any(begin - 0.5 <= at <= begin + NEAR_SECONDS for begin, _ in kills)


def during_kill(kills: Sequence[tuple[float, float]], at: float) -> bool:
    """Return whether a time lies between a kill and the complete recovery from it."""
    return any(begin - 1.0 <= at <= end + NEAR_SECONDS for begin, end in kills)


def _waits(night: Night) -> Callable[[float], float]:
    # Milliseconds for which the machine held up engine or card around a time: in its second and
    # the neighbouring ones.
    seconds = night.all("second")
    times = np.array([entry["t"] for entry in seconds])
    busy = np.array([
        max(entry["engine_waited"], entry["card_waited"], entry["stolen"]) for entry in seconds
    ])  # fmt: skip
    return lambda at: float(busy[np.abs(times - at) < 2.0].sum()) * 1e3 if len(busy) else 0.0


def gaps(night: Night) -> list[Gap]:
    """Return all gaps with their explanations."""
    kills = kill_times(night)
    upgrades, sticks = upgrade_times(night), fault_times(night, "stick")
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
        elif during_kill(upgrades, at):
            why = "upgrade"
        elif cause == "missing_page":
            if during_kill(sticks, at):
                why = "stick"
            elif ((jumps <= at) & (jumps > at - JUMP_SECONDS)).any():
                why = "jump"
        # Not even a standby can distinguish an engine that was held up from one that hangs.
        elif waited(at) >= max(1.0, WAITED_SHARE * entry["excess_ms"]):
            why = "machine"
        found.append(Gap(at, cause, entry["excess_ms"], why))
    return found


def episodes(found: Sequence[Gap]) -> int:
    """Return the number of audible gaps: those in close succession count as one."""
    times = sorted(gap.at for gap in found)
    return sum(
        1 for before, at in zip([-1e9, *times], times, strict=False)
        if at - before > EPISODE_SECONDS
    )  # fmt: skip


@dataclass
class Drift:
    """Engine frames against the wall clock.

    `times` (s), `behind` (ms by which the engine's frames are late), `net` (the same without
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
    """Compare the clocks; return None for a night of a few seconds."""
    desk = night.one("desk")
    # A stream requests blocks ahead when it starts.
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
        # A single block that is early or late is not a step: the next one compensates it.
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
    """Return the steps of the clock that neither a kill nor a gap in the ledger explains."""
    kills = kill_times(night) + upgrade_times(night)
    desk = night.one("desk")
    margin = STEP_MARGIN_BLOCKS * desk["block"] / desk["rate"] * 1e3
    waited = _waits(night)
    timed = [gap for gap in gaps(night) if gap.cause != "missing_page"]
    odd = []
    for at, step in found.steps:
        near = [gap for gap in timed if abs(gap.at - at) < NEAR_SECONDS]
        # The ledger has no length for a gap of the device: use the delay of the sound server.
        known = max(sum(gap.excess_ms for gap in near), waited(at)) + margin
        if not during_kill(kills, at) and not (near and abs(step) <= known):
            odd.append((at, step))
    return odd


@dataclass
class Usage:
    """Resource usage of roles over time: `times`, and arrays by role (0: no such process).

    `total` is the memory of all processes in bytes: their private memory, the shared block, and
    their part of program files as of the last PSS measurement (before and after the set).
    """

    times: np.ndarray
    own: dict[str, np.ndarray]
    files: dict[str, np.ndarray]
    threads: dict[str, np.ndarray]
    cpu: dict[str, np.ndarray]  # percent of a core since the previous reading
    shared: np.ndarray
    total: np.ndarray


def usage(night: Night) -> Usage:
    """Return the usage of the processes, summed by role."""
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
            code = max(code, pss - entry["shared"] - _own(entry))
    shared = np.array([entry["shared"] for entry in entries], float)
    total = np.array([_own(entry) for entry in entries], float) + shared + code
    return Usage(
        np.array([entry["t"] for entry in entries]), made["own"], made["files"],
        made["threads"], made["cpu"], shared, total,
    )


def _own(entry: dict[str, Any]) -> float:
    # Bytes of anonymous memory of all processes, without counting pages that they share twice.
    return float(
        sum(row["own"] - row.get("counted_elsewhere", 0) for row in entry["members"])
    )


def slope_mb_an_hour(times: np.ndarray, values: np.ndarray) -> float:
    """Return the growth of bytes: the median slope between all pairs (Theil-Sen estimator)."""
    first, second = np.triu_indices(len(times), 1)
    apart = times[second] - times[first]
    far = apart > 0.2 * (times[-1] - times[0])
    slopes = (values[second] - values[first])[far] / apart[far]
    return float(np.median(slopes)) * 3600.0 / 1e6 if len(slopes) else 0.0


def answers(night: Night) -> dict[str, np.ndarray]:
    """Return the reply times in ms by request, except near kills and during upgrades."""
    kills, upgrades = kill_times(night), upgrade_times(night)
    found = defaultdict(list)
    for entry in night.all("answer"):
        sent = entry["t"] - entry["ms"] / 1e3
        if not near_kill(kills, sent) and not during_kill(upgrades, sent):
            found[entry["key"]].append(entry["ms"])
    return {key: np.array(values) for key, values in found.items()}


def own_cpu(night: Night) -> float:
    """Return the CPU usage of this program, in percent of a core."""
    entries: list[dict[str, Any]] = night.all("family")
    if len(entries) < 2:
        return 0.0
    lasted = entries[-1]["t"] - entries[0]["t"]
    return float(100.0 * (entries[-1]["own_cpu"] - entries[0]["own_cpu"]) / max(lasted, 1.0))
