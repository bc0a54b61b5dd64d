"""Layout of the whole view for any terminal size."""

from __future__ import annotations

import time
from functools import partial

from rich.text import Text

from crowdstream.commands.registry import DECK_LETTERS
from crowdstream.top import fields
from crowdstream.top.decks import deck_lines
from crowdstream.top.fields import Field, Glyphs, field, labelled, line, minutes, rule, stretching
from crowdstream.top.health import health_lines
from crowdstream.top.readings import BAD, FLOOR, WARN, Meter, Readings

GRADES = {BAD: "bold red", WARN: "yellow"}
SIDE_BY_SIDE = 150  # cells from which decks are arranged in two columns
COLUMN_GAP = 4
DAY_SECONDS = 86400.0
MIN_LOG, MIN_HEALTH = 3, 4  # lines reserved before decks get their fourth line
MAX_HEALTH = 7
KEYS = "q quit"
CONTROL_KEYS = "up, down deck  space play, stop  q quit"


def draw_view(
    readings: Readings, width: int, height: int, now: float, glyphs: Glyphs, keys: str = ""
) -> list[Text]:
    """Return at most `height` lines of at most `width` cells. `now`: monotonic seconds."""
    columns = 2 if width >= SIDE_BY_SIDE else 1
    ranks = len(DECK_LETTERS) // columns
    deck_rows, health, buses = _rows(height, ranks)
    lines = [_title(readings, width, now, glyphs)]
    if deck_rows:
        lines += _decks(readings, width, columns, deck_rows, now, glyphs)
    lines += _mix(readings, width, now, glyphs)[:buses]
    if health:
        lines.append(rule(width, "health", glyph=glyphs.dash))
        lines += health_lines(readings, width, health, now, glyphs)
    left = height - len(lines) - 1
    if left > 0:
        lines.append(rule(width, "log", keys, glyphs.dash))
        lines += _log(readings, width, left)
    lines = lines[:height]
    if not readings.answers and readings.status:
        for old in lines[1:]:  # the last known state
            old.stylize("dim")
    return lines


def _rows(height: int, ranks: int) -> tuple[int, int, int]:
    """Return the number of lines for a deck, for health and for the mix."""
    health, buses = MIN_HEALTH, 1
    for deck in (4, 3, 2, 1):
        log = MIN_LOG if deck > 2 else 1
        needed = 1 + deck * ranks + buses + 1 + health + 1 + log
        if height >= needed:
            spare = height - needed
            if spare:
                buses, spare = 2, spare - 1
            more = min(max(0, spare - (MIN_LOG - log)) // 2, MAX_HEALTH - health)
            return deck, health + more, buses
    if height >= 1 + ranks + 1 + 1 + 1:
        return 1, height - ranks - 3, 1
    return (1, 0, 1) if height > ranks + 1 else (0, 0, 1)


def _title(readings: Readings, width: int, now: float, glyphs: Glyphs) -> Text:
    name = field("CrowdStream", "bold", 3)
    place = field(f"{readings.host}:{readings.port}", "", 2)
    if not readings.answers:
        waited = minutes(now - readings.since, tenths=False)
        text = f"no server at {readings.host}:{readings.port} for {waited}: {readings.trouble}"
        return line(width, [name, field(text, "bold red"), field("waiting", "", 1)])
    meter = max(1, readings.count("meter"))
    beat = readings.number("beat")
    bpm, target = readings.number("bpm"), readings.number("bpm_target")
    moving = f" to {target:.2f}" if abs(bpm - target) >= 0.01 else ""
    shown = [
        name,
        place,
        Field(fields.beats(beat, meter, glyphs), 1),
        labelled("bar", str(int(beat // meter) + 1), "", 4),
        labelled("bpm", f"{bpm:.2f}{moving}", "bold"),
        stretching(lambda wide: Text(" " * wide, end=""), 0, 9),
    ]
    if readings.count("device_lost"):
        shown.append(field("the sound device is gone", "bold red", 1))
    if readings.count("recording"):
        length = minutes(readings.number("record_seconds"), tenths=False)
        shown.append(field(f"REC {length}", "bold red", 0))
    driver, device = readings.text("driver"), readings.text("device")
    words = "no sound card" if driver == "null" else device
    shown.append(field(words[:40], "", 6))
    rate = readings.number("sample_rate")
    block = f"{rate / 1000:g} kHz, {readings.count('buffer_size')}"
    shown.append(field(block, "", 5))
    if rate:
        shown.append(labelled("up", minutes(readings.number("frame") / rate, False), "", 3))
    return line(width, shown)


def _decks(
    readings: Readings, width: int, columns: int, rows: int, now: float, glyphs: Glyphs
) -> list[Text]:
    each = (width - COLUMN_GAP * (columns - 1)) // columns
    found: list[Text] = []
    ranks = len(DECK_LETTERS) // columns
    for rank in range(ranks):
        # A and B are side by side, as on a mixer.
        decks = DECK_LETTERS[rank * columns : (rank + 1) * columns]
        blocks = [deck_lines(readings, deck, each, rows, now, glyphs) for deck in decks]
        for parts in zip(*blocks, strict=True):
            whole = Text(end="", no_wrap=True)
            for number, part in enumerate(parts):
                if number:
                    whole.append(" " * (each * number + COLUMN_GAP * number - whole.cell_len))
                whole.append_text(part)
            found.append(whole)
    return found


def _mix(readings: Readings, width: int, now: float, glyphs: Glyphs) -> list[Text]:
    master, cue = readings.meter("master"), readings.meter("cue")
    effects = [one for one in readings.text("master.fx").split(" ") if one not in ("", "-")]
    first = [field("master", "bold"), *_bus(master, now, glyphs)]
    first.append(labelled("LUFS", _level(master.lufs), "", 1))
    if effects:
        first.append(labelled("fx", " ".join(effects), "blue", 3))
    second = [field("cue   ", "bold"), *_bus(cue, now, glyphs)]
    second.append(labelled("LUFS", _level(cue.lufs), "", 1))
    for bus in (1, 2):
        sends = [one for one in readings.text(f"bus.{bus}.fx").split(" ") if one not in ("", "-")]
        if sends:
            second.append(labelled(f"bus {bus}", " ".join(sends), "blue", 3))
    return [line(width, first), line(width, second)]


def _level(decibels: float) -> str:
    return f"{decibels:5.1f}" if decibels > FLOOR else "    -"


def _bus(meter: Meter, now: float, glyphs: Glyphs) -> list[Field]:
    held = meter.held(now)
    style = "dim" if held <= FLOOR else fields.colour(held)
    bar = partial(fields.level_bar, meter, now, glyphs=glyphs)
    return [stretching(bar, 8, 1), field(f"{_level(held)} dB", style)]


def _log(readings: Readings, width: int, rows: int) -> list[Text]:
    found = []
    for entry in list(readings.log)[-rows:]:
        style = GRADES.get(entry.grade, "")
        times = f" (x{entry.count})" if entry.count > 1 else ""
        # Events from before a restart may be days old: those show their date instead.
        today = readings.log[-1].at - entry.at < DAY_SECONDS
        at = time.strftime("%H:%M:%S" if today else "%m-%d   ", time.localtime(entry.at))
        found.append(line(width, [field(at, "dim"), field(entry.text + times, style)]))
    return found
