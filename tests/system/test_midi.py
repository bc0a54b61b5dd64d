"""MIDI over virtual ports of a JACK server: clocks in both directions, controllers, hot-plug."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rtmidi

from contrib.soundcard import JackDummy
from crowdstream.midi.clock_out import CONTINUE, SONG_POSITION, START, STOP, TICK
from tests.support.osc_client import OscClient
from tests.support.server import Running, server, until
from tests.support.track_analyses import click_track

BPM = 125.0
TRACK = "clicks"


class Device:
    """A MIDI device with an input and an output: virtual ports of this process."""

    def __init__(self, name: str) -> None:
        self.received: list[tuple[float, list[int]]] = []
        self._out = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name=name)
        self._out.open_virtual_port("port")
        self._in = rtmidi.MidiIn(rtmidi.API_UNIX_JACK, name=name)
        self._in.ignore_types(timing=False)
        self._in.set_callback(
            lambda event, _: self.received.append((time.monotonic(), event[0]))
        )
        self._in.open_virtual_port("port")

    def send(self, *message: int) -> None:
        """Send a message."""
        self._out.send_message(list(message))

    def messages(self, status: int) -> list[list[int]]:
        """The messages with this status byte so far."""
        return [message for _, message in list(self.received) if message[0] == status]

    def close(self) -> None:
        """Unplug the device."""
        for port in (self._in, self._out):
            port.close_port()
            port.delete()


@contextlib.contextmanager
def plugged(name: str) -> Iterator[Device]:
    """A device that is plugged in."""
    made = Device(name)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def jack(monkeypatch: pytest.MonkeyPatch) -> Iterator[JackDummy]:
    """A JACK server, for this process as well."""
    with JackDummy(frames=64, synchronous=True) as card:
        for name, value in card.env.items():
            monkeypatch.setenv(name, value)
        yield card


@contextlib.contextmanager
def running(folder: Path, jack: JackDummy, *options: str) -> Iterator[Running]:
    """A server with MIDI by JACK, which plays on the built-in clock."""
    env = {**jack.env, "XDG_STATE_HOME": str(folder / "state")}
    flags = ("--driver", "null", "--midi-api", "jack", "--bpm", str(BPM), *options)
    with server(folder, *flags, env=env) as it:
        it.client.request("/notify", 1, answer="/done")
        yield it


def connected(client: OscClient, count: int = 1) -> None:
    """Wait until so many ports are connected."""
    until(lambda: client.status()["midi_connected"] == count)


def play(client: OscClient, folder: Path) -> None:
    """Play a track on deck A."""
    click_track(folder, TRACK, BPM, 0.1, 200)
    client.send("/deck/A/load", str(folder / TRACK))
    until(lambda: client.status()["deck.A.state"] == "ready")
    client.send("/deck/A/play")


def moved_to(device: Device, client: OscClient, held: int, place: int) -> None:
    """Move a fader from the place that the level has to another one, until the level follows."""

    def follows() -> bool:
        # Again: on a busy machine, a report of the level may be older than the movement.
        device.send(0xB0, 0, held)
        device.send(0xB0, 0, place)
        return bool(abs(client.status()["deck.A.level"] - place / 127) < 1e-3)

    until(follows)


def test_the_clock_is_sent_with_start_and_stop(tmp_path: Path, jack: JackDummy) -> None:
    with plugged("synth") as synth, running(tmp_path, jack, "--midi-clock", "synth") as it:
        connected(it.client)
        until(lambda: len(synth.messages(TICK)) > 48)
        assert not synth.messages(START) and not synth.messages(CONTINUE)
        play(it.client, tmp_path)
        until(lambda: bool(synth.messages(CONTINUE)))
        kinds = [message[0] for _, message in synth.received]
        at = kinds.index(SONG_POSITION)
        assert kinds[at : at + 3] == [SONG_POSITION, CONTINUE, TICK]
        position = synth.messages(SONG_POSITION)[0]
        assert (position[1] | position[2] << 7) % 4 == 0, "it starts at a beat"
        # Not against the time: the built-in clock stands still while the machine is too busy.
        beat, begin = it.client.status()["beat"], len(synth.messages(TICK))
        until(lambda: len(synth.messages(TICK)) > begin + 240)
        ticks = len(synth.messages(TICK)) - begin
        wanted = 24 * (it.client.status()["beat"] - beat)
        # A process that was not woken in time skips ticks.
        assert 0.7 * wanted < ticks < wanted + 24
        it.client.send("/deck/A/stop")
        until(lambda: bool(synth.messages(STOP)))
        assert it.client.status()["midi_ticks"] >= 240


def test_the_tempo_of_a_clock_is_followed(tmp_path: Path, jack: JackDummy) -> None:
    with plugged("drums") as drums, running(tmp_path, jack, "--midi-follow", "drums") as it:
        connected(it.client)
        drums.send(START)
        begin, step, number = time.monotonic(), 60.0 / 130.0 / 24.0, 0

        def ticking(done: Any) -> None:
            nonlocal number
            deadline = begin + step * number + 60.0
            while not (number % 12 == 0 and done()):
                assert time.monotonic() < deadline, it.client.status()["midi_bpm"]
                time.sleep(max(0.0, begin + step * number - time.monotonic()))
                drums.send(TICK)
                number += 1

        ticking(lambda: it.client.status()["midi_locked"] == 1)
        ticking(lambda: abs(it.client.status()["bpm"] - 130.0) < 0.5)
        ticking(lambda: abs(it.client.status()["midi_error_ms"]) < 10.0)
        until(lambda: it.client.status()["midi_locked"] == 0)
        assert abs(it.client.status()["bpm_target"] - 130.0) < 5.0, "the tempo stays"


def test_a_controller_with_soft_takeover_leds_and_hot_plug(
    tmp_path: Path, jack: JackDummy
) -> None:
    with running(tmp_path, jack) as it:
        client = it.client
        client.send("/midi/map/add", "korg-nanokontrol2")
        lost = client.receive_until("/midi")
        assert lost[:2] == ["map KORG nanoKONTROL2", "lost"] and "no port" in lost[2]
        with plugged("nanoKONTROL2") as korg:
            assert client.receive_until("/midi")[1] == "found"
            until(lambda: [0xB0, 32, 0] in [message for _, message in korg.received])
            korg.send(0xB0, 32, 127)  # SOLO: pre-fader listening
            until(lambda: [0xB0, 32, 127] in [message for _, message in korg.received])
            korg.send(0xB0, 32, 0)
            korg.send(0xB0, 32, 127)
            until(lambda: korg.messages(0xB0)[-1] == [0xB0, 32, 0])
            # The level is 1: the fader moves nothing until it has been there.
            for place in range(0, 100, 10):
                korg.send(0xB0, 0, place)
            korg.send(0xB0, 5, 127)
            until(lambda: client.status()["deck.A.level"] == 1.0)
            moved_to(korg, client, 127, 64)
        assert client.receive_until("/midi")[1:] == ["lost", "it has been unplugged"]
        with plugged("nanoKONTROL2") as korg:
            assert client.receive_until("/midi")[1] == "found"
            moved_to(korg, client, 64, 32)


def test_a_control_is_learned_saved_and_used(tmp_path: Path, jack: JackDummy) -> None:
    with plugged("Knobs") as knobs, running(tmp_path, jack) as it:
        client = it.client
        assert not it.children_named("midi")
        client.send("/midi/learn", "/deck/B/filter")
        until(lambda: bool(it.children_named("midi")))

        def learned() -> bool:
            knobs.send(0xB2, 21, 3)
            return "is mapped to /deck/B/filter" in it.log()

        until(learned)
        _port, control, address, path = client.receive_until("/midi/learned")
        assert (control, address) == ("cc 21 on channel 3", "/deck/B/filter")
        until(lambda: os.path.exists(path))
        connected(client)
        with it.desk() as desk:
            from crowdstream.desk.ramps import RAMP_FILTER

            def turned() -> bool:
                for place in (60, 64, 67, 127):
                    knobs.send(0xB2, 21, place)
                return float(desk.ramps["target"][RAMP_FILTER + 1]) == 1.0

            until(turned)
    with plugged("Knobs") as knobs, running(tmp_path, jack, "--midi-map", path) as it:
        connected(it.client)


def test_a_jack_server_that_restarts_is_found_again(tmp_path: Path, jack: JackDummy) -> None:
    with running(tmp_path, jack, "--midi-map", "korg-nanokontrol2") as it:
        client = it.client
        for restarted in (False, True):
            if restarted:
                jack.pull_out()
                connected(client, 0)
                jack.plug_in()
            with plugged("nanoKONTROL2") as korg:
                connected(client)
                moved_to(korg, client, 64, 127)
                moved_to(korg, client, 127, 64)


def test_a_flood_and_a_killed_process_affect_nothing(tmp_path: Path, jack: JackDummy) -> None:
    with plugged("nanoKONTROL2") as korg, running(
        tmp_path, jack, "--midi-map", "korg-nanokontrol2"
    ) as it:
        client = it.client
        connected(client)
        play(client, tmp_path)

        def flooded() -> bool:
            # JACK itself discards what its ports can't hold, on a busy machine nearly everything.
            for number in range(2000):
                korg.send(0xB0, 48, 127 * (number % 2))  # MUTE pressed and released
            return bool(client.status()["midi_lost"] > 0)

        until(flooded)
        assert client.status()["deck.A.state"] == "playing"
        before = it.child_named("midi").pid
        it.child_named("midi").kill()
        until(lambda: [one.pid for one in it.children_named("midi")] not in ([], [before]))
        connected(client)
        it.child_named("control").kill()
        assert client.receive_until("/restarted") == ["control"]
        connected(client)
        moved_to(korg, client, 127, 64)
