"""Sidecars with beat grids, and movement maps: accepted files are usable, others are refused."""

from __future__ import annotations

import math
from collections.abc import Iterator

from crowdstream.audiofile.beatgrid import GridError, describe_track, read_sidecar
from crowdstream.control.decks.beatgrid import Grid
from crowdstream.movement.follower import MovementFollower
from crowdstream.movement.map_file import read_map
from crowdstream.settings import SettingError
from crowdstream.system.text import is_line
from tests.fuzz.registry import Fault, Target
from tests.support import scratch_files


def run(data: bytes) -> None:
    """Read a file as a sidecar and as a movement map."""
    track = scratch_files.folder() / "a track.wav"
    place = scratch_files.folder() / "a track.crowdstream.toml"
    place.write_bytes(data)
    try:
        found = read_sidecar(place)
    except GridError as error:
        if not is_line(str(error)):
            raise Fault(f"a refusal is not one line: {str(error)!r}") from error
        if "grid_fault" not in describe_track([track]):
            raise Fault("a bad sidecar is not reported") from error
    else:
        if found:
            grid = Grid(found, 44100.0, "sidecar")
            for beat in (-1e6, -0.5, 0.0, 1.25, 1e6):
                again = grid.beat(grid.frame(beat))
                if not math.isclose(again, beat, rel_tol=1e-6, abs_tol=1e-3):
                    raise Fault(f"beat {beat} becomes {again} on the way back")
    try:
        chart = read_map(place, 120.0)
    except SettingError as error:
        if "\n" in str(error):
            raise Fault(f"a refusal is not one line: {str(error)!r}") from error
        return
    follower = MovementFollower(chart)
    bpm = 120.0
    for tenth in range(40):
        follower.report((tenth % 11) / 10.0, tenth / 9.0)
        bpm = follower.next_tempo(bpm, tenth / 9.0 + 0.1) or bpm
        if not 20.0 <= bpm <= 480.0:
            raise Fault(f"the crowd moves the tempo to {bpm}")


def seeds() -> Iterator[bytes]:
    """Grids and maps of each kind."""
    yield b"[grid]\nbpm = 124.0\nfirst_downbeat = 0.125\n"
    yield b"[grid]\nanchors = [[0, 0.125], [64, 31.1], [128, 61.9]]\n"
    yield b"[grid]\nanchors = [[0, 0], [1e-9, 1e-9], [nan, inf]]\n"
    yield b"steps = [[0, 118], [0.5, 124], [1, 132]]\nattack_seconds = 8\nrelease_seconds = 16\n"
    yield b"steps = [[0, 30]]\n"
    yield (b"below = [[0.02, 105], [0.05, 110]]\nsteps = [[0.1, 118], [0.6, 130]]\n"
           b"silent_seconds = 20\nenergy = [[0, 0.2]]\n"
           b"[[senders]]\naddress = '/motion'\nargument = 2\nlow = 0\nhigh = 255\n")


TARGET = Target(
    "grids",
    "a sidecar or movement map is read or refused in one line; converting beats to frames and "
    "back agrees, and the tempo stays in its range",
    run,
    seeds,
    ("crowdstream.audiofile.beatgrid", "crowdstream.movement.follower",
     "crowdstream.movement.map_file", "crowdstream.control.decks.beatgrid",
     "crowdstream.settings.toml"),
)
