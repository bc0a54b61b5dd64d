"""The server's status: parsed from its reply and formatted as one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

DECKS = "ABCD"
POSITIONAL = 9
"""Unnamed values at the start of `/status.reply`, as sent by SuperCollider's server."""

BAR_CELLS = 5
EIGHTHS = " ▁▂▃▄▅▆▇█"
PLAIN = " .:-=+*#@"


@dataclass(frozen=True)
class Status:
    """A `/status.reply`. Names that the server does not send have their default."""

    values: dict[str, object] = field(default_factory=dict)
    cpu: float = 0.0

    def number(self, name: str, default: float = 0.0) -> float:
        """Return the number called `name`."""
        value = self.values.get(name)
        return float(value) if isinstance(value, int | float) else default

    def text(self, name: str, default: str = "") -> str:
        """Return the text called `name`."""
        value = self.values.get(name)
        return value if isinstance(value, str) else default

    def total_cpu(self) -> float:
        """Return the CPU usage of all server processes, in percent of one core."""
        names = ("cpu_engine", "cpu_control", "cpu_loader")
        if any(name in self.values for name in names):
            return sum(self.number(name) for name in names)
        return self.cpu


def parse(arguments: Sequence[object]) -> Status:
    """Parse the arguments of `/status.reply`; unexpected values are ignored."""
    named = arguments[POSITIONAL:]
    values = {
        name: value for name, value in zip(named[::2], named[1::2], strict=False)
        if isinstance(name, str)
    }  # fmt: skip
    cpu = arguments[5] if len(arguments) > 5 else 0.0
    return Status(values, float(cpu) if isinstance(cpu, int | float) else 0.0)


def where(status: Status) -> str:
    """Describe the output for a new user."""
    driver, device = status.text("driver"), status.text("device")
    if driver == "null":
        return "no sound card found, running on the built-in clock"
    name = device or driver or "the server's sound device"
    latency = status.number("latency_ms")
    return f"playing on {name}" + (f", {latency:.0f} ms behind" if latency > 0.0 else "")


def _cell(value: float, marks: str) -> str:
    """Return one character for a gain 0..1."""
    return marks[round(min(max(value, 0.0), 1.0) * (len(marks) - 1))]


def _meter(level: float, marks: str) -> str:
    """Return a bar of `BAR_CELLS` characters for a level 0..1."""
    filled = min(max(level, 0.0), 1.0) * BAR_CELLS
    return "".join(_cell(filled - cell, marks) for cell in range(BAR_CELLS))


def _deck(status: Status, deck: str, marks: str, title_width: int) -> str:
    key = f"deck.{deck}."
    edge = "▕", "▏"
    left, right = edge if marks is EIGHTHS else ("[", "]")
    state = status.text(key + "state")
    meter = _meter(status.number(key + "level"), marks)
    if state not in {"playing", "fading", "starting"}:
        return f"{deck}{left}{' ' * BAR_CELLS}{right}" + (" cued" if state in CUED else "")
    position = int(status.number(key + "position"))
    bands = (status.number(key + band, 1.0) for band in ("low", "mid", "high"))
    # A gain of -24 dB is nearly silent; the square root makes the middle of the range visible.
    gains = "".join(_cell(max(band, 0.0) ** 0.5, marks) for band in bands)
    title = status.text(key + "track").rstrip("/").rpartition("/")[2][:title_width]
    title = f" {title}" if title else ""
    return f"{deck}{left}{meter}{right}{title} {position // 60}:{position % 60:02} {gains}"


CUED = {"cued", "armed", "ready", "loaded"}


def line(status: Status, tempo: float, note: str, width: int = 100, plain: bool = False) -> str:
    """Return a line of at most `width` characters: decks, load, underruns, current note.

    Titles get the remaining width. `plain` restricts it to ASCII.
    """
    marks = PLAIN if plain else EIGHTHS
    underruns = int(status.number("underruns"))
    tail = f"{tempo:.0f} BPM  CPU {status.total_cpu():.0f}%  underruns {underruns}"
    late = int(status.number("late_commands"))
    if late:
        tail += f"  late {late}"
    for title_width in (16, 8, 0):
        decks = "  ".join(_deck(status, deck, marks, title_width) for deck in DECKS)
        text = f"{decks}  {tail}"
        if len(text) <= width:
            break
    room = width - len(text) - 2
    return (f"{text}  {note[:room]}" if note and room >= 8 else text)[:width]
