"""Bars: level meters with peak hold, the position in a track, and the beats of a bar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.text import Text

from crowdstream.top.readings import Meter

MIN_DB = -48.0  # at the left end: softer sound is hardly audible beside music
LOUD_DB = -12.0  # typical peak level of a mix
HOT_DB = -3.0
FULL_DB = -0.1  # the limiter's ceiling is at or below this level


@dataclass(frozen=True)
class Glyphs:
    """Characters that the terminal can display."""

    eighths: str = "▏▎▍▌▋▊▉█"
    held: str = "│"
    empty: str = "·"
    passed: str = "━"
    head: str = "╸"
    coming: str = "─"
    beat: str = "●"
    no_beat: str = "○"
    plays: str = "▶"
    stands: str = "■"
    dash: str = "─"


UNICODE = Glyphs()
ASCII = Glyphs("#", "|", ".", "=", ">", "-", "*", ".", ">", "#", "-")


def colour(decibels: float) -> str:
    """Return the style for a level in dB."""
    if decibels >= HOT_DB:
        return "red"
    return "yellow" if decibels >= LOUD_DB else "green"


def _cell(decibels: float, width: int) -> float:
    return min(max((decibels - MIN_DB) / -MIN_DB, 0.0), 1.0) * width


def level_bar(meter: Meter, now: float, width: int, glyphs: Glyphs) -> Text:
    """Draw a meter of `width` cells, from -48 dB to 0 dB."""
    steps = len(glyphs.eighths)
    whole, part = divmod(round(_cell(meter.peak, width) * steps), steps)
    held = meter.held(now)
    mark = min(width - 1, int(_cell(held, width))) if held > MIN_DB else -1
    text = Text(end="")
    for cell in range(width):
        # Each cell has the colour of the level that it represents.
        style = colour(MIN_DB * (1.0 - (cell + 1) / width))
        if cell < whole:
            text.append(glyphs.eighths[-1], style)
        elif cell == mark:
            text.append(glyphs.held, f"bold {colour(held)}")
        elif cell == whole and part:
            text.append(glyphs.eighths[part - 1], style)
        else:
            text.append(glyphs.empty, "dim")
    return _joined(text)


def share_bar(share: float, width: int, style: str, glyphs: Glyphs) -> Text:
    """Draw a used share of a total, 0 to 1."""
    full = round(min(max(share, 0.0), 1.0) * width)
    return Text.assemble(
        (glyphs.eighths[-1] * full, style), (glyphs.empty * (width - full), "dim"), end=""
    )


def place_bar(
    share: float,
    width: int,
    glyphs: Glyphs,
    loop: tuple[float, float] | None = None,
    cues: Mapping[str, float] | None = None,
) -> Text:
    """Draw the position in a track, its loop and the numbers of its hot cues; all from 0 to 1."""
    halves = round(min(max(share, 0.0), 1.0) * width * 2)
    whole, half = divmod(halves, 2)
    marks = {min(width - 1, int(at * width)): name for name, at in (cues or {}).items()}
    inside = range(0)
    if loop:
        first = min(width - 1, int(loop[0] * width))
        inside = range(first, max(first + 1, int(loop[1] * width)))
    text = Text(end="")
    for cell in range(width):
        style = "green" if cell in inside else "cyan"
        if cell in marks:
            text.append(marks[cell], "bold yellow" if cell >= whole else "yellow")
        elif cell < whole:
            text.append(glyphs.passed, style)
        elif cell == whole and half:
            text.append(glyphs.head, style)
        else:
            text.append(glyphs.coming, "green" if cell in inside else "dim")
    return _joined(text)


def beats(beat: float, meter: int, glyphs: Glyphs) -> Text:
    """Draw the beats of the bar as dots, with the current one highlighted."""
    at = int(beat // 1) % meter
    if meter > 8:  # too many dots to read
        return Text(f"{at + 1}/{meter}", end="")
    style = "bold magenta" if at == 0 else "bold cyan"
    return Text.assemble(
        (glyphs.no_beat * at, "dim"), (glyphs.beat, style),
        (glyphs.no_beat * (meter - 1 - at), "dim"), end="",
    )


def _joined(text: Text) -> Text:
    # Merge cells of the same style into one span, so that there is less to draw.
    joined = Text(end="")
    begin = 0
    spans = text.spans
    for number in range(1, len(spans) + 1):
        if number == len(spans) or spans[number].style != spans[begin].style:
            joined.append(text.plain[begin:number], spans[begin].style)
            begin = number
    return joined
