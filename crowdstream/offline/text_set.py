"""Sets as text: one timed command per line.

    # seconds, or @beats; then an OSC address and its arguments
    0     /deck/A/load "stems/night drive"
    0     /deck/A/play
    @64   /deck/A/eq/low 0 0.5
    95.5  end
"""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any

from crowdstream.commands.registry import Command
from crowdstream.dj.setfile.errors import SetError
from crowdstream.offline.cues import Checker, Cue, Moment, Set, moment
from crowdstream.osc.codec import build, parse
from crowdstream.system.text import printable

END = "end"
MAX_BYTES = 4 << 20  # about 50,000 lines
# The time of shlex grows with the square of a word's length. The longest command, a grid of 512
# points, has about 10,000 characters.
MAX_LINE_CHARACTERS = 1 << 14


def read_text(data: bytes, path: Path) -> Set:
    """Return the set in a text file. Raises `SetError` with the line number."""
    checker = Checker(path.parent)
    cues: list[Cue] = []
    end: Moment | None = None
    if len(data) > MAX_BYTES:
        raise SetError(f"{printable(path)}: it has more than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad = data.count(b"\n", 0, error.start) + 1
        raise SetError(f"{printable(path)}, line {bad}: it is not UTF-8 text") from None
    for number, line in enumerate(text.splitlines(), 1):
        place = f"{printable(path)}, line {number}"
        if len(line) > MAX_LINE_CHARACTERS:
            raise SetError(f"{place}: it has more than {MAX_LINE_CHARACTERS} characters")
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise SetError(f"{place}: {str(error).lower()}") from None
        if not words:
            continue
        at = _moment(words[0], place)
        if len(words) == 1:
            raise SetError(f"{place}: the command at {words[0]} is missing")
        if words[1].lower() == END:
            if len(words) > 2 or end is not None:
                reason = "the end is already set" if end else "nothing can follow `end`"
                raise SetError(f"{place}: {reason}")
            end = at
            continue
        command = checker.command(words[1], place)
        values = _values(command, words[2:])
        # As in an OSC message, where floats have 32 bits, so that a mix and a server handle equal
        # commands equally.
        values = parse(build(words[1], values))[0][1].params
        cues.append(checker.cue(at, words[1], values, place))
    return Set(tuple(cues), end)


def _moment(word: str, place: str) -> Moment:
    beats = word.startswith("@")
    value = _number(word.removeprefix("@"))
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise SetError(
            f"{place}: a line must begin with its time in seconds (12.5) or beats (@64), "
            f"not with {printable(word)!r}"
        )
    return moment(float(value), beats, place)


def _values(command: Command, words: list[str]) -> tuple[Any, ...]:
    # The declared argument type decides. If a command sorts its own arguments, a word that looks
    # like a number is a number.
    values: list[Any] = []
    for at, word in enumerate(words):
        wanted = command.args[min(at, len(command.args) - 1)] if command.args else None
        text = wanted is not None and wanted.type == "s" and command.reorder is None
        values.append(word if text else _number(word))
    return tuple(values)


def _number(word: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word
