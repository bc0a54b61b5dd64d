"""The target energy over the course of a set, 0 to 1."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from crowdstream.system.text import printable

MAX_POINTS = 1000
WAVES = 3.0  # periods of a "wave"
PEAK_AT = 0.7  # position of a "peak" in the set: the last third winds down again


class CurveError(ValueError):
    """An invalid energy curve. The message names the file, the line and the reason."""


@dataclass(frozen=True)
class Curve:
    """The target energy, 0 to 1, as a function of the position in the set, 0 to 1."""

    name: str
    energy: Callable[[float], float]


def _rise(share: float) -> float:
    return 0.15 + 0.8 * share


def _wave(share: float) -> float:
    return 0.55 - 0.35 * math.cos(2 * math.pi * WAVES * share)


def _peak(share: float) -> float:
    if share < PEAK_AT:
        return 0.2 + 0.8 * share / PEAK_AT
    return 1.0 - 0.7 * (share - PEAK_AT) / (1 - PEAK_AT)


NAMED = {"rise": _rise, "wave": _wave, "peak": _peak}


def find_curve(text: str) -> Curve:
    """Return a curve by name, or read one from a file of percentages and energies."""
    if text in NAMED:
        return Curve(text, NAMED[text])
    path = Path(text).expanduser()
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except OSError as error:
        names = ", ".join(NAMED)
        raise CurveError(
            f"energy: {printable(text)!r} must be one of {names}, or a readable file "
            f"({error.strerror})"
        ) from None
    except UnicodeDecodeError:
        raise CurveError(f"{printable(path)}: not UTF-8 text") from None
    return Curve(path.name, _through(_points(lines, path)))


def _points(lines: list[str], path: Path) -> list[tuple[float, float]]:
    points: list[tuple[float, float]] = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        place = f"{printable(path)}, line {number}"
        try:
            at, energy = map(float, words)
        except ValueError:
            raise CurveError(f"{place}: expected percent and energy, such as `50 0.8`") from None
        if not (0 <= at <= 100 and 0 <= energy <= 1):
            raise CurveError(f"{place}: percent must be 0 to 100, and energy 0 to 1")
        if points and at <= points[-1][0]:
            raise CurveError(f"{place}: percent must ascend; {at:g} follows {points[-1][0]:g}")
        points.append((at, energy))
    if not points:
        raise CurveError(
            f"{printable(path)}: no line with percent and energy, such as `50 0.8`"
        )
    if len(points) > MAX_POINTS:
        raise CurveError(f"{printable(path)}: {len(points)} points; the maximum is {MAX_POINTS}")
    return points


def _through(points: list[tuple[float, float]]) -> Callable[[float], float]:
    def energy(share: float) -> float:
        at = bisect_right(points, 100 * share, key=lambda point: point[0])
        if at == 0 or at == len(points):
            return points[min(at, len(points) - 1)][1]
        (left, low), (right, high) = points[at - 1], points[at]
        return low + (high - low) * (100 * share - left) / (right - left)

    return energy
