"""What reaches the server from outside while it plays: OSC packets, and sound cards."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np

from crowdstream.control.picture import Picture
from crowdstream.engine.drivers.portaudio import PortAudioDriver
from tests.support.fake_portaudio import Device, FakePortAudio, FakeStream
from tests.support.field_cases.case import Case, check
from tests.support.offline_server import Rig, level, write


@contextmanager
def two_decks(case: Case) -> Iterator[Rig]:
    """A server with a constant on decks A and B."""
    sound = write(case.data / "level.wav", level(4.0))
    with Rig() as rig:
        for deck in "AB":
            rig.send(f"/deck/{deck}/load", str(sound))
        rig.run(2048)
        yield rig


@check
def array_arguments(case: Case) -> str:
    """An array among the arguments; a bundle whose other message acts."""
    with two_decks(case) as rig:
        rig.raw(case.path("array.osc").read_bytes())
        rig.run(2048)
        levels = [rig.status()[f"deck.{deck}.level"] for deck in "ABCD"]
        assert levels == [1.0, 0.5, 0.0, 0.0], f"{levels}"
        rig.raw(case.path("bundle.osc").read_bytes())
        rig.run(2048)
        assert not rig.fails(), f"{rig.fails()}"
        mix = Picture(rig.core).changes()["mixer"]["master_level"]
        assert mix == 0.5, f"the mix is at {mix}"
    return f"levels {levels}, then the mix at {mix}"


@check
def reset_with_empty_array(case: Case) -> str:
    """A reset as python-osc sends it for an empty list; a start is counted from it."""
    with two_decks(case) as rig:
        rig.seconds(0.7)
        rig.raw(case.path("reset.osc").read_bytes())
        zero = rig.desk.frame
        rig.send("/start_group", 0.5, "A", "B")
        rig.seconds(1.0)
        late = rig.heard("/late")
        assert not rig.fails() and not late, f"{rig.fails()} {late}"
        begin = rig.first_sound() - zero
    assert abs(begin - 22050) <= 256, f"the start came after {begin} frames"
    return f"start {begin} frames after the reset"


class Ramp:
    """Stands for the engine's callback: a left and a right channel that differ."""

    channels = 2

    def fill(self, frames: int, flagged: bool) -> np.ndarray:
        return np.tile(np.array([0.5, -0.25], np.float32), (frames, 1))


def opened(devices: list[Device], name: str | None) -> tuple[str, str, FakeStream]:
    """Full name and note of the device that is chosen among these, and its stream, closed."""
    module = FakePortAudio(devices)
    with patch.dict(sys.modules, {"pyaudio": module}):
        driver = PortAudioDriver(Ramp(), name, 44100.0, 64)  # type: ignore[arg-type]
        info = driver.open()
        driver.stop()
    return info.device, info.note, module.streams[-1]


def devices_of(case: Case, name: str) -> list[Device]:
    """A list of devices as the case has it."""
    entries = json.loads(case.path(name).read_text(encoding="utf-8"))
    return [Device(entry["name"], entry["ch"]) for entry in entries]


@check
def card_renumbered(case: Case) -> str:
    """A card that returns under another number."""
    first, _, _ = opened(devices_of(case, "before.json"), "Scarlett")
    again, _, _ = opened(devices_of(case, "after.json"), first)
    assert again.startswith("Scarlett USB"), f"{again} is taken for {first}"
    return f"{first} is {again} now"


@check
def mono_output(case: Case) -> str:
    """A device of one channel."""
    _, note, stream = opened(devices_of(case, "mono.json"), None)
    heard = stream.play(64)
    assert heard.shape == (64, 1) and np.all(heard == 0.125), f"{heard[:2]}"
    assert "mono" in note.lower() or "one" in note.lower(), note
    return f"half the sum; {note}"
