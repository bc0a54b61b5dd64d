"""The lines that show a deck."""

from __future__ import annotations

import re
from functools import partial

from rich.text import Text

from crowdstream.top import fields
from crowdstream.top.fields import Field, Glyphs, cut, field, labelled, line, minutes, stretching
from crowdstream.top.readings import FLOOR, Readings

STYLES = {
    "playing": "bold green", "ready": "bold cyan", "loading": "yellow", "broken": "bold red",
}  # fmt: skip
METER = 14  # cells
CERTAIN = 0.6  # confidence of a beat grid; see docs/concepts/time-and-sync.md
LAST_SECONDS = 30.0  # of a track, for which the remaining time is highlighted
_LOOP = re.compile(r"([0-9.]+)-([0-9.]+)")
_CUE = re.compile(r"([0-9]+):([0-9.]+)")


def deck_lines(
    readings: Readings, deck: str, width: int, rows: int, now: float, glyphs: Glyphs
) -> list[Text]:
    """Show a deck in one to four lines."""
    one = _Deck(readings, deck, now, glyphs)
    title, place, sound, more = one.title(), one.place(), one.sound(), one.more()
    if rows == 1:
        return [line(width, one.short())]
    if rows == 2:
        return [line(width, title), line(width, [*place])]
    if rows == 3:
        return [line(width, title), line(width, place), line(width, [*sound, *more])]
    return [line(width, title), line(width, place), line(width, sound), line(width, one.indented())]


def gain(value: float) -> str:
    """Format a linear gain as in OSC; 0 is shown as "off"."""
    return " off" if value == 0.0 else f"{value:.2f}"


