"""Lines made of fields: the least important ones are dropped if the line is too narrow.

Bars: level meters with peak hold, the position in a track, and the beats of a bar.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from crowdstream.top.readings import Meter

GAP = 2  # cells between two fields


@dataclass(frozen=True)
class Field:
    """A piece of a line. Fields of `rank` 0 are always shown; the highest rank is dropped first.

    `stretch` creates the text for the remaining width, which is at least `least` cells.
    """

    text: Text
    rank: int = 0
    stretch: Callable[[int], Text] | None = None
    least: int = 0

    @property
    def width(self) -> int:
        """Minimum width in cells."""
        return self.least if self.stretch else self.text.cell_len


def field(text: str, style: str = "", rank: int = 0) -> Field:
    """Return a field with one style."""
    return Field(Text(text, style, end=""), rank)


def labelled(label: str, text: str, style: str = "", rank: int = 0) -> Field:
    """Return a value preceded by its name."""
    return Field(Text.assemble((f"{label} ", "dim"), (text, style), end=""), rank)


def stretching(make: Callable[[int], Text], least: int, rank: int = 0) -> Field:
    """Return a field that takes the remaining width."""
    return Field(Text(end=""), rank, make, least)


def cut(text: str, width: int) -> str:
    """Return a text of exactly `width` cells: padded with spaces, or ending in an ellipsis."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    if width < 2:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + "…"


def line(width: int, fields: Sequence[Field]) -> Text:
    """Join fields into a line of at most `width` cells."""
    shown = list(fields)
    while len(shown) > 1 and _width(shown) > width:
        worst = max(shown, key=lambda one: one.rank)
        if worst.rank == 0:
            break
        # Of several fields with the same rank, the last one is dropped first.
        shown.remove(next(one for one in reversed(shown) if one.rank == worst.rank))
    spare = max(0, width - _width(shown))
    stretching = sum(1 for one in shown if one.stretch)
    text = Text(end="", no_wrap=True)
    for number, one in enumerate(shown):
        if number:
            text.append(" " * GAP)
        if one.stretch:
            more = spare // stretching
            spare, stretching = spare - more, stretching - 1
            text.append_text(one.stretch(one.least + more))
        else:
            text.append_text(one.text)
    text.truncate(width)
    return text


def _width(fields: Sequence[Field]) -> int:
    return sum(one.width for one in fields) + GAP * (len(fields) - 1)


def rule(width: int, title: str, rest: str = "", glyph: str = "─") -> Text:
    """Return a horizontal rule with a title on the left and a few words on the right."""
    words = f" {rest} " if rest and cell_len(rest) + cell_len(title) + 8 <= width else ""
    dashes = max(0, width - cell_len(title) - 4 - cell_len(words))
    text = Text.assemble(
        (glyph * 2 + " ", "dim"), (title, "bold"), (" " + glyph * dashes, "dim"), (words, "dim"),
        end="", no_wrap=True,
    )
    text.truncate(width)
    return text


def minutes(seconds: float, tenths: bool = True) -> str:
    """Format a time as `1:23.4` or `2:01:23.4`, without tenths as `1:23`."""
    sign = "-" if seconds < 0 else ""
    units = round(abs(seconds) * 10) if tenths else int(abs(seconds)) * 10
    whole, tenth = divmod(units, 10)
    minute, second = divmod(whole, 60)
    hour, minute = divmod(minute, 60)
    text = f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"
    return sign + text + (f".{tenth}" if tenths else "")


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
