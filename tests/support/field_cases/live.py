"""External input during playback: OSC packets, and sound cards."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np

from crowdstream.control.publish.state_view import StateView
from crowdstream.engine.drivers.portaudio import PortAudioDriver
from crowdstream.offline.session import START, WALL
from crowdstream.osc.codec import parse
from tests.support.fake_portaudio import Device, FakePortAudio, FakeStream
from tests.support.field_cases.case import Case, check
from tests.support.offline_server import ME, RATE, Rig, bundle_at, level, write

HOUR = 3600.0


@contextmanager
def two_decks(case: Case) -> Iterator[Rig]:
    """Run a server with a constant signal on decks A and B."""
    sound = write(case.data / "level.wav", level(4.0))
    with Rig() as rig:
        for deck in "AB":
            rig.send(f"/deck/{deck}/load", str(sound))
        rig.run(2048)
        yield rig


@check
def array_arguments(case: Case) -> str:
    """An array among the arguments, and a bundle whose other message takes effect."""
    with two_decks(case) as rig:
        rig.raw(case.path("array.osc").read_bytes())
        rig.run(2048)
        levels = [rig.status()[f"deck.{deck}.level"] for deck in "ABCD"]
        assert levels == [1.0, 0.5, 0.0, 0.0], f"{levels}"
        rig.raw(case.path("bundle.osc").read_bytes())
        rig.run(2048)
        assert not rig.fails(), f"{rig.fails()}"
        mix = StateView(rig.core).changes()["mixer"]["master_level"]
        assert mix == 0.5, f"the mix is at {mix}"
    return f"levels {levels}, then the mix at {mix}"


@check
def reset_with_empty_array(case: Case) -> str:
    """A reset with an empty list, as python-osc sends it; a start is scheduled relative to it."""
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


@check
def button_press_and_release(case: Case) -> str:
    """Buttons of a controller send 1.0 when pressed and 0.0 when released."""
    with two_decks(case) as rig:
        rig.seconds(1.5)
        rig.send("/reset")
        pressed = rig.desk.frame
        rig.raw(case.path("play_press.osc").read_bytes())
        rig.run(1024)
        begin = rig.first_sound(pressed)
        assert 0 <= begin - pressed <= 256, f"the press starts after {begin - pressed} frames"
        rig.raw(case.path("play_release.osc").read_bytes())
        rig.run(1024)
        played = round(rig.status()["deck.A.position"] * RATE)
        assert played == rig.desk.frame - begin, "the release starts it again"
        rig.raw(case.path("stop_release.osc").read_bytes())
        rig.run(1024)
        assert rig.out[-1, 0] > 0.0, "the release of stop stops it"
        rig.raw(case.path("stop_press.osc").read_bytes())
        rig.run(1024)
        assert rig.out[-1, 0] == 0.0, "the press of stop does not stop it"
        assert not rig.fails() and not rig.heard("/late"), f"{rig.fails()}"
    return f"starts {begin - pressed} frames after the press, once; stop stops; releases do nothing"


@check
def address_patterns(case: Case) -> str:
    """One pattern for all decks, and one for two of them."""
    with two_decks(case) as rig:
        rig.send("/start_group", 0.0, "A", "B")
        rig.run(2048)
        full = float(rig.out[-1, 0])
        begin = rig.desk.frame
        rig.raw(case.path("star.osc").read_bytes())
        rig.raw(case.path("braces.osc").read_bytes())
        rig.run(4096)
        status = rig.status()
        levels = [status[f"deck.{deck}.level"] for deck in "ABCD"]
        lows = [status[f"deck.{deck}.low"] for deck in "ABCD"]
        assert levels == [0.5] * 4, f"levels {levels}"
        assert lows == [0.0, 0.0, 1.0, 1.0], f"bands {lows}"
        assert not rig.fails(), f"{rig.fails()}"
        # Both decks change on the same frame: the sum of two equal ramps has one step at first.
        moved = begin + int(np.flatnonzero(rig.out[begin:, 0] != full)[0])
        step = float(rig.out[moved + 1, 0] - rig.out[moved, 0])
        first = float(rig.out[moved, 0] - full)
        assert abs(step) < 3 * abs(first), f"{first} and then {step} a frame"
    return f"four levels at 0.5 and two bands killed, all from frame {moved - begin} on"


@check
def reply_port(case: Case) -> str:
    """Replies and subscriptions go to the port that a sender requests."""
    home, other = ("127.0.0.1", 9000), ("127.0.0.1", 50001)
    with two_decks(case) as rig:
        rig.raw(case.path("notify.osc").read_bytes())
        assert [sender for sender, *_ in rig.answers.said][-1] == ME
        rig.answers.said.clear()
        rig.send("/notify", 1, home[1])
        rig.raw(case.path("meters.osc").read_bytes())
        rig.raw(case.path("watch.osc").read_bytes())
        rig.send("/feedback", 1, 0)
        rig.send("/deck/A/play", 1.0)
        rig.seconds(0.5)
        rig.send("/deck/A/level", 0.5, sender=other)
        rig.seconds(0.2)
        by_sender = {sender for sender, *_ in rig.answers.said}
        said = {address for sender, address, _ in rig.answers.said if sender == home}
        assert by_sender == {home}, f"answers went to {sorted(by_sender)}"
        wanted = {"/done", "/meter", "/changed", "/deck/A/level"}
        assert wanted <= said, f"no {', '.join(sorted(wanted - said))}"
        assert ("/deck/A/level", (0.5,)) in [one[1:] for one in rig.answers.said]
    return "/notify 1 9000 has answers, meters, changes and feedback sent to port 9000"


@check
def bundle_far_ahead(case: Case) -> str:
    """A bundle for an hour after its creation, by the wall clock; `/reset` discards it."""
    packet = case.path("ahead.osc").read_bytes()
    ((tag, message),) = parse(packet)
    assert tag is not None
    with two_decks(case) as rig:
        # As when the case was created: an hour before the time tag.
        rig.packet(bundle_at(WALL + rig.time - START + HOUR, message.address), ME)
        rig.packet(packet, ME)
        notified = rig.heard("/waiting")
        assert [one[0] for one in notified] == [message.address] * len(notified), f"{notified}"
        seconds = [one[1] for one in notified]
        assert abs(seconds[0] - HOUR) < 1.0, f"{seconds} s"
        assert len(notified) == 2 or tag < WALL + rig.time - START, f"{notified}"
        rig.send("/reset")
        assert len(rig.core.scheduler) == 0, "it is still scheduled after /reset"
    return f"the sender is notified of {seconds[0]:.0f} s; /reset discards it"


class Ramp:
    """Stand-in for the engine's callback: the left and right channels differ."""

    channels = 2

    def fill(self, frames: int, flagged: bool) -> np.ndarray:
        return np.tile(np.array([0.5, -0.25], np.float32), (frames, 1))


