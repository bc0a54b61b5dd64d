"""Packets that users of other programs have reported as problems.

The sources are in docs/development/reported-situations.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from crowdstream.osc.codec import build
from tests.support.offline_server import RATE, Rig, at_once, bundle, level, write

PLAY = build("/deck/A/play", ())


def text(words: str) -> bytes:
    data = words.encode() + b"\0"
    return data + bytes(-len(data) % 4)


def message(address: str, tags: str | None, body: bytes = b"") -> bytes:
    """Build a message with any type tags, or without."""
    return text(address) + (text(tags) if tags is not None else b"") + body


@pytest.fixture
def ready(tmp_path: Path) -> Iterator[Rig]:
    """A server with a track on deck A."""
    with Rig() as rig:
        rig.send("/deck/A/load", str(write(tmp_path / "steady.wav", level(3))))
        rig.run(1024)
        yield rig


def test_a_message_without_type_tags_is_accepted_if_it_has_no_arguments(ready: Rig) -> None:
    ready.raw(message("/deck/A/play", None))
    ready.run(512)
    assert ready.first_sound() == 1024
    ready.raw(message("/deck/A/gain", None, struct.pack(">f", 0.5)))
    assert ready.fails() == ["/deck/A/gain the type tags do not begin with a comma"]


@pytest.mark.parametrize(
    ("tags", "body"),
    [(",f", struct.pack(">f", 1)), (",i", struct.pack(">i", 1)), (",d", struct.pack(">d", 1)),
     (",h", struct.pack(">q", 1)), (",T", b"")],
)  # fmt: skip
def test_numbers_of_every_type_mean_the_same(ready: Rig, tags: str, body: bytes) -> None:
    assert ready.status()["deck.A.keylock"] == 0
    ready.raw(message("/deck/A/keylock", tags, body))
    ready.run(512)
    assert not ready.fails()
    assert ready.status()["deck.A.keylock"] == 1


@pytest.mark.parametrize(
    ("tags", "body"),
    [(",f", struct.pack(">f", float("nan"))), (",f", struct.pack(">f", float("-inf"))),
     (",d", struct.pack(">d", float("inf"))), (",N", b""), (",c", struct.pack(">i", 65)),
     (",s", text("loud")), (",[f", struct.pack(">f", 1)), (",q", bytes(8))],
)  # fmt: skip
def test_values_that_are_not_numbers_are_refused_and_change_nothing(
    ready: Rig, tags: str, body: bytes
) -> None:
    before = ready.state()
    ready.raw(message("/deck/A/gain", tags, body))
    (fail,) = ready.fails()
    assert fail.startswith("/deck/A/gain ")
    assert ready.state() == before


def test_a_message_inside_an_array_is_refused(ready: Rig) -> None:
    ready.raw(message("/deck/A/play", ",[si]", text("/deck/A/play") + struct.pack(">i", 1)))
    ready.run(512)
    (fail,) = ready.fails()
    assert "is not a number" in fail
    assert ready.first_sound() == -1


def test_an_unknown_type_does_not_stop_the_rest_of_its_bundle(ready: Rig) -> None:
    ready.raw(at_once(message("/deck/A/gain", ",q", bytes(8)), PLAY))
    ready.run(512)
    assert ready.fails() == ["/deck/A/gain unknown type tag 'q'"]
    assert ready.first_sound() == 1024


def test_a_symbol_is_accepted_as_a_string(ready: Rig, tmp_path: Path) -> None:
    path = write(tmp_path / "other.wav", level(1))
    ready.raw(message("/deck/B/load", ",S", text(str(path))))
    ready.run(1024)
    assert ready.status()["deck.B.state"] == "ready"


@pytest.mark.parametrize(
    "packet",
    [PLAY + b"\n", PLAY + bytes(4), b"/deck/A/play\n", b"deck/A/play\0,\0\0\0",
     b"#bundle\0" + struct.pack(">Qi", 1, len(PLAY) + 3) + PLAY + bytes(3)],
    ids=["newline", "padding", "text", "no-slash", "uneven-element"],
)  # fmt: skip
def test_packets_of_wrong_length_are_refused(ready: Rig, packet: bytes) -> None:
    ready.raw(packet)
    ready.run(512)
    assert len(ready.fails()) == 1
    assert ready.first_sound() == -1
    ready.raw(PLAY)  # the next packet is carried out
    ready.run(512)
    assert ready.first_sound() >= 0


def test_bundles_of_a_clock_that_is_behind_act_at_once_and_are_reported(ready: Rig) -> None:
    ready.seconds(2)
    now = ready.desk.frame / RATE
    ready.raw(bundle(now - 0.5, PLAY))
    ready.run(512)
    ((address, seconds),) = ready.heard("/late")
    assert address == "/deck/A/play"
    assert abs(seconds - 0.5) < 2 * ready.block / RATE
    assert ready.first_sound() >= 2 * RATE
    # A time tag that counts from 1970 instead of 1900, as old versions of python-osc sent.
    packet = b"#bundle\0" + struct.pack(">IIi", 1_700_000_000, 0, len(PLAY)) + PLAY
    ready.raw(packet)
    ready.run(512)
    assert len(ready.heard("/late")) == 2
    assert ready.status()["deck.A.state"] == "playing"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_invalid_samples_do_not_silence_the_audio_after_them(
    tmp_path: Path, value: float
) -> None:
    heard = []
    for bad in (0.0, value):
        tone = 0.25 * np.sin(np.arange(2 * RATE) / 10)[:, None].repeat(2, 1)
        tone[1000:1010] = bad
        with Rig() as rig:
            path = write(tmp_path / f"{bad}.wav", tone.astype(np.float32), subtype="FLOAT")
            rig.send("/deck/A/load", str(path))
            rig.run(1024)
            for what in ("/deck/A/eq/low", "/deck/A/eq/high"):
                rig.send(what, 0.9)
            rig.send("/deck/A/play")
            rig.run(RATE)
            assert not rig.fails()
            assert np.isfinite(rig.out).all() and np.abs(rig.out).max() <= 1.0
            heard.append(rig.out[RATE // 2 :].copy())
    assert np.abs(heard[1]).max() > 0.1
    assert np.abs(heard[0] - heard[1]).max() < 1e-3
