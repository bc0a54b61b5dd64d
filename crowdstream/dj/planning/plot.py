"""Plot a set as SVG: decks and stems over time, energy, tempo and key.

Write the few SVG elements that the plot needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from crowdstream.dj.setfile.automation import stem_gain
from crowdstream.dj.setfile.model import BEATS_PER_BAR, AutomationPoint, Set, SetEntry, Target
from crowdstream.dj.setfile.timed_commands import DECKS, TrackPlacement, placements, tempo_map
from crowdstream.dj.track_features import TrackFeatures
from crowdstream.system.text import printable


def _attributes(values: dict[str, float | str]) -> str:
    parts = []
    for name, value in values.items():
        text = value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
        parts.append(f' {name.rstrip("_").replace("_", "-")}="{escape(text)}"')
    return "".join(parts)


class Svg:
    """A drawing; sizes are in pixels, `style` is CSS."""

    def __init__(self, width: float, height: float, style: str) -> None:
        self._width, self._height = width, height
        self._parts = [f"<style>{escape(style)}</style>"]
        self._clips = 0

    def rect(
        self, x: float, y: float, width: float, height: float, title: str = "", **more: float | str
    ) -> None:
        """Add a rectangle; `title` is its tooltip."""
        values = {"x": x, "y": y, "width": max(0.0, width), "height": height, **more}
        end = f"><title>{escape(title)}</title></rect>" if title else "/>"
        self._parts.append(f"<rect{_attributes(values)}{end}")

    def line(self, x: float, y: float, x2: float, y2: float, **more: float | str) -> None:
        """Add a straight line."""
        self._parts.append(f"<line{_attributes({'x1': x, 'y1': y, 'x2': x2, 'y2': y2, **more})}/>")

    def curve(self, points: Sequence[tuple[float, float]], **more: float | str) -> None:
        """Add a polyline through `points`."""
        path = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
        self._parts.append(f"<polyline{_attributes({'points': path, 'fill': 'none', **more})}/>")

    def text(
        self, x: float, y: float, text: str, room: float | None = None, **more: float | str
    ) -> None:
        """Add a line of text, clipped to a width of `room`."""
        values = {"x": x, "y": y, **more}
        if room is not None:
            self._clips += 1
            self._parts.append(
                f'<clipPath id="c{self._clips}"><rect{_attributes({"x": x, "y": y - 20})}'
                f'{_attributes({"width": max(0.0, room), "height": 30})}/></clipPath>'
            )
            values["clip_path"] = f"url(#c{self._clips})"
        self._parts.append(f"<text{_attributes(values)}>{escape(text)}</text>")

    def whole(self) -> str:
        """Return the SVG document."""
        width, height = f"{self._width:.0f}", f"{self._height:.0f}"
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}">'
        )
        return "\n".join([head, *self._parts, "</svg>\n"])


PER_MINUTE = 64.0  # pixels
MIN_WIDTH, MAX_WIDTH = 900.0, 4200.0
LEFT, RIGHT, TOP = 70.0, 30.0, 76.0
STEM_HEIGHT, LABEL_HEIGHT, GAP = 13.0, 20.0, 12.0
LANE = 4 * STEM_HEIGHT + LABEL_HEIGHT + GAP
CHART = 90.0
COLOURS = {"drums": "#d9822b", "bass": "#2f6fb0", "vocals": "#b83a6b", "other": "#4b9560"}
PLAIN = "#6b7280"
STYLE = (
    "svg{background:#fff;font:12px system-ui,sans-serif;fill:#1f2937}"
    ".small{font-size:10px;fill:#4b5563}.head{font-size:16px;font-weight:600}"
)
STEPS_PER_CELL = 2.0  # clock bars per shaded cell


@dataclass(frozen=True)
class _Frame:
    svg: Svg
    x: Callable[[float], float]  # seconds to pixels
    right: float


def plot_set(
    mix: Set, known: Mapping[str, TrackFeatures], energies: Mapping[str, float],
    curve: Callable[[float], float] | None = None,
) -> str:  # fmt: skip
    """Return the SVG plot of a set.

    `known`: features of its tracks by path, as far as they are known; `energies`: each path's
    energy rank among all tracks, 0 to 1; `curve`: target energy at each position in the set.
    """
    where, tempo = placements(mix), tempo_map(mix)
    length = tempo.second(where[-1].end)
    width = max(MIN_WIDTH, min(MAX_WIDTH, length / 60 * PER_MINUTE)) + LEFT + RIGHT
    charts = 3 if energies else 2
    height = TOP + len(DECKS) * LANE + charts * (CHART + 34) - 30
    svg = Svg(width, height, STYLE)
    scale = (width - LEFT - RIGHT) / length
    frame = _Frame(svg, lambda second: LEFT + second * scale, width - RIGHT)
    title = mix.title or "Mix"
    svg.text(LEFT, 26, f"{printable(title)}: {len(where)} tracks, {length / 60:.1f} minutes",
             class_="head")  # fmt: skip
    _legend(svg, width)
    _axis(frame, length, height)
    for index, (entry, place) in enumerate(zip(mix.entries, where, strict=True)):
        before = mix.entries[index - 1].transition if index else None
        rows_in = before.rows if before else ()
        _track(frame, entry, place, rows_in, known.get(entry.path), tempo.second)
    for index, (entry, place) in enumerate(zip(mix.entries, where, strict=True)):
        if entry.transition is not None and index + 1 < len(where):
            _transition(frame, entry, place, where[index + 1], tempo.second)
    top = TOP + len(DECKS) * LANE + 14
    if energies:
        _energy(frame, mix, where, known, energies, curve, length, tempo.second, top)
        top += CHART + 34
    _tempo(frame, length, tempo.beat, tempo.bpm, top)
    _keys(frame, mix, where, tempo.second, top + CHART + 34)
    return svg.whole()


def _legend(svg: Svg, width: float) -> None:
    x = width - RIGHT - 80 * len(COLOURS)
    for name, colour in COLOURS.items():
        svg.rect(x, 16, 12, 12, fill=colour)
        svg.text(x + 16, 26, name)
        x += 80


def _axis(frame: _Frame, length: float, height: float) -> None:
    step = next(s for s in (10, 30, 60, 120, 300, 600, 1800, 3600, 7200)
                if length / s <= 40 or s == 7200)  # fmt: skip
    for number in range(int(length / step) + 1):
        second = number * step
        x = frame.x(second)
        frame.svg.line(x, TOP - 28, x, height - 8, stroke="#e5e7eb")
        minutes, rest = divmod(second, 60)
        frame.svg.text(x + 2, TOP - 18, f"{minutes}:{rest:02d}", class_="small")
    for number, deck in enumerate(DECKS):
        y = TOP + number * LANE
        frame.svg.text(16, y + LANE / 2, f"Deck {deck}")
        frame.svg.line(LEFT, y + LANE - GAP / 2, frame.right, y + LANE - GAP / 2, stroke="#d1d5db")


def _track(
    frame: _Frame,
    entry: SetEntry,
    place: TrackPlacement,
    rows_in: tuple[AutomationPoint, ...],
    features: TrackFeatures | None,
    second: Callable[[float], float],
) -> None:  # fmt: skip
    svg = frame.svg
    y = TOP + DECKS.index(place.deck) * LANE
    x, right = frame.x(second(place.begin)), frame.x(second(place.end))
    stems = entry.stems or ("",)
    high = 4 * STEM_HEIGHT / len(stems)
    svg.rect(x, y, right - x, LANE - GAP, fill="#f3f4f6", stroke="#9ca3af", title=entry.why)
    name = printable(features.name if features else entry.path.rstrip("/").rpartition("/")[2])
    svg.text(x + 3, y + 14, f"{place.index + 1} {name} {entry.key}", right - x - 4)
    rows_out = entry.transition.rows if entry.transition else ()
    step = STEPS_PER_CELL * BEATS_PER_BAR
    for number, stem in enumerate(stems):
        beat = place.begin
        while beat < place.end - 1e-6:
            until = min(place.end, beat + step)
            middle = (beat + until) / 2
            gain = _gain(rows_in, rows_out, place, entry.stems, stem, middle)
            there = 0.7
            if features is not None:
                at = entry.enter + (middle - place.begin) * entry.ratio
                there = features.mean(features.activity(stem), at - 2, at + 2)
            shade = min(1.0, there * gain)
            if shade > 0.02:
                left, end = frame.x(second(beat)), frame.x(second(until))
                svg.rect(left, y + LABEL_HEIGHT + number * high, end - left + 0.3, high - 1,
                         fill=COLOURS.get(stem, PLAIN),
                         fill_opacity=0.12 + 0.88 * shade)  # fmt: skip
            beat = until


def _gain(
    rows_in: tuple[AutomationPoint, ...],
    rows_out: tuple[AutomationPoint, ...],
    place: TrackPlacement,
    stems: tuple[str, ...],
    stem: str, beat: float,
) -> float:  # fmt: skip
    # Automation of the transition into the track stays in effect after that transition.
    gain = 1.0
    sides: tuple[tuple[tuple[AutomationPoint, ...], Target, float], ...] = (
        (rows_in, "in", beat - place.begin),
        (rows_out, "out", beat - place.mix_out),
    )
    for rows, target, at in sides:
        gain *= stem_gain(rows, target, stems, stem, at)
    return gain


def _transition(
    frame: _Frame,
    entry: SetEntry,
    outgoing: TrackPlacement,
    incoming: TrackPlacement,
    second: Callable[[float], float],
) -> None:
    transition = entry.transition
    if transition is None:
        return
    x, right = frame.x(second(outgoing.mix_out)), frame.x(second(outgoing.end))
    ys = [TOP + DECKS.index(place.deck) * LANE for place in (outgoing, incoming)]
    title = f"{transition.kind}: {transition.why}"
    frame.svg.rect(x, min(ys), max(2.0, right - x), abs(ys[0] - ys[1]) + LANE - GAP,
                   fill="#111827", fill_opacity=0.08, title=title)  # fmt: skip
    frame.svg.text(x + 2, ys[1] - 2, transition.kind, class_="small")


def _chart(frame: _Frame, y: float, name: str, low: str, high: str) -> None:
    frame.svg.rect(LEFT, y, frame.right - LEFT, CHART, fill="none", stroke="#d1d5db")
    frame.svg.text(16, y + CHART / 2, name)
    frame.svg.text(LEFT - 6, y + 10, high, class_="small", text_anchor="end")
    frame.svg.text(LEFT - 6, y + CHART, low, class_="small", text_anchor="end")


def _energy(
    frame: _Frame, mix: Set, where: list[TrackPlacement], known: Mapping[str, TrackFeatures],
    energies: Mapping[str, float], curve: Callable[[float], float] | None, length: float,
    second: Callable[[float], float], y: float,
) -> None:  # fmt: skip
    _chart(frame, y, "Energy", "0", "1")
    for entry, place in zip(mix.entries, where, strict=True):
        energy = energies.get(entry.path)
        x, right = frame.x(second(place.begin)), frame.x(second(place.end))
        if energy is not None:
            frame.svg.rect(x, y + CHART * (1 - energy), right - x, CHART * energy,
                           fill="#f59e0b", fill_opacity=0.35)  # fmt: skip
        features = known.get(entry.path)
        if features is None:
            continue
        points = []
        beat = place.begin
        while beat < place.end:
            at = entry.enter + (beat - place.begin) * entry.ratio
            points.append((frame.x(second(beat)), y + CHART * (1 - features.energy(at, at + 4))))
            beat += 2 * BEATS_PER_BAR
        frame.svg.curve(points, stroke="#b45309", stroke_width=1, stroke_opacity=0.7)
    if curve is not None:
        points = [(frame.x(length * n / 200), y + CHART * (1 - curve(n / 200))) for n in range(201)]
        frame.svg.curve(points, stroke="#dc2626", stroke_width=2, stroke_dasharray="6 4")
        frame.svg.text(frame.right - 4, y + 12, "dashed: target, bars: rank among all tracks, "
                       "line: within the track", class_="small", text_anchor="end")  # fmt: skip


def _tempo(
    frame: _Frame, length: float, beat: Callable[[float], float], bpm: Callable[[float], float],
    y: float,
) -> None:  # fmt: skip
    count = int(frame.right - LEFT)
    seconds = [length * n / count for n in range(count + 1)]
    tempos = [bpm(beat(second)) for second in seconds]
    low, high = math.floor(min(tempos) - 1), math.ceil(max(tempos) + 1)
    _chart(frame, y, "Tempo", str(low), str(high))
    frame.svg.curve(
        [(frame.x(at), y + CHART * (1 - (tempo - low) / (high - low)))
         for at, tempo in zip(seconds, tempos, strict=True)],
        stroke="#1d4ed8", stroke_width=1.6,
    )  # fmt: skip


def _keys(
    frame: _Frame, mix: Set, where: list[TrackPlacement], second: Callable[[float], float], y: float
) -> None:
    frame.svg.text(16, y + 18, "Key")
    for entry, place in zip(mix.entries, where, strict=True):
        x, right = frame.x(second(place.begin)), frame.x(second(place.mix_out))
        colour = "#e5e7eb"
        if entry.key:
            light = 72 if entry.key[-1] == "A" else 84
            colour = f"hsl({(int(entry.key[:-1]) - 1) * 30},65%,{light}%)"
        frame.svg.rect(x, y, right - x, 28, fill=colour, stroke="#fff")
        frame.svg.text(x + 4, y + 18, entry.key or "?", right - x - 4)
