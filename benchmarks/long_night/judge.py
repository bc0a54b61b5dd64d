"""Pass or fail: the requirements for a night, each with its reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.long_night import analysis, heard
from benchmarks.long_night.faults import UPGRADES
from benchmarks.long_night.log import Night

BESIDES_MB = 300.0  # memory of all processes besides the budget
GROWTH_MB_AN_HOUR = 10.0  # tolerated growth of private memory, caused by Python's heaps
MIN_MINUTES = 20.0  # a shorter night is not judged for growth and drift
CLOCK_PPM = 100.0  # no card's clock is worse
CLOCK_CHANGE_PPM = 10.0  # its deviation is constant except for temperature
GAP_MS = 50.0  # maximum gap by a kill
NOTICE_MS, NOTICE_BLOCKS = 20.0, 3  # additional time until a hang is detected
CONTROL_SECONDS = 2.0  # for a killed control process to return
ANSWER_SECONDS = 5.0  # the same for the server after other kills
HANG_SECONDS = 5.0  # within which a stopped engine is killed
MORE_FILES, MORE_THREADS = 4, 1  # tolerated per process after the night: pipes to new children
INPUT_SECONDS = 20.0  # for an input to play again after its device has returned
TIMED = ("late_callback", "slow_render", "device", "engine")  # causes of gaps with a length
_INTERNAL = "internal error"
_AUDIBLE = ("engine", "hang")  # kills that may be audible


@dataclass
class Verdict:
    """A requirement: met, missed, or (None) not judged, and the reason."""

    name: str
    met: bool | None
    reason: str


def verdicts(night: Night, folder: Path, gaps_an_hour: float) -> list[Verdict]:
    """Judge all requirements."""
    found = [_ran(night)]
    if night.one("family") and night.one("second"):
        found += _gaps(night, gaps_an_hour)
        for judge in (
            _heard, _clock, _memory, _leaks, _answers, _counters, _recordings, _kills, _faults,
            _input, _announcements,
        ):
            found += judge(night)
    return [*found, *_log(folder), *_shut_down(night)]


def _hours(night: Night) -> float:
    seconds = night.all("second")
    return float(seconds[-1]["t"] - seconds[0]["t"]) / 3600.0


def _ran(night: Night) -> Verdict:
    ended = night.one("ended")
    if ended:
        last = str(ended["reason"]).splitlines()[-1]
        return Verdict("the server ran to the end", False, last[-300:])
    if not night.one("calm"):
        return Verdict("the server ran to the end", False, "the log breaks off")
    return Verdict("the server ran to the end", True, f"{_hours(night):.2f} h")


def _gaps(night: Night, most: float) -> Iterator[Verdict]:
    found = analysis.gaps(night)
    odd = [gap for gap in found if not gap.why]
    causes = Counter(gap.cause for gap in odd)
    first = ", ".join(f"{gap.cause} at {gap.at:.1f} s" for gap in odd[:5])
    yield Verdict(
        "every gap is explained", not odd,
        f"{len(found)} gaps, {len(odd)} without an explanation"
        + (f" ({dict(causes)}; {first})" if odd else ""),
    )
    others = [gap for gap in found if gap.why == "machine"]
    count = analysis.episodes(others)
    hours = max(_hours(night), 0.1)
    yield Verdict(
        f"at most {most:g} gaps an hour outside of kills", count / hours <= most,
        f"{count} ({count / hours:.1f} an hour), all while the machine kept engine or card waiting",
    )


def _heard(night: Night) -> Iterator[Verdict]:
    # The recording of the card, where there is one, against the ledger.
    recorded = night.one("heard")
    if not recorded:
        return
    found = night.all("break")
    noted = [float(entry["at"]) for entry in night.all("gap")]
    odd = heard.unexplained(found, noted, analysis.kill_times(night))
    longest = max((float(one["ms"]) for one in found), default=0.0)
    yield Verdict(
        "every break in the recorded sound is in the ledger or a kill's", not odd,
        f"{len(found)} breaks in {recorded['seconds'] / 60.0:.1f} min, the longest"
        f" {longest:.1f} ms; {len(noted)} gaps in the ledger"
        + "".join(f"; {one['ms']:.1f} ms at {one['at']:.0f} s" for one in odd[:5]),
    )


def _clock(night: Night) -> Iterator[Verdict]:
    found = analysis.drift(night)
    if found is None:
        return
    odd = analysis.unknown_steps(night, found)
    yield Verdict(
        "no frame is lost without an entry in the ledger", not odd,
        f"{len(found.steps)} steps of the clock, {sum(step for _, step in found.steps):.1f} ms"
        + "".join(f"; {step:.1f} ms at {at:.0f} s" for at, step in odd[:5]),
    )
    first, second = found.halves
    judged = _hours(night) * 60.0 >= MIN_MINUTES
    met = abs(found.ppm) <= CLOCK_PPM and abs(first - second) <= CLOCK_CHANGE_PPM
    yield Verdict(
        "the engine's frames keep to the card's clock", met if judged else None,
        f"net of known gaps {found.ppm:.2f} ppm behind the system's clock "
        f"({first:.2f} in the first half, {second:.2f} in the second)",
    )


def _memory(night: Night) -> Iterator[Verdict]:
    used = analysis.usage(night)
    budget = float(night.one("night")["memory_mb"])
    # During an upgrade, the processes of both versions are there.
    upgrades = analysis.upgrade_times(night)
    both = np.array([analysis.during_kill(upgrades, at) for at in used.times])
    most = float(used.total[~both].max(initial=0.0)) / 1e6
    during = float(used.total[both].max(initial=0.0)) / 1e6
    yield Verdict(
        f"memory stays within the budget and {BESIDES_MB:g} MB", most <= budget + BESIDES_MB,
        f"at most {most:.0f} MB of all processes, budget {budget:.0f} MB"
        + f"; {during:.0f} MB in upgrades, with two versions" * bool(during),
    )
    own = np.sum(list(used.own.values()), axis=0)
    # While processes are missing or doubled after a kill, their sum is meaningless.
    kills = analysis.kill_times(night) + upgrades
    whole = np.array([
        not any(begin <= at <= end + 15.0 for begin, end in kills) for at in used.times
    ])  # fmt: skip
    warm = used.times >= used.times[0] + analysis.WARM_SHARE * (used.times[-1] - used.times[0])
    chosen = whole & warm
    judged = _hours(night) * 60.0 >= MIN_MINUTES and chosen.sum() > 10
    slope = analysis.slope_mb_an_hour(used.times[chosen], own[chosen]) if chosen.sum() > 2 else 0.0
    yield Verdict(
        "memory of the processes' own does not grow",
        slope <= GROWTH_MB_AN_HOUR if judged else None,
        (f"{slope:+.1f} MB an hour after warming up" if judged else "too short a night to judge")
        + f", {own[-1] / 1e6:.0f} MB at the end",
    )


def _leaks(night: Night) -> Iterator[Verdict]:
    # A successor of a killed process may hold more files, such as inherited pipes. The first
    # third of the night therefore sets the reference; of a short one, the first two thirds, as the
    # web process opens parts of the page with its first visitors.
    entries = [entry for entry in night.all("family") if entry["members"]]
    thirds = 1 if _hours(night) * 60.0 >= MIN_MINUTES else 2
    early = entries[: max(1, thirds * len(entries) // 3)]
    faults = []
    counts = []
    for role in sorted({row["role"] for row in entries[-1]["members"]}):
        for name, more in (("files", MORE_FILES), ("threads", MORE_THREADS)):
            before, after = (
                max((row[name] for entry in part for row in entry["members"]
                     if row["role"] == role), default=None)
                for part in (early, entries[-1:])
            )  # fmt: skip
            if before is None or after is None:
                continue
            counts.append(f"{role} {name} {before}-{after}")
            if after > before + more:
                faults.append(f"{role}: {before} {name} at first, {after} in the end")
    yield Verdict("no files or threads are left", not faults, "; ".join(faults or counts))
    status = night.one("status")
    if night.one("calm") and status:
        held = float(status["pages_used_mb"])
        yield Verdict("all pages come back", held == 0.0, f"{held:g} MB held by no track")


def _answers(night: Night) -> Iterator[Verdict]:
    missing = [entry for entry in night.all("no answer") if not entry["excused"]]
    excused = len(night.all("no answer")) - len(missing)
    arrived = sum(len(values) for values in analysis.answers(night).values())
    reason = f"{arrived} came, {excused} were lost to kills"
    if missing:
        kinds = Counter(entry["key"] for entry in missing)
        reason += f", missing: {dict(kinds)}, the first at {missing[0]['t']:.0f} s"
    yield Verdict("all answers come", not missing, reason)
    words = [entry["words"] for entry in (*night.all("fail"), *night.all("visitor fail"))]
    internal = [text for text in words if _INTERNAL in text]
    yield Verdict(
        "no internal error", not internal,
        "; ".join(internal[:3]) or f"{len(words)} commands refused, all with a reason",
    )
    away = [entry["words"] for entry in night.all("visitor fail") if "/notify" in entry["words"]]
    yield Verdict("no client is turned away", not away, "; ".join(away[:1]) or "none was")


def _counters(night: Night) -> Iterator[Verdict]:
    seconds = night.all("second")
    counts = {
        name: max(entry[name] for entry in seconds) for name in
        ("guarded", "events_lost", "pending_refused")
    }  # fmt: skip
    dropped = max((int(entry["dropped"] or 0) for entry in night.all("status")), default=0)
    counts["packets dropped"] = dropped
    yield Verdict(
        "nothing is lost inside", not any(counts.values()),
        ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in counts.items()),
    )


def _recordings(night: Night) -> Iterator[Verdict]:
    files = night.all("recording")
    kills = analysis.kill_times(night) + analysis.upgrade_times(night)
    refused = [
        entry for entry in night.all("recording refused")
        if not analysis.during_kill(kills, entry["t"])
    ]  # fmt: skip
    if not files and not refused:
        return
    # A recording interrupted by a kill may be short or unfinished, but must be readable.
    faults = [
        f"{entry['path']}: {entry['fault']}" for entry in files
        if entry["fault"] and not (entry["excused"] and "can't be read" not in entry["fault"])
    ] + [f"refused: {entry['reason']}" for entry in refused]
    whole = sum(not entry["fault"] and not entry["failed"] for entry in files)
    yield Verdict(
        "recordings are readable and whole", not faults,
        "; ".join(faults[:3]) or f"{len(files)} files, {whole} whole, the others cut by kills",
    )


def _kills(night: Night) -> Iterator[Verdict]:
    done = night.all("killed")
    known = {entry["number"] for entry in done}
    faults = [
        f"{entry['kind']} at {entry['t']:.0f} s: its observation was never completed"
        for entry in night.all("kill") if entry["number"] not in known
    ]  # fmt: skip
    if not done and not faults:
        return
    desk = night.one("desk")
    notice = NOTICE_MS + NOTICE_BLOCKS * desk["block"] / desk["rate"] * 1e3
    for entry in done:
        kind = entry["kind"]
        words = []
        limit = CONTROL_SECONDS if kind == "control" else ANSWER_SECONDS
        if not 0.0 <= entry["answered"] <= limit:
            words.append(f"no reply within {limit:g} s ({entry['answered']:g})")
        if entry["moved"] < 0.0:
            words.append("the engine has rendered nothing since")
        elif entry["gap_ms"] > GAP_MS + (notice if kind == "hang" else 0.0):
            words.append(f"a gap of {entry['gap_ms']:g} ms")
        if entry["playing"] and not entry["on"]:
            words.append("no voice has continued")
        if kind in _AUDIBLE and not entry["noted"]:
            words.append("the ledger has no entry")
        if entry["replaced"] < 0.0:
            words.append("it was not replaced")
        if kind == "hang" and not 0.0 <= entry["ended"] <= HANG_SECONDS:
            words.append("the stopped engine was not ended")
        if words:
            faults.append(f"{kind} at {entry['t']:.0f} s: {', '.join(words)}")
    yield Verdict(
        "the music survives each kill", not faults,
        "; ".join(faults[:6]) or f"{len(done)} kills: {dict(Counter(e['kind'] for e in done))}",
    )


def _faults(night: Night) -> Iterator[Verdict]:
    done = {entry["number"]: entry for entry in night.all("fault over")}
    found = analysis.gaps(night)
    begun = night.all("fault")
    if not begun:
        return
    faults = []
    worst = 0.0
    for entry in begun:
        kind, number = entry["kind"], entry["number"]
        over = done.get(number)
        words = []
        if over is None:
            words.append("its observation was never completed")
        elif kind in UPGRADES:
            gap = max((one.excess_ms for one in found if one.cause in TIMED
                       and entry["t"] <= one.at <= over["t"]), default=0.0)  # fmt: skip
            worst = max(worst, gap)
            good = kind == "upgrade"
            if over["status"] != (0 if good else 1) or over["replaced"] != good:
                words.append(f"status {over['status']}, replaced {over['replaced']}:"
                             f" {over['text']}")  # fmt: skip
            if gap > GAP_MS + NOTICE_MS:
                words.append(f"a gap of {gap:g} ms")
        elif kind == "input" and not 0.0 <= over["back"] <= INPUT_SECONDS:
            words.append(f"the input did not return within {INPUT_SECONDS:g} s: {over['states']}")
        if words:
            faults.append(f"{kind} {entry['name']} at {entry['t']:.0f} s: {', '.join(words)}")
    kinds = dict(Counter(entry["kind"] for entry in begun))
    yield Verdict(
        "the music survives each fault", not faults,
        "; ".join(faults[:6])
        or f"{kinds}; at most {worst:.1f} ms without a block in an upgrade",
    )


def _input(night: Night) -> Iterator[Verdict]:
    # Outside of faults and kills, an input that plays has no gaps.
    entries = [entry for entry in night.all("status") if entry.get("input.1.state")]
    entries = [entry for entry in entries if entry["input.1.state"] != "off"]
    if not entries:
        return
    away = analysis.fault_times(night, "input", *UPGRADES) + analysis.kill_times(night)
    found = analysis.gaps(night)
    odd = []
    for before, entry in pairwise(entries):
        more = int(entry["input.1.gaps"]) - int(before["input.1.gaps"])
        near = [one for one in found if before["t"] - 3.0 <= one.at <= entry["t"] + 1.0]
        spans = any(begin - 1.0 <= entry["t"] <= end + 10.0 for begin, end in away)
        if more > 0 and not near and not spans:
            odd.append(f"{more} at {entry['t']:.0f} s")
    playing = sum(entry["input.1.state"] in ("playing", "muted") for entry in entries)
    drifts = [float(entry["input.1.drift_ppm"]) for entry in entries]
    yield Verdict(
        "the live input plays without gaps of its own", playing > 0 and not odd,
        "; ".join(odd[:5])
        or f"{playing} of {len(entries)} readings playing or muted,"
        f" {max(int(e['input.1.gaps']) for e in entries)} gaps in all, each near a fault, a kill or"
        f" a gap of the card; drift {np.median(drifts):+.1f} ppm (median)",
    )


def _announcements(night: Night) -> Iterator[Verdict]:
    made = Counter(str(entry["words"]).split()[1] for entry in night.all("told")
                   if entry["address"] == "/announcement")  # fmt: skip
    wanted = sum(entry["kind"] == "announce" for entry in night.all("action"))
    if wanted:
        yield Verdict(
            "announcements are made", made["playing"] > 0,
            f"{wanted} requested by the DJ, besides the schedule's; {dict(made)}",
        )


def _log(folder: Path) -> Iterator[Verdict]:
    path = folder / "server.log"
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    traces = re.findall(r"^\w*(?:Error|Exception)\b.*", text, re.MULTILINE)
    count = text.count("Traceback (most recent call last)")
    yield Verdict(
        "the server's log holds no traceback", count == 0,
        f"{len(text) / 1e6:.2f} MB of log, {count} tracebacks" + f" {traces[:2]}" * bool(count),
    )


def _shut_down(night: Night) -> Iterator[Verdict]:
    entry = night.one("shut down")
    if entry:
        left = entry["left"] or entry["shared_memory"]
        yield Verdict(
            "nothing is left after the end", not left,
            f"processes {entry['left']}, shared memory {entry['shared_memory']}" if left
            else f"no process, no shared memory, {entry.get('seconds', 0.0):g} s after SIGTERM",
        )
