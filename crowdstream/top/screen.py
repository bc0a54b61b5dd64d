"""Draws on a terminal what has changed, and nothing else.

Whole pictures would flicker and be too much for a slow line: of each line only the pieces that
differ are sent, at their places, all of a picture in one write.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import COLOR_SYSTEMS, Console
from rich.segment import Segment
from rich.text import Text

# Terminals that know it show the picture at once, however it arrives; others ignore it.
BEGIN, END = "\x1b[?2026h", "\x1b[?2026l"
CLEAR = "\x1b[0m\x1b[2J"
CLEAR_LINE_END = "\x1b[K"
OPEN = "\x1b[?1049h\x1b[?25l"  # the other screen, without a cursor
CLOSE = "\x1b[0m\x1b[?25h\x1b[?1049l"


def place(row: int, column: int) -> str:
    """Go to a row and a column, counted from 0."""
    return f"\x1b[{row + 1};{column + 1}H"


class Screen:
    """What a terminal shows. `update` gives what has to be written to change it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        name = console.color_system
        self._colors: ColorSystem | None = COLOR_SYSTEMS[name] if name else None
        self._texts: list[Text] = []
        self._shown: list[list[Segment]] = []

    def forget(self) -> None:
        """The terminal shows something else: the next picture is drawn as a whole."""
        self._texts, self._shown = [], []

    def update(self, lines: Sequence[Text]) -> str:
        """Text to write, so that what is shown becomes these lines. Their styles are in spans."""
        whole = not self._shown
        parts: list[str] = []
        rows = max(len(lines), len(self._shown))
        for row in range(rows):
            if row < min(len(lines), len(self._texts)) and lines[row] == self._texts[row]:
                continue
            new = self._segments(lines[row]) if row < len(lines) else []
            old = self._shown[row] if row < len(self._shown) else []
            if row < len(self._shown):
                self._shown[row] = new
            else:
                self._shown.append(new)
            parts.append(self._change(row, old, new))
        self._texts = list(lines)
        del self._shown[len(lines) :]
        changed = "".join(parts)
        if not changed:
            return ""
        return f"{BEGIN}{CLEAR if whole else ''}{changed}{END}"

    def _segments(self, text: Text) -> list[Segment]:
        segments = [one for one in text.render(self._console) if one.text]
        return list(Segment.remove_color(segments)) if self._console.no_color else segments

    def _change(self, row: int, old: list[Segment], new: list[Segment]) -> str:
        first = 0
        while first < min(len(old), len(new)) and old[first] == new[first]:
            first += 1
        last = 0
        before, after = _cells(old), _cells(new)
        while before == after and last < min(len(old), len(new)) - first:
            if old[-1 - last] != new[-1 - last]:
                break
            last += 1
        column = _cells(new[:first])
        pieces = new[first : len(new) - last]
        if not pieces and before == after:
            return ""
        written = [place(row, column)]
        for piece in pieces:
            written.append(piece.style.render(piece.text, color_system=self._colors)
                           if piece.style else piece.text)  # fmt: skip
            column += cell_len(piece.text)
            if not piece.text.isascii():
                # Terminals do not agree on how wide some characters are.
                written.append(place(row, column))
        if after < before:
            written.append(CLEAR_LINE_END)
        return "".join(written)


def _cells(segments: Sequence[Segment]) -> int:
    return sum(cell_len(one.text) for one in segments)