def opened(devices: list[Device], name: str | None) -> tuple[str, str, FakeStream]:
    """Return the selected device's full name and note, and its stream, which is closed."""
    module = FakePortAudio(devices)
    with patch.dict(sys.modules, {"pyaudio": module}):
        driver = PortAudioDriver(Ramp(), name, 44100.0, 64)  # type: ignore[arg-type]
        info = driver.open()
        driver.stop()
    return info.device, info.note, module.streams[-1]


def devices_of(case: Case, name: str) -> list[Device]:
    """Read a list of devices from the case."""
    entries = json.loads(case.path(name).read_text(encoding="utf-8"))
    return [Device(entry["name"], entry["ch"]) for entry in entries]


@check
def card_renumbered(case: Case) -> str:
    """A sound card returns under another number."""
    first, _, _ = opened(devices_of(case, "before.json"), "Scarlett")
    again, _, _ = opened(devices_of(case, "after.json"), first)
    assert again.startswith("Scarlett USB"), f"{again} is taken for {first}"
    return f"{first} is {again} now"


@check
def mono_output(case: Case) -> str:
    """A device has only one channel."""
    _, note, stream = opened(devices_of(case, "mono.json"), None)
    heard = stream.play(64)
    assert heard.shape == (64, 1) and np.all(heard == 0.125), f"{heard[:2]}"
    assert "mono" in note.lower() or "one" in note.lower(), note
    return f"half the sum; {note}"
