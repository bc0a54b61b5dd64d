"""No command causes a click. The test walks the command table, so it covers new commands as well.

A soft low sine plays on all stems of deck A. A step would stand out in its second difference, in
which the corners of a crossfade of 64 frames are small.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crowdstream.commands.registry import TABLE, Arg, Command
from tests.support.offline_server import RATE, Rig, write

HERTZ = 100.0
PEAK = 0.1
SECONDS = 4.2  # beyond the last position that a command jumps to
BPM = 120.0
# The largest second difference without a click: all gains at +12 dB, in a crossfade of 64 frames.
CLICK = 0.03
# Commands that make their own sound, or act on files or on other commands.
OTHER = ("/test_tone", "/record/", "/clock/at", "/clock/next", "/mixer_cleanup")


def _values(arg: Arg) -> list[Any]:
    if arg.choices:
        return list(arg.choices)
    low = arg.low if arg.low is not None else 0.0
    high = arg.high if arg.high is not None else 1.0
    high = min(high, 4.0) if arg.unit in ("s", "") or "beat" in arg.unit else high
    return sorted({max(low, min(high, value)) for value in (low, high)})


def _cases(command: Command) -> Iterator[tuple[str, list[Any]]]:
    address = command.address.replace("{deck}", "A").replace("{bus}", "1")
    if not command.args:
        yield address, []
    for which, arg in enumerate(command.args):
        for value in _values(arg):
            arguments: list[Any] = []
            for at, other in enumerate(command.args):
                first = _values(other)[0]
                chosen = value if at == which else first if other.default is not None else None
                if other.unit == "s" and at != which:
                    chosen = 0.0  # as fast as possible
                if chosen is None:
                    break
                arguments.append(int(chosen) if other.type == "i" else chosen)
            yield address, arguments


def _walked() -> list[Command]:
    chosen = []
    for command in TABLE.commands:
        texts = [arg for arg in command.args if arg.type in ("s", "*") and not arg.choices]
        if command.scheduled and not texts and not command.address.startswith(OTHER):
            chosen.append(command)
    return chosen


@pytest.fixture(scope="module")
def stems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("track")
    wave = PEAK / 2 * np.sin(2 * np.pi * HERTZ * np.arange(round(SECONDS * RATE)) / RATE)
    for name in ("one", "two"):
        write(folder / f"{name}.wav", np.column_stack([wave, wave]), subtype="FLOAT")
    return folder


def test_the_walk_finds_the_commands_of_the_table() -> None:
    found = {command.address for command in _walked()}
    assert len(found) > 90
    for address in ("/deck/{deck}/level", "/deck/{deck}/filter", "/mix/crossfader",
                    "/deck/{deck}/loop", "/deck/{deck}/stem/1/mute", "/deck/{deck}/keylock"):
        assert address in found


@pytest.mark.parametrize("command", _walked(), ids=lambda command: command.address)
def test_no_command_clicks(command: Command, stems: Path) -> None:
    rig = Rig(block=512)
    try:
        rig.send("/deck/A/load", str(stems))
        rig.load()
        rig.send("/deck/A/grid", BPM, 0.0)
        rig.send("/deck/A/crossfader", "left")
        rig.send("/deck/A/play", 0.0, 1)
        rig.run(30 * 512)
        assert rig.first_sound() >= 0
        for address, arguments in _cases(command):
            begin = len(rig.out)
            rig.send(address, *arguments)
            rig.run(8 * 512)
            out = rig.out[begin - 2 :].astype(np.float64)
            bend = float(np.max(np.abs(np.diff(out, 2, axis=0))))
            assert bend < CLICK, (address, arguments, bend)
    finally:
        rig.close()
