"""The server on a virtual sound card: what a listener would hear is what was rendered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from contrib.soundcard import JackDummy, PulseNull
from tests.support.noise import RATE, frames_of, longest_run, noise
from tests.support.server import server, until

STEMS = ("drums", "bass", "vocals", "other")


def test_the_recorded_sound_is_the_rendered_sound(tmp_path: Path, pulse_card: PulseNull) -> None:
    """Four stems on deck A, recorded from the sink's monitor: their sum, sample for sample."""
    folder = tmp_path / "track"
    folder.mkdir()
    parts = [noise(4.0, seed) for seed in range(4)]
    for name, samples in zip(STEMS, parts, strict=True):
        soundfile.write(folder / f"{name}.wav", samples, RATE, subtype="PCM_16")
    expected = sum(part.astype(np.float32) / np.float32(32768) for part in parts)
    assert isinstance(expected, np.ndarray)
    with (
        server(tmp_path, "--driver", "pyaudio", "--buffer-size", "512", env=pulse_card.env) as it,
        pulse_card.recorder() as recorder,
    ):
        it.client.request("/deck/A/load", str(folder), answer="/done")
        it.client.send("/deck/A/play")
        until(lambda: it.client.status()["deck.A.state"] == "playing")
        until(lambda: it.client.status()["deck.A.state"] == "ready")  # behind its end
        heard = recorder.stop_after(RATE // 2)
        status = it.client.status()
    assert status["driver"] == "pyaudio"
    # Every frame that sounds is one of the mix, from the first to the last, block after block. Now
    # and then a null sink that is late repeats or drops a fragment.
    place = frames_of(heard, expected)
    assert longest_run(place) > RATE // 4
    assert place.min() < RATE + RATE // 2 and place.max() > 3 * RATE


def test_the_latency_on_jack_is_that_of_its_ports(tmp_path: Path) -> None:
    """JACK's dummy driver has two periods; PortAudio reports one less."""
    options = ("--limiter-lookahead", "0", "--buffer-size", "512", "--standby", "off")
    with (
        JackDummy(frames=512) as card,
        server(tmp_path, "--driver", "pyaudio", *options, env=card.env) as it,
    ):
        assert it.client.status()["latency_ms"] == pytest.approx(1000 * 2 * 512 / RATE, abs=0.01)


def test_jack_plays_every_block(tmp_path: Path, jack_card: JackDummy) -> None:
    """On JACK the decks move together, and the ledger accounts for each gap."""
    soundfile.write(tmp_path / "a.wav", noise(8.0, 1), RATE, subtype="PCM_16")
    with server(tmp_path, "--buffer-size", "128", env=jack_card.env) as it:
        for deck in "ABCD":
            it.client.request("/cue", deck, str(tmp_path / "a.wav"), answer="/done")
        before = it.client.status()
        it.client.send("/start_group", 0.0, "A", "B", "C", "D")
        it.client.await_frames(3 * RATE)
        after = it.client.status()
    assert "JACK" in after["device"] and after["buffer_size"] == 128
    assert (after["frame"] - before["frame"]) % 128 == 0
    positions = {after[f"deck.{deck}.position"] for deck in "ABCD"}
    assert len(positions) == 1 and positions.pop() > 2.0
    causes = sum(after[f"underruns_{c}"] for c in ("late_callback", "slow_render", "device"))
    assert causes == after["underruns"]
    assert after["guarded"] == 0
    # Silence is counted as missing frames where a busy machine has loaded a page too late.
    assert (after["missing_pages"] == 0) == (after["missing_frames"] == 0)


def test_the_cue_bus_plays_on_outputs_3_and_4(tmp_path: Path) -> None:
    """A deck whose level is 0 is heard on the headphones alone, another one in the room alone."""
    rates = {"A": 0.25, "B": -0.125}
    for deck, value in rates.items():
        samples = np.full((8 * RATE, 2), value, np.float32)
        soundfile.write(tmp_path / f"{deck}.wav", samples, RATE, subtype="PCM_16")
    flags = ("--driver", "pyaudio", "--buffer-size", "512", "--cue-channels", "2")
    with (
        PulseNull(channels=4) as card,
        server(tmp_path, *flags, env=card.env) as it,
        card.recorder() as recorder,
    ):
        for deck in rates:
            it.client.request(f"/deck/{deck}/load", str(tmp_path / f"{deck}.wav"), answer="/done")
        it.client.send("/deck/A/level", 0.0)
        it.client.send("/deck/A/pfl", 1.0)
        it.client.await_frames(RATE // 4)  # its level is 0 by then
        it.client.send("/deck/A/play")
        it.client.send("/deck/B/play")
        until(lambda: it.client.status()["deck.B.position"] >= 3.0)
        heard = recorder.stop_after(RATE // 2)
        status = it.client.status()
    assert status["cue_outputs"] == 1
    assert heard.shape[1] == 4
    # Most of what was recorded is both decks; a null sink that is late drops whole fragments.
    steady = np.isclose(heard, [-0.125, -0.125, 0.25, 0.25], atol=1e-4).all(axis=1)
    assert np.count_nonzero(steady) > RATE
    assert not np.any(np.isclose(heard[:, :2], 0.25, atol=1e-4))


def test_a_card_with_four_outputs_is_used_by_itself(tmp_path: Path) -> None:
    """JACK's dummy with four ports: auto takes them, --cue-channels 0 does not."""
    for cue, outputs in (("auto", 1), ("0", 0)):
        with (
            JackDummy(channels=4) as card,
            server(tmp_path, "--cue-channels", cue, env=card.env) as it,
        ):
            status = it.client.status()
        assert "JACK" in status["device"]
        assert status["cue_outputs"] == outputs
        assert status["guarded"] == 0


def test_a_card_without_them_says_so(tmp_path: Path, jack_card: JackDummy) -> None:
    with server(tmp_path, "--cue-channels", "2", env=jack_card.env) as it:
        status = it.client.status()
        until(lambda: "2 outputs: the cue bus is not audible" in it.log())
    assert status["cue_outputs"] == 0