class _Deck:
    def __init__(self, readings: Readings, deck: str, now: float, glyphs: Glyphs) -> None:
        self._readings, self._deck, self._now, self._glyphs = readings, deck, now, glyphs
        self._state = self._text("state") or "empty"
        self._length = self._number("length")
        self._empty = not self._text("track")
        self._indent = field("  ")

    def _number(self, name: str) -> float:
        return self._readings.number(f"deck.{self._deck}.{name}")

    def _text(self, name: str) -> str:
        return self._readings.text(f"deck.{self._deck}.{name}")

    def _badge(self) -> Field:
        style = STYLES.get(self._state, "dim")
        sign = {"playing": self._glyphs.plays, "ready": self._glyphs.stands}.get(self._state, " ")
        chosen = self._readings.chosen == self._deck
        badge = Text.assemble(
            (f" {self._deck} ", f"{style} reverse" if chosen else style), (sign, style), end=""
        )
        return Field(badge)

    def _name(self, least: int = 12) -> Field:
        track, style = self._text("track"), "bold"
        if self._state in ("loading", "broken"):
            track = f"{track} ({self._state})" if track else self._state
        if self._empty and self._state == "empty":
            track, style = "empty", "dim"
        return stretching(lambda width: Text(cut(track, width), style, end=""), least)

    def title(self) -> list[Field]:
        """Return the fields with name, tempo and beat."""
        found = [self._badge(), self._name()]
        if self._number("bpm"):
            synced = self._number("sync")
            meter = max(1, self._readings.count("meter"))
            beat = self._number("beat")
            if synced:
                words = "sync" if synced == 1.0 else f"sync x{synced:g}"
                found.append(field(words, "green", 4))
                found.append(field(f"{self._number('phase'):+.2f}", "green", 5))
            found.append(Field(fields.beats(beat, meter, self._glyphs), 3))
            found.append(labelled("beat", f"{beat:7.1f}", "", 4))
            found.append(labelled("bpm", f"{self._tempo():6.2f}", "", 1))
            if self._number("grid_confidence") < CERTAIN:
                found.append(field("uncertain grid", "yellow", 2))
        elif not self._empty:
            found.append(field("no beat grid", "dim", 4))
        return found

    def _tempo(self) -> float:
        """Return the tempo in BPM at which it plays or would play."""
        clock, base = self._readings.number("bpm"), self._readings.number("bpm_base")
        if self._number("sync"):
            return clock * self._number("sync")
        return self._number("bpm") * self._number("rate") * (clock / base if base else 1.0)

    def place(self) -> list[Field]:
        """Return the fields with position, remaining time and meter."""
        return [*self._places(), *self._meter(METER)]

    def _places(self) -> list[Field]:
        if not self._length:
            blank = stretching(lambda width: Text(" " * width, end=""), 0)
            return [self._indent, blank]
        position = self._number("position")
        left = self._length - position
        ending = left < LAST_SECONDS and self._state == "playing"
        wide = len(minutes(self._length))
        loop = [float(one) / self._length for one in self._loop()]
        cues = {name[-1]: min(at / self._length, 1.0) for name, at in self._cues().items()}
        bar = partial(
            fields.place_bar, position / self._length, glyphs=self._glyphs,
            loop=(loop[0], loop[1]) if loop else None, cues=cues,
        )  # fmt: skip
        return [
            self._indent,
            field(f"{minutes(position):>{wide}}"),
            stretching(bar, 8, 1),
            field(f"{minutes(-left):>{wide + 1}}", "bold yellow" if ending else ""),
            labelled("of", minutes(self._length), "dim", 4),
        ]

    def _meter(self, width: int) -> list[Field]:
        meter = self._readings.meter(self._deck)
        held = meter.held(self._now)
        peak = f"{held:5.1f}" if held > FLOOR else "    -"
        bar = fields.level_bar(meter, self._now, width, self._glyphs)
        return [
            Field(bar, 2),
            field(f"{peak} dB", fields.colour(held) if held > FLOOR else "dim", 3),
        ]

    def short(self) -> list[Field]:
        """Return a summary in one line."""
        found = [self._badge(), self._name(8)]
        if self._length:
            found.append(field(minutes(self._number("position") - self._length), "", 1))
        return [*found, *self._meter(8)]

    def sound(self) -> list[Field]:
        """Return the fields with level, EQ, key lock and loop."""
        bands = [gain(self._number(band)) for band in ("low", "mid", "high")]
        killed = any(self._number(band) == 0.0 for band in ("low", "mid", "high"))
        level = self._number("level")
        known = bool(self._readings.status)
        found = [self._indent]
        if known:
            found.append(labelled("level", gain(level), "yellow" if level == 0.0 else ""))
            found.append(labelled("EQ", " ".join(bands), "yellow" if killed else "", 1))
        if self._number("keylock"):
            found.append(labelled("key", f"{self._number('pitch'):+.1f}", "magenta", 2))
        elif self._number("pitch"):
            found.append(labelled("pitch", f"{self._number('pitch'):+.1f}", "magenta", 2))
        loop = self._loop()
        if loop:
            # The bar above shows its position.
            seconds = float(loop[1]) - float(loop[0])
            beats = seconds * self._number("bpm") / 60.0
            found.append(
                labelled("loop", f"{beats:.4g} beats" if beats else f"{seconds:.3f} s", "green", 2)
            )
        return found

    def more(self) -> list[Field]:
        """Return the fields with effects, cues, and settings of lesser interest."""
        found = []
        effects = [one for one in self._text("fx").split(" ") if one not in ("", "-")]
        if effects:
            found.append(labelled("fx", " ".join(effects), "blue", 3))
        if self._cues():
            found.append(labelled("cues", " ".join(self._cues()), "yellow", 4))
        if self._number("quantize"):
            found.append(labelled("quantize", f"{self._number('quantize'):g}", "", 6))
        if not self._empty and self._number("rate") != 1.0:
            found.append(labelled("rate", f"{self._number('rate'):.4f}", "", 5))
        trim = self._number("trim")
        if trim not in (0.0, 1.0):
            found.append(labelled("trim", f"{trim:.2f}", "", 6))
        if self._number("lufs"):
            found.append(labelled("LUFS", f"{self._number('lufs'):.1f}", "", 7))
        return found

    def indented(self) -> list[Field]:
        """Return the fields of the fourth line, which includes the times of cues."""
        cues = self._cues()
        found = [self._indent, *(one for one in self.more() if one.rank != 4)]
        if cues:
            text = "  ".join(f"{name} {minutes(at)}" for name, at in cues.items())
            found.append(labelled("cues", text, "yellow", 4))
        return found

    def _loop(self) -> tuple[str, str] | tuple[()]:
        found = _LOOP.fullmatch(self._text("loop"))
        return (found[1], found[2]) if found else ()

    def _cues(self) -> dict[str, float]:
        return {name: float(at) for name, at in _CUE.findall(self._text("cues"))}
