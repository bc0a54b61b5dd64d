"""Plots of a night: eight of them over time, with kills as grey lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cost import plotter
from benchmarks.long_night import analysis
from benchmarks.long_night.judge import BESIDES_MB
from benchmarks.long_night.log import Night

_BINS = 120  # maximum number of points of a percentile
_MIN_SECONDS = 5.0  # minimum duration of each point


def draw(night: Night, path: Path) -> None:
    """Draw all plots into a PNG file. Raise `BenchmarkError` without matplotlib."""
    pyplot = plotter()
    figure, axes = pyplot.subplots(4, 2, figsize=(14, 15), squeeze=False)
    kinds = (_render, _gaps, _memory, _cpu, _clock, _answers, _handles, _music)
    for axis, kind in zip(axes.flat, kinds, strict=True):
        for begin, _ in analysis.kill_times(night):
            axis.axvline(begin / 60.0, color="0.85", linewidth=0.8, zorder=0)
        kind(night, axis)
        axis.set_xlabel("minutes")
        axis.grid(alpha=0.2)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=7, loc="upper left")
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def _seconds(night: Night, name: str) -> tuple[np.ndarray, np.ndarray]:
    entries = night.all("second")
    times = np.array([entry["t"] for entry in entries]) / 60.0
    return times, np.array([entry[name] for entry in entries], float)


def _render(night: Night, axis: Any) -> None:
    desk = night.one("desk")
    for name, label in (("p100", "longest"), ("p99", "p99"), ("p50", "median")):
        times, values = _seconds(night, name)
        axis.plot(times, np.maximum(values, 1e-3), linewidth=0.7, label=f"{label} of the second")
    axis.axhline(desk["block"] / desk["rate"] * 1e3, color="red", linewidth=0.8, label="budget")
    axis.set_yscale("log")
    axis.set_title("render time of a block, ms")


def _gaps(night: Night, axis: Any) -> None:
    found = analysis.gaps(night)
    kinds = sorted({(gap.cause, gap.why or "NOTHING") for gap in found})
    for cause, why in kinds:
        times = [
            gap.at / 60.0 for gap in found if (gap.cause, gap.why or "NOTHING") == (cause, why)
        ]
        axis.step(
            [0.0, *times], range(len(times) + 1), where="post", label=f"{cause}, by {why}"
        )
    axis.set_title("gaps in the ledger, added up, by cause and explanation")


def _memory(night: Night, axis: Any) -> None:
    used = analysis.usage(night)
    times = used.times / 60.0
    parts = {f"{role}'s own": values for role, values in used.own.items()}
    parts["shared block"] = used.shared
    parts["program files"] = used.total - np.sum(list(parts.values()), axis=0)
    stack = [values / 1e6 for values in parts.values()]
    axis.stackplot(times, *stack, labels=list(parts), alpha=0.6)
    limit = float(night.one("night")["memory_mb"]) + BESIDES_MB
    axis.axhline(limit, color="red", linewidth=0.8, label="budget + 300 MB")
    axis.set_title("memory, MB")


def _cpu(night: Night, axis: Any) -> None:
    used = analysis.usage(night)
    for role, values in used.cpu.items():
        axis.plot(used.times / 60.0, values, linewidth=0.8, label=role)
    axis.set_title("CPU, percent of a core")


def _clock(night: Night, axis: Any) -> None:
    found = analysis.drift(night)
    if found is not None:
        axis.plot(found.times / 60.0, found.behind, linewidth=0.8, label="behind")
        axis.plot(found.times / 60.0, found.net, linewidth=0.8, label="net of known gaps")
    axis.set_title("engine's frames behind the system's clock, ms")


def _answers(night: Night, axis: Any) -> None:
    entries = [entry for entry in night.all("answer") if entry["key"] == "/synced"]
    if entries:
        times = np.array([entry["t"] for entry in entries])
        values = np.array([entry["ms"] for entry in entries])
        lasts = max(_MIN_SECONDS, float(times[-1] - times[0]) / _BINS)
        place = ((times - times[0]) // lasts).astype(int)
        for percent in (100, 99, 50):
            points = [(times[place == bin_].mean() / 60.0, np.percentile(values[place == bin_],
                       percent)) for bin_ in np.unique(place)]
            label = {100: "longest", 99: "p99", 50: "median"}[percent]
            axis.plot(*zip(*points, strict=True), linewidth=0.8, label=label)
        axis.set_yscale("log")
    axis.set_title(f"time to an answer (/sync), ms, by {_MIN_SECONDS:g} s or more")


def _handles(night: Night, axis: Any) -> None:
    used = analysis.usage(night)
    for name, style in (("files", "-"), ("threads", ":")):
        for role, values in getattr(used, name).items():
            axis.plot(used.times / 60.0, values, style, linewidth=0.8, label=f"{role} {name}")
    axis.set_title("open files and threads")


def _music(night: Night, axis: Any) -> None:
    times, voices = _seconds(night, "playing")
    axis.plot(times, voices, linewidth=0.7, label="voices")
    entries = night.all("status")
    pages = [float(entry["pages_used_mb"] or 0.0) / 10.0 for entry in entries]
    axis.plot([entry["t"] / 60.0 for entry in entries], pages, linewidth=0.8,
              label="pages filled, 10 MB")
    axis.set_title("what plays")
