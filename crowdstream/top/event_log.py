"""Log texts for the server's events, and for differences between two statuses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from crowdstream.commands.registry import DECK_LETTERS
from crowdstream.top.readings import BAD, OK, WARN

GradedText = tuple[str, str]
"""Grade and text."""

# Replies to this program's own requests, and values that are shown elsewhere.
SILENT = ("/done", "/synced", "/status.reply", "/meter", "/beat", "/clock/tick")
COUNTS = {
    "failed": "command failed",
    "late_commands": "command came late",
    "lost": "message lost",
    "restarts_control": "new control process",
}


KEPT = frozenset(
    {"/device", "/restarted", "/stall", "/broken", "/record/lost", "/record/failed"}
)
"""Messages that are also in the event log of a server that has one."""
LEVELS = {"info": OK, "warning": WARN, "error": BAD}


def plural(count: int, what: str) -> str:
    """Return `1 page` or `2 pages`; the first word of `what` takes the plural."""
    first, *rest = what.split(" ")
    ending = "" if count == 1 else "es" if first.endswith("s") else "s"
    return " ".join([str(count), first + ending, *rest])


def event(address: str, values: tuple[Any, ...]) -> GradedText | None:
    """Return the log text of a message, or None if it is not an event. Never raises."""
    if address in SILENT:
        return None
    if address == "/event" and len(values) >= 4:
        return LEVELS.get(str(values[1]), OK), str(values[3])
    words = [f"{value:.1f}" if isinstance(value, float) else str(value) for value in values]
    entry = _known(address, words)
    return entry or (OK, " ".join([address, *words]))


def _known(address: str, words: list[str]) -> GradedText | None:
    match address, words:
        case "/underrun", ["missing_page", count, *_]:
            return BAD, f"underrun, missing page: {count}"
        case "/underrun", [cause, count, worst, *_]:
            return BAD, f"underrun, {cause.replace('_', ' ')}: {count}, worst {worst} ms too late"
        case "/ended", [_, name, *_]:
            return OK, f"{name} has ended"
        case "/broken", [_, reason, *_]:
            return BAD, f"a file is broken: {reason}"
        case "/file/warning", [_, text, *_]:
            return WARN, text
        case "/grid/fault", [_, reason, *_]:
            return WARN, f"beat grid: {reason}"
        case "/stems/left_out", [_, file, reason, *_]:
            return WARN, f"without {file}: {reason}"
        case "/crowded", [_, reason, *_]:
            return WARN, reason
        case "/stall", [path, seconds, *_]:
            return BAD, f"the medium took {seconds} s to read a page of {path}"
        case "/restarted", [what, *_]:
            return BAD, f"the {what} process died and was restarted"
        case "/device", [there, *_]:
            gone = there == "0"
            return (BAD, "the sound device is gone") if gone else (OK, "the sound device is back")
        case "/engine", [why, lost, driver, device, *_]:
            return BAD, f"another engine has taken over ({why}), {lost} ms lost: {driver}, {device}"
        case "/quality", ["0", reason, *_]:
            return OK, f"full quality again ({reason})"
        case "/quality", [level, reason, *_]:
            return WARN, f"quality level {level} ({reason})"
        case "/record/lost", [path, frames, *_]:
            return BAD, f"recording {path}: {frames} frames lost, the disk is too slow"
        case "/record/continued", [path, _frames, following, *_]:
            return WARN, f"recording {path} can't grow further: it continues in {following}"
        case "/record/failed", [path, reason, *_]:
            return BAD, f"recording {path} failed: {reason}"
        case "/fail", [command, reason, *_]:
            return WARN, f"{command}: {reason}"
        case "/late", [command, seconds, *_]:
            return WARN, f"{command} was {seconds} s late"
    return None


def is_kept(address: str, values: tuple[Any, ...]) -> bool:
    """Whether a message is also in the server's event log, which follows it as `/event`."""
    return address in KEPT or (address == "/engine" and values[:1] in (("died",), ("hung",)))


def kept_events(values: tuple[Any, ...]) -> list[tuple[str, float, str, str]]:
    """Return the events of an `/events.reply`: time as text and in Unix seconds, grade, text."""
    found = []
    for at in range(1, len(values) - 3, 4):
        stamp, level, _kind, text = map(str, values[at : at + 4])
        with contextlib.suppress(ValueError):
            moment = datetime.fromisoformat(stamp).timestamp()
            found.append((stamp, moment, LEVELS.get(level, OK), text))
    return found


def differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[GradedText]:
    """Return log texts for the differences between two statuses of the same server."""
    for deck in DECK_LETTERS:
        yield from _deck(deck, before, after)
    for name, what in COUNTS.items():
        new = _count(after, name) - _count(before, name)
        if new > 0:
            yield WARN, plural(new, what)
    was, now = _count(before, "recording"), _count(after, "recording")
    if now > was:
        yield OK, f"recording {plural(now, 'file')}"
    elif was and not now:
        yield OK, f"recording has ended after {_count(before, 'record_seconds')} s"
    for name, what in (("standby", "standby engine"), ("buffer_size", "buffer size")):
        if name in before and before[name] != after.get(name):
            yield OK, f"{what}: {after.get(name)}"


def _count(status: dict[str, Any], name: str) -> int:
    value = status.get(name, 0)
    return int(value) if isinstance(value, int | float) else 0


def _deck(deck: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[GradedText]:
    track, state = f"deck.{deck}.track", f"deck.{deck}.state"
    name, now, was = after.get(track, ""), after.get(state), before.get(state)
    if name != before.get(track, ""):
        yield OK, f"{deck}: {name}" if name else f"{deck}: unloaded"
    if now == was:
        return
    if now in ("playing", "broken"):
        yield (OK, f"{deck} plays") if now == "playing" else (BAD, f"{deck}: the file is broken")
    elif was == "playing" and name:
        yield OK, f"{deck} stopped"
