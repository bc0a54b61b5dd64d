"""Lines made of fields: the least important ones are dropped if the line is too narrow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

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
