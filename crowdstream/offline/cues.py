"""The cues of a set: commands with their times, validated before rendering starts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import crowdstream.control.handlers  # noqa: F401  (fills the table)
from crowdstream.audiofile.errors import AudioFileError
from crowdstream.audiofile.stems.track_files import find_stems_by_audio
from crowdstream.commands.errors import CommandError
from crowdstream.commands.registry import TABLE, Command
from crowdstream.control.handlers.common import PATH_HELP
from crowdstream.dj.setfile.errors import SetError
from crowdstream.system.text import printable

MAX_SECONDS = 1e6  # 11 days
MAX_BEATS = 1e7


@dataclass(frozen=True)
class Moment:
    """A time in a set: seconds since its start, or beats of its clock."""

    value: float
    beats: bool = False


@dataclass(frozen=True)
class Cue:
    """One validated command of a set. `place` is its position in the file, for messages."""

    at: Moment
    address: str
    arguments: tuple[Any, ...]
    place: str


@dataclass(frozen=True)
class Set:
    """All commands of a set in file order, and the end of the mix if the set defines it."""

    cues: tuple[Cue, ...]
    end: Moment | None = None


def moment(value: float, beats: bool, place: str) -> Moment:
    """Return a validated time. Raises `SetError` if it is out of range."""
    most = MAX_BEATS if beats else MAX_SECONDS
    if not 0.0 <= value <= most:
        unit = "beats" if beats else "seconds"
        raise SetError(f"{place}: a time must be 0 to {most:g} {unit}, not {value:g}")
    return Moment(value, beats)


class Checker:
    """Converts commands to cues. It checks each path only once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: set[str] = set()

    def command(self, address: str, place: str) -> Command:
        """Return the command of an address. Raises `SetError` if there is none."""
        try:
            return TABLE.find(address)[0]
        except CommandError as error:
            raise SetError(f"{place}: {printable(address)}: {error}") from None

    def cue(self, at: Moment, address: str, arguments: tuple[Any, ...], place: str) -> Cue:
        """Return a cue with validated arguments and absolute paths.

        Raises `SetError` for every error that can be detected without playing.
        """
        command = self.command(address, place)
        try:
            values = list(arguments)
            command.bind(values)
            if command.reorder is None:
                for number, argument in enumerate(command.args[: len(values)]):
                    if argument.name == "path":
                        values[number] = self._path(values[number], argument.help == PATH_HELP)
        except (CommandError, AudioFileError) as error:
            raise SetError(f"{place}: {printable(address)}: {error}") from None
        return Cue(at, address, tuple(values), place)

    def _path(self, text: str, music: bool) -> str:
        path = str(self._folder / os.path.expanduser(text))
        if music and path not in self._found:
            find_stems_by_audio(Path(path))
            self._found.add(path)
        return path
