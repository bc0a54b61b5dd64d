"""The report of a night: verdicts, figures, and plots."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.long_night import analysis
from benchmarks.long_night.judge import verdicts
from benchmarks.long_night.log import Night, read

TEXT, PICTURE = "report.txt", "report.png"
_MARKS = {True: "ok  ", False: "FAIL", None: "-   "}
_MAX_ROWS = 40


def write_report(folder: Path, gaps_an_hour: float) -> bool:
    """Write and print the report of the night in `folder`; return whether the night has passed.

    Raise `BenchmarkError` without matplotlib, after the text has been written.
    """
    night = read(folder)
    found = verdicts(night, folder, gaps_an_hour)
    passed = all(verdict.met is not False for verdict in found)
    lines = [*_heading(night), "", "PASS" if passed else "FAIL"]
    lines += [f"{_MARKS[one.met]} {one.name}: {one.reason}" for one in found]
    if night.all("second"):
        for part in (_gaps, _kills, _faults, _render, _answers, _processes, _refusals):
            lines += part(night)
    text = "\n".join(lines) + "\n"
    (folder / TEXT).write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    if len(night.all("second")) > 1:
        from benchmarks.long_night.plots import draw

        draw(night, folder / PICTURE)
    return passed


def _heading(night: Night) -> list[str]:
    what: dict[str, Any] = night.one("night")
    machine = what.get("machine", {})
    seconds = night.all("second")
    lasted = (seconds[-1]["t"] - seconds[0]["t"]) / 60.0 if seconds else 0.0
    done = Counter(entry["kind"] for entry in night.all("action"))
    interrupted = " (interrupted)" if night.one("interrupted") else ""
    return [
        f"A long night: {lasted:.1f} minutes{interrupted}, seed {what.get('seed')}",
        f"command: python benchmarks/soak.py {what.get('command', '')}",
        "machine: " + ", ".join(f"{name} {value}" for name, value in machine.items()),
        f"card: {what.get('card')}, blocks of {what.get('buffer')}; "
        f"budget {what.get('memory_mb')} MB; kills: {', '.join(what.get('kills', [])) or 'none'}; "
        f"other faults: {', '.join(what.get('faults', [])) or 'none'}",
        "done: " + ", ".join(f"{count} {kind}" for kind, count in done.most_common()),
    ]


def _table(title: str, rows: list[dict[str, object]]) -> list[str]:
    return ["", title, common.table(rows)] if rows else []


def _gaps(night: Night) -> Iterator[str]:
    found = analysis.gaps(night)
    kinds = Counter((gap.cause, gap.why or "nothing") for gap in found)
    rows: list[dict[str, object]] = [
        {
            "cause": cause, "explained by": why, "gaps": count,
            "worst ms": round(max(g.excess_ms for g in found
                                  if (g.cause, g.why or "nothing") == (cause, why)), 1),
        }
        for (cause, why), count in sorted(kinds.items())
    ]  # fmt: skip
    yield from _table("Gaps in the ledger", rows)
    empty = night.one("empty callback")
    if empty:
        machine = sum(gap.why == "machine" for gap in found)
        yield (
            f"An empty callback on the same card, in the same time: {empty['underruns']} underruns;"
            f" here {machine} gaps while the machine kept engine or card waiting"
        )


def _kills(night: Night) -> Iterator[str]:
    names = ("kind", "t", "gap_ms", "answered", "moved", "ended", "replaced", "playing", "on",
             "noted")
    rows = [{name: entry[name] for name in names} for entry in night.all("killed")]
    yield from _table(
        "Kills: longest time without a block (net), seconds to an answer, to the next block, to "
        "the victim's end,\nto another in its place; voices before and after, gaps noted",
        rows[:_MAX_ROWS],
    )
    skipped = Counter(f"{e['kind']}: {e['reason']}" for e in night.all("kill skipped"))
    if skipped:
        yield "not done: " + ", ".join(f"{count} x {words}" for words, count in skipped.items())


def _faults(night: Night) -> Iterator[str]:
    begun = {entry["number"]: entry["t"] for entry in night.all("fault")}
    rows: list[dict[str, object]] = [
        {
            "fault": entry["kind"], "name": entry["name"], "t": begun[entry["number"]],
            "seconds": round(entry["t"] - begun[entry["number"]], 1),
            "back after": entry.get("back", ""), "status": entry.get("status", ""),
            "result": entry.get("text", ", ".join(entry.get("states", ())))[:90],
        }
        for entry in night.all("fault over")
    ]  # fmt: skip
    yield from _table("Other faults: what has gone and returned, and upgrades", rows[:_MAX_ROWS])
    skipped = Counter(f"{e['kind']}: {e['reason']}" for e in night.all("fault skipped"))
    if skipped:
        yield "not done: " + ", ".join(f"{count} x {words}" for words, count in skipped.items())


def _render(night: Night) -> Iterator[str]:
    seconds = night.all("second")
    desk = night.one("desk")
    p99 = np.array([entry["p99"] for entry in seconds])
    worst = np.array([entry["p100"] for entry in seconds])
    budget = desk["block"] / desk["rate"] * 1e3
    yield ""
    yield (
        f"Render, of {budget:.2f} ms: median of the seconds' p99 {np.median(p99):.3f} ms, "
        f"highest {p99.max():.3f} ms, longest block {worst.max():.3f} ms"
    )
    last = seconds[-1]
    yield "Counted: " + ", ".join(
        f"{name} {last[name]}" for name in
        ("blocks", "device_flags", "over_budget", "missing_pages", "missing_frames",
         "late_commands", "hard_cuts", "nonfinite")
    )  # fmt: skip


def _answers(night: Night) -> Iterator[str]:
    rows: list[dict[str, object]] = [
        {
            "answer": key, "count": len(values), "median ms": round(float(np.median(values)), 2),
            "p99 ms": round(float(np.percentile(values, 99)), 2),
            "longest ms": round(float(values.max()), 2),
        }
        for key, values in sorted(analysis.answers(night).items())
    ]  # fmt: skip
    yield from _table("Answers, outside of kills", rows)


def _processes(night: Night) -> Iterator[str]:
    used = analysis.usage(night)
    rows: list[dict[str, object]] = []
    for role, cpu in used.cpu.items():
        there = used.own[role] > 0
        rows.append({
            "process": role, "CPU %": round(float(cpu[there].mean()), 1),
            "highest": round(float(cpu.max()), 1),
            "own MB": round(float(used.own[role][there].mean()) / 1e6, 1),
            "most": round(float(used.own[role].max()) / 1e6, 1),
            "files": int(used.files[role].max()), "threads": int(used.threads[role].max()),
        })  # fmt: skip
    yield from _table("Processes (the means while there were any of the kind)", rows)
    yield f"this script: {analysis.own_cpu(night):.1f} % of a core"


def _refusals(night: Night) -> Iterator[str]:
    words = Counter(entry["words"][:90] for entry in night.all("fail"))
    rows: list[dict[str, object]] = [
        {"count": count, "refused": text} for text, count in words.most_common(15)
    ]
    yield from _table("What was refused most", rows)
