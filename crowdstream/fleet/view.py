"""The terminal view of a fleet: a line for each server, and the log."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from crowdstream.fleet.commands import Outcome
from crowdstream.fleet.fleet import Fleet
from crowdstream.fleet.watched import BAD, OK, WARN, Track, Watched
from crowdstream.top.fields import (
    ASCII,
    UNICODE,
    Field,
    Glyphs,
    cut,
    field,
    labelled,
    line,
    minutes,
    rule,
    stretching,
)
from crowdstream.top.terminal import INTERRUPT, REDRAW, SUSPEND, Ended, Screen, Terminal

STYLES = {OK: "green", WARN: "yellow", BAD: "bold red"}
MAX_NAME = 20  # cells
MIN_TRACKS = 16
DAY_SECONDS = 86400.0


def glyphs_of(console: Console) -> Glyphs:
    """Return the characters that a terminal can display."""
    return UNICODE if console.encoding.lower().startswith("utf") else ASCII


def draw_fleet(fleet: Fleet, width: int, height: int, glyphs: Glyphs, keys: str = "") -> list[Text]:
    """Return at most `height` lines of at most `width` cells."""
    servers = fleet.servers
    answer = sum(one.answers for one in servers)
    style = "green" if answer == len(servers) else "bold red"
    faults = sum(fleet.faults.values())
    lines = [line(width, [
        field("CrowdStream fleet", "bold"), labelled("servers", str(len(servers))),
        labelled("answer", str(answer), style),
        labelled("faults", str(faults), "yellow" if faults else "", 1),
    ])]  # fmt: skip
    longest = max((len(one.member.name) for one in servers), default=0)
    name_width = min(MAX_NAME, longest)
    log_lines = min(len(fleet.log) + 1, max(3, height // 4))
    room = height - 1 - log_lines
    for number, one in enumerate(servers):
        if len(lines) >= room and number < len(servers) - 1:
            lines.append(line(width, [field(f"{len(servers) - number} more servers", "yellow")]))
            break
        lines.append(_server(one, name_width, width, glyphs))
        grade, reasons = one.health()
        spare = room - len(lines) - (len(servers) - number - 1)
        if reasons and one.answers and spare > 0:
            text = "; ".join(reasons)
            lines.append(line(width, [field(" " * (name_width + 2) + text, STYLES[grade])]))
    if height - len(lines) > 1:
        lines.append(rule(width, "log", keys, glyphs.dash))
        lines += _log(fleet, width, height - len(lines))
    return lines[:height]


def _server(one: Watched, name_width: int, width: int, glyphs: Glyphs) -> Text:
    grade, reasons = one.health()
    mark = glyphs.beat if one.answers else glyphs.no_beat
    fields = [field(f"{mark} {cut(one.member.name, name_width)}", STYLES[grade])]
    if not one.answers:
        return line(width, [*fields, field(reasons[0], STYLES[BAD]),
                            field(one.member.place, "dim", 1)])  # fmt: skip
    load, underruns = one.number("load_percent"), one.number("underruns")
    fields += [
        labelled("load", f"{load:3.0f} %", "yellow" if load > 70.0 else "", 2),
        labelled("underruns", f"{underruns:.0f}", "yellow" if underruns else "", 1),
        _clock(one),
        labelled("BPM", f"{one.number('bpm'):.1f}", "", 2),
        labelled("version", one.version, "", 4),
        field(one.member.place, "dim", 5),
        stretching(lambda cells: _tracks(one.tracks(), cells, glyphs), MIN_TRACKS),
    ]
    return line(width, fields)


def _clock(one: Watched) -> Field:
    if one.offset is None:
        return labelled("clock", "?", "yellow", 3)
    ahead = one.clock_difference()
    style = "yellow" if one.clock_trouble else ""
    if abs(ahead) >= DAY_SECONDS:
        return labelled("clock", f"{ahead / DAY_SECONDS:+.0f} d", style, 3)
    text = f"{ahead * 1000.0:+.1f} ±{one.offset.error * 1000.0:.1f} ms"
    return labelled("clock", text, style, 3)


def _tracks(tracks: Sequence[Track], cells: int, glyphs: Glyphs) -> Text:
    text = Text(end="")
    playing = [one for one in tracks if one.state in ("playing", "broken")]
    for one in playing or list(tracks)[:1]:
        mark = glyphs.plays if one.state == "playing" else glyphs.stands
        left = minutes(max(0.0, one.length - one.position), tenths=False)
        style = "bold red" if one.state == "broken" else "green" if playing else "dim"
        text.append(f"{one.deck} {mark} {one.name} -{left}  ", style)
    if not tracks:
        text.append("no track", "dim")
    text.truncate(cells, overflow="ellipsis", pad=True)
    return text


def _log(fleet: Fleet, width: int, rows: int) -> list[Text]:
    lines = []
    for entry in list(fleet.log)[-rows:]:
        at = time.strftime("%H:%M:%S", time.localtime(entry.at))
        lines.append(line(width, [
            field(at, "dim"), field(entry.server, "bold"), field(entry.text, STYLES[entry.grade]),
        ]))  # fmt: skip
    return lines


def outcome_line(outcome: Outcome, glyphs: Glyphs) -> Text:
    """Return the line that shows the outcome of an operation on one server."""
    mark, style = (glyphs.beat, "green") if outcome.ok else (glyphs.no_beat, "bold red")
    return Text.assemble((f"{mark} ", style), (outcome.server, "bold"), "  ", outcome.text)


async def watch(fleet: Fleet, console: Console, rate: float) -> None:
    """Redraw the view until q is pressed or the terminal is closed."""
    screen, glyphs = Screen(console), glyphs_of(console)
    loop, pressed, ended = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def end() -> None:
        ended.set()
        pressed.set()

    size = os.terminal_size((0, 0))
    with contextlib.suppress(Ended), Terminal() as terminal:
        readable = sys.stdin.isatty()
        if readable:
            loop.add_reader(sys.stdin.fileno(), pressed.set)
        # `Terminal` raises from its signal handlers, which could be in the middle of a poll.
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, end)
        try:
            while not ended.is_set():
                if size != (size := os.get_terminal_size(sys.stdout.fileno())):
                    screen.invalidate()
                lines = draw_fleet(fleet, size.columns, size.lines, glyphs, "q quit")
                terminal.write(screen.update(lines))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(pressed.wait(), 1.0 / rate)
                if pressed.is_set() and not ended.is_set():
                    pressed.clear()
                    for key in terminal.keys(0.0):
                        if key in ("q", "Q", INTERRUPT):
                            return
                        if key in (SUSPEND, REDRAW):
                            if key == SUSPEND:
                                terminal.suspend()
                            screen.invalidate()
        finally:
            for number in (signal.SIGTERM, signal.SIGHUP):
                loop.remove_signal_handler(number)
            if readable:
                loop.remove_reader(sys.stdin.fileno())
