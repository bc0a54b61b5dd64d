"""Decks, stems and buses as ports of a JACK server, recorded by another client."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from contrib.jack_recorder import JackRecorder
from contrib.soundcard import JackDummy, PipeWireGraph
from tests.support.offline_server import RATE, count, write
from tests.support.resizing import counts_on, play
from tests.support.server import server, until

PLAIN = ("--cache-mb", "64", "--buffer-size", "1024")
PERIOD = 1024


@pytest.fixture
def card() -> JackDummy:
    """A JACK card that waits for the recorder, which is in Python."""
    return JackDummy(frames=PERIOD, synchronous=True)


def longest_heard(recorded: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the longest part of a recording in which the recorder was not late."""
    late = np.flatnonzero(np.isnan(recorded[:, 0]))
    return max(np.split(recorded, late), key=len)[1 if len(late) else 0 :]


def test_a_deck_and_its_stems_arrive_bit_for_bit(tmp_path: Path, card: JackDummy) -> None:
    folder = tmp_path / "track"
    folder.mkdir()
    write(folder / "drums.wav", count(20))  # stem 1
    write(folder / "bass.wav", 0.0 * count(20))
    ports = [f"crowdstream:{name}_1" for name in ("deck_A", "stem_A1", "stem_A2")]
    with card, server(tmp_path, *PLAIN, "--jack-ports", "decks", "stems", env=card.env) as it:
        it.client.request("/deck/A/load", str(folder), answer="/done")
        until(lambda: it.client.status()["jack"] == "running")
        assert it.client.status()["jack_ports"] == 2 * (4 + 32)
        with JackRecorder(card.env, tmp_path, ports) as recorder:
            it.client.send("/deck/A/play")
            until(lambda: it.client.status()["deck.A.state"] == "playing")
            until(lambda: it.client.status()["jack_connected"] == 3)
            until(lambda: len(longest_heard(recorder.read())) > 2 * RATE)
            recorded = longest_heard(recorder.stop())
        status = it.client.status()
    assert counts_on(recorded), "not a frame is missing or changed"
    assert np.array_equal(recorded[:, 0], recorded[:, 1]) and not recorded[:, 2].any()
    assert status["jack_drift_ppm"] == 0.0


def test_the_decks_follow_the_transport(tmp_path: Path, card: JackDummy) -> None:
    track = str(write(tmp_path / "track.wav", count(60)))
    with card, server(tmp_path, *PLAIN, "--jack-ports", "master", env=card.env) as it:
        client = it.client
        client.request("/deck/B/load", track, answer="/done")
        client.send("/jack/transport", 1)
        until(lambda: client.status()["jack"] == "running")
        with JackRecorder(card.env, tmp_path, ["crowdstream:master_1"]) as transport:
            transport.command("tempo 93")
            transport.command("start")
            until(lambda: client.status()["deck.B.state"] == "playing")
            assert client.status()["jack_transport"] == "rolling"
            until(lambda: client.status()["bpm_target"] == 93.0)
            transport.command("stop")
            until(lambda: client.status()["deck.B.state"] == "ready")
            client.send("/jack/transport", 0)
            until(lambda: client.status()["jack_transport"] == "off")
            until(lambda: client.status()["jack"] == "running")
            transport.command("start")
            client.await_frames(RATE // 2)
            assert client.status()["deck.B.state"] == "ready"


def test_the_ports_return_with_their_connections(tmp_path: Path, card: JackDummy) -> None:
    port = "crowdstream:deck_A_1"
    with card, server(tmp_path, *PLAIN, "--jack-ports", "decks", env=card.env) as it:
        play(it, tmp_path)
        with JackRecorder(card.env, tmp_path, [port]):
            until(lambda: it.client.status()["jack_connected"] == 1)
            it.child_named("jack").kill()
            until(lambda: "is restarted" in it.log())
            until(lambda: it.client.status()["jack_connected"] == 1)
            it.child_named("control").kill()  # the process goes on, with another control
            until(lambda: it.client.status()["restarts_control"] == 1)
            until(lambda: it.client.status()["jack_connected"] == 1)
            it.client.send("/jack/ports", "decks", "cue")
            until(lambda: it.client.status()["jack_ports"] == 10)
            until(lambda: it.client.status()["jack_connected"] == 1)
            it.client.send("/jack/ports")
            until(lambda: it.client.status()["jack"] == "off" and not it.children_named("jack"))
        assert it.client.status()["deck.A.state"] == "playing"


def smooth_frames(recorded: npt.NDArray[np.float32], frequency: float) -> int:
    """Return the length of the longest part of a recorded sine that has no step.

    Its frequency, in periods per frame, hardly changes: each sample follows from the two before.
    """
    step = 2.0 * np.cos(2.0 * np.pi * frequency)
    residue = np.abs(recorded[2:] - step * recorded[1:-1] + recorded[:-2])
    silent = np.abs(recorded[1:-1]) + np.abs(recorded[:-2]) < 0.03
    broken = ~(residue < 5e-4) | silent
    edges = np.flatnonzero(np.concatenate(([True], broken, [True])))
    return int(np.diff(edges).max())


@pytest.mark.parametrize("kind", [JackDummy, PipeWireGraph])
def test_another_rate_and_clock_are_followed(
    tmp_path: Path, kind: type[JackDummy | PipeWireGraph]
) -> None:
    """The engine plays on the built-in clock at 44.1 kHz, and the ports are at 48 kHz."""
    rate, hertz = 48000, 1000
    tone = 0.5 * np.sin(2 * np.pi * hertz * np.arange(60 * RATE) / RATE)
    track = str(write(tmp_path / "tone.wav", np.stack([tone, tone], 1)))
    flags = (*PLAIN, "--driver", "null", "--jack-ports", "decks")
    card = kind(rate=rate, frames=PERIOD)  # a clock that waits for nobody
    with card, server(tmp_path, *flags, env=card.env) as it:
        it.client.request("/deck/A/load", track, answer="/done")
        it.client.send("/deck/A/play")
        with JackRecorder(card.env, tmp_path, ["crowdstream:deck_A_1"]) as recorder:
            until(lambda: it.client.status()["jack_connected"] == 1)
            # On a busy machine the engine may pause, or the recorder be late; in between, there is
            # no step.
            until(lambda: smooth_frames(recorder.read()[:, 0], hertz / rate) > rate)


def test_a_server_that_ends_is_searched_for(tmp_path: Path, card: JackDummy) -> None:
    with card, server(
        tmp_path, *PLAIN, "--driver", "null", "--jack-ports", "master", env=card.env
    ) as it:
        play(it, tmp_path)
        until(lambda: it.client.status()["jack"] == "running")
        card.pull_out()
        until(lambda: it.client.status()["jack"] == "searching")
        until(lambda: "JACK: the JACK server has ended" in it.log())
        assert it.client.status()["deck.A.state"] == "playing"
        card.plug_in()
        until(lambda: it.client.status()["jack"] == "running")
        kinds = it.client.request("/events", 100, answer="/events.reply")
        assert kinds.count("jack") == 1
