"""The server's status, read from its answer and written as one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

DECKS = "ABCD"
POSITIONAL = 9
"""Values without a name at the start of `/status.reply`, as SuperCollider's server sends."""

BAR_CELLS = 5
EIGHTHS = " ▁▂▃▄▅▆▇█"
PLAIN = " .:-=+*#@"


@dataclass(frozen=True)
class Status:
    """A `/status.reply`. Names that a server doesn't send simply have their default."""

    values: dict[str, object] = field(default_factory=dict)
    cpu: float = 0.0

    def number(self, name: str, default: float = 0.0) -> float:
        """The number called `name`."""
        value = self.values.get(name)
        return float(value) if isinstance(value, int | float) else default

    def text(self, name: str, default: str = "") -> str:
        """The text called `name`."""
        value = self.values.get(name)
        return value if isinstance(value, str) else default

    def total_cpu(self) -> float:
        """Percent of one core that the server's processes use together."""
        names = ("cpu_engine", "cpu_control", "cpu_loader")
        if any(name in self.values for name in names):
            return sum(self.number(name) for name in names)
        return self.cpu


def parse(arguments: Sequence[object]) -> Status:
    """Read the arguments of `/status.reply`; anything unexpected is passed over."""
    named = arguments[POSITIONAL:]
    values = {
        name: value for name, value in zip(named[::2], named[1::2], strict=False)
        if isinstance(name, str)
    }  # fmt: skip
    cpu = arguments[5] if len(arguments) > 5 else 0.0
    return Status(values, float(cpu) if isinstance(cpu, int | float) else 0.0)


def where(status: Status) -> str:
    """Where the music comes out, as a sentence for a newcomer."""
    driver, device = status.text("driver"), status.text("device")
    if driver == "null":
        return "no sound card found, running on the built-in clock"
    name = device or driver or "the server's sound device"
    latency = status.number("latency_ms")
    return f"playing on {name}" + (f", {latency:.0f} ms behind" if latency > 0.0 else "")


def _cell(value: float, marks: str) -> str:
    """One character for a gain 0..1."""
    return marks[round(min(max(value, 0.0), 1.0) * (len(marks) - 1))]


def _meter(level: float, marks: str) -> str:
    """A bar `BAR_CELLS` wide for a level 0..1."""
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
    # A gain of -24 dB is nearly killed: the square root makes the middle of the range visible.
    gains = "".join(_cell(max(band, 0.0) ** 0.5, marks) for band in bands)
    title = status.text(key + "track").rstrip("/").rpartition("/")[2][:title_width]
    title = f" {title}" if title else ""
    return f"{deck}{left}{meter}{right}{title} {position // 60}:{position % 60:02} {gains}"


CUED = {"cued", "armed", "ready", "loaded"}


def line(status: Status, tempo: float, note: str, width: int = 100, plain: bool = False) -> str:
    """One line at most `width` characters long: decks, load, underruns, what is happening.

    Titles get what room is left. `plain` keeps to ASCII.
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
