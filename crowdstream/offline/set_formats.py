"""Reading of set files in all formats.

Sets as text: one timed command per line.

    # seconds, or @beats; then an OSC address and its arguments
    0     /deck/A/load "stems/night drive"
    0     /deck/A/play
    @64   /deck/A/eq/low 0 0.5
    95.5  end

Sets as binary OSC scores, the format of SuperCollider's non-real-time mode.

A score is a sequence of bundles, each preceded by its length as a 32-bit big-endian integer. A time
tag counts seconds since the start, in units of 2^-32. An empty bundle marks the end of the mix.
"""

from __future__ import annotations

import math
import shlex
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crowdstream.commands.registry import Command
from crowdstream.dj.setfile.errors import SetError
from crowdstream.offline.cues import Checker, Cue, Moment, Set, moment
from crowdstream.osc.codec import BUNDLE, BUNDLE_HEADER_BYTES, UNIX_EPOCH, Malformed, build, parse
from crowdstream.system.text import printable

END = "end"
MAX_TEXT_BYTES = 4 << 20  # about 50,000 lines
# The time of shlex grows with the square of a word's length. The longest command, a grid of 512
# points, has about 10,000 characters.
MAX_LINE_CHARACTERS = 1 << 14


def read_text(data: bytes, path: Path) -> Set:
    """Return the set in a text file. Raises `SetError` with the line number."""
    checker = Checker(path.parent)
    cues: list[Cue] = []
    end: Moment | None = None
    if len(data) > MAX_TEXT_BYTES:
        raise SetError(f"{printable(path)}: it has more than {MAX_TEXT_BYTES} bytes")
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


_LENGTH = struct.Struct(">i")


def is_score(data: bytes) -> bool:
    """Whether `data` starts like a score."""
    return data[4 : 4 + len(BUNDLE)] == BUNDLE


def read_score(data: bytes, path: Path) -> Set:
    """Return the set in a score. Raises `SetError` with the number of the bundle."""
    checker = Checker(path.parent)
    cues: list[Cue] = []
    end: Moment | None = None
    at = number = 0
    while at < len(data):
        number += 1
        place = f"{printable(path)}, bundle {number}"
        if end is not None:
            raise SetError(f"{place}: the empty bundle before it has already ended the mix")
        if len(data) - at < _LENGTH.size:
            raise SetError(f"{place}: the file ends within the bundle's length")
        size = _LENGTH.unpack_from(data, at)[0]
        at += _LENGTH.size
        packet = data[at : at + size]
        if size < BUNDLE_HEADER_BYTES or len(packet) < size:
            raise SetError(f"{place}: its length is {size} bytes, but {len(data) - at} are left")
        at += size
        try:
            messages = parse(packet)
        except Malformed as error:
            raise SetError(f"{place}: {error}") from None
        if not messages:
            end = moment(_seconds(packet), False, place)
        for tag, message in messages:
            # A tag of 0 or 1 means "immediately", which is the start. `parse` read others as since
            # 1900.
            seconds = 0.0 if tag is None else tag + UNIX_EPOCH
            when = moment(seconds, False, place)
            cues.append(checker.cue(when, message.address, message.params, place))
    return Set(tuple(cues), end)


def _seconds(packet: bytes) -> float:
    return float(struct.unpack_from(">Q", packet, len(BUNDLE))[0] / 2**32)


DJ_SUFFIX = ".toml"
MAX_SCORE_BYTES = 32 << 20  # a binary score for a night; text sets have lower limits of their own


def read_set(path: Path) -> Set:
    """Return the set in a file: text, a binary OSC score, or a DJ's set. Raises `SetError`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SCORE_BYTES + 1)
    except OSError as error:
        raise SetError(f"{printable(path)}: it can't be read ({error.strerror})") from None
    if len(data) > MAX_SCORE_BYTES:
        raise SetError(f"{printable(path)}: it has more than {MAX_SCORE_BYTES} bytes")
    return reader(data, path)(data, path)


def reader(data: bytes, path: Path) -> Callable[[bytes, Path], Set]:
    """Return the function that reads a file with these contents."""
    if path.suffix.lower() == DJ_SUFFIX:
        from crowdstream.offline.dj_set import read_dj_set

        return read_dj_set
    return read_score if is_score(data) else read_text
