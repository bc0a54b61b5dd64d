"""Set files, text and binary scores: valid cues, or a refusal that names the location."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from crowdstream.commands.errors import CommandError
from crowdstream.commands.registry import TABLE
from crowdstream.dj.setfile.errors import SetError
from crowdstream.offline.cues import MAX_BEATS, MAX_SECONDS, Set
from crowdstream.offline.set_formats import reader
from crowdstream.system.text import is_line
from tests.fuzz.registry import Fault, Target
from tests.support import scratch_files
from tests.support.osc_reference import NOW, bundle, message


def run(data: bytes) -> None:
    """Read a set."""
    path = scratch_files.music() / "set.txt"
    try:
        found = reader(data, path)(data, path)
    except SetError as error:
        if not is_line(str(error)):
            raise Fault(f"a refusal is not one line: {str(error)!r}") from error
        return
    _check(found)


def _check(found: Set) -> None:
    moments = [cue.at for cue in found.cues] + ([found.end] if found.end else [])
    for moment in moments:
        if not 0.0 <= moment.value <= (MAX_BEATS if moment.beats else MAX_SECONDS):
            raise Fault(f"a time of {moment}")
    for cue in found.cues:
        try:
            TABLE.find(cue.address)[0].bind(cue.arguments)
        except CommandError as error:
            raise Fault(f"{cue} was accepted but is not a command: {error}") from error


def _score(*bundles: bytes) -> bytes:
    return b"".join(struct.pack(">i", len(bundle)) + bundle for bundle in bundles)


def seeds() -> Iterator[bytes]:
    """A set of each kind."""
    yield (
        b"# a set\n0 /deck/A/load short.wav\n0 /deck/A/play\n@4.5 /deck/A/eq/low 0 0.5\n"
        b'2 /deck/B/load "song" 0.5\n@16 /deck/B/fx/insert 1 echo time 0.5\n95.5 end\n'
    )
    yield b"\xef\xbb\xbf0\t/clock/at 4 /deck/A/play # later\r\n1 /deck/A/grid/points 0 0.1 1 1\r\n"
    yield b"0 /mix/patch A bus1 1\n0 /play A short.wav 1\n0 /cue A short.wav\n"
    second = 1 << 32
    load = message("/deck/A/load", [("s", "short.wav")])
    play = message("/deck/A/play", [])
    yield _score(bundle(NOW, [load]), bundle(2 * second, [play]), bundle(9 * second, []))


TARGET = Target(
    "sets",
    "a set is read or refused in one line; each cue is a valid command at a valid time",
    run,
    seeds,
    (
        "crowdstream.offline.set_formats",
        "crowdstream.offline.set_formats",
        "crowdstream.offline.set_formats",
        "crowdstream.osc.codec",
        "crowdstream.commands.registry",
    ),
)
