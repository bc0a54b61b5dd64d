"""Input streams: formats, channels and rates of devices, through a fake PortAudio."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest

from crowdstream.capture.stream import OVERFLOW, InputStream
from crowdstream.desk.block import Desk
from crowdstream.desk.inputs import InputWriter
from crowdstream.desk.opcodes import CAPTURE_DEVICE, CAPTURE_NONE
from crowdstream.desk.stream_info import DeviceError
from tests.support.fake_portaudio import FLOAT32, INT16, INT24, INT32, Device, FakePortAudio

RATE = 44100.0


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakePortAudio:
    """PyAudio without devices."""
    module = FakePortAudio()
    monkeypatch.setitem(sys.modules, "pyaudio", module)
    return module


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A desk with one input."""
    desk = Desk.create(0, RATE)
    InputWriter.configure(desk, 1)
    yield desk
    desk.close()


def opened(desk: Desk, wanted: str = "Mic") -> InputStream:
    return InputStream(InputWriter(desk, 0), wanted, RATE, 441)


@pytest.mark.parametrize("form", [FLOAT32, INT32, INT24, INT16])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_every_format_arrives_in_stereo(
    fake: FakePortAudio, desk: Desk, form: int, channels: int
) -> None:
    fake.devices = [Device("Mic", inputs=channels, formats=(form,), counts=(channels,))]
    stream = opened(desk)
    info = stream.open()
    assert (info.device, info.rate, info.latency) == ("Mic (ALSA)", RATE, 0.012)
    sent = np.random.default_rng(1).uniform(-1.0, 1.0, (441, channels))
    fake.streams[0].record(sent)
    got = desk.input_rings[0, :441]
    assert np.abs(got[:, 0] - sent[:, 0]).max() < 1e-4
    assert np.abs(got[:, 1] - sent[:, min(1, channels - 1)]).max() < 1e-4
    assert not desk.input_rings[0, 441:].any()
    capture = desk.captures[0]
    assert int(capture["head"]) == 441 and int(capture["source"]) == CAPTURE_DEVICE
    stream.close()
    assert int(capture["source"]) == CAPTURE_NONE and fake.libraries == 0


def test_the_mixs_rate_is_preferred_and_another_one_accepted(
    fake: FakePortAudio, desk: Desk
) -> None:
    fake.devices = [Device("Mic", inputs=2, rates=(48000.0, 44100.0))]
    stream = opened(desk)
    assert stream.open().note == ""
    stream.close()
    fake.devices = [Device("Mic", inputs=1, rates=(16000.0,))]
    stream = opened(desk)
    info = stream.open()
    assert info.rate == 16000.0 and info.note == "one channel, on both sides, resampled"
    # The same duration of a block.
    assert fake.streams[-1].frames == 160 and int(desk.captures["block"][0]) == 160
    stream.close()


def test_a_loss_that_the_device_reports_is_counted(fake: FakePortAudio, desk: Desk) -> None:
    fake.devices = [Device("Mic", inputs=2)]
    stream = opened(desk)
    stream.open()
    for status in (0, OVERFLOW, 0):
        fake.streams[0].record(np.zeros((441, 2)), status)
    assert int(desk.captures["overflows"][0]) == 1
    stream.close()


@pytest.mark.parametrize(
    ("devices", "reason"),
    [
        ([], "no input device found"),
        ([Device("Card")], "no input device found"),
        ([Device("Other", inputs=2)], "no device 'Mic': there are 0 'Other'"),
        ([Device("Mic", inputs=2, fault=-9985)], "choose another with --input"),
        ([Device("Mic", inputs=2, rates=(384000.0,))], "does not take 44100 Hz or 48000 Hz"),
    ],
)
def test_a_device_that_does_not_open_says_why_and_is_released(
    fake: FakePortAudio, desk: Desk, devices: list[Device], reason: str
) -> None:
    fake.devices = devices
    with pytest.raises(DeviceError, match=reason):
        opened(desk).open()
    assert fake.libraries == 0 and int(desk.captures["source"][0]) == CAPTURE_NONE


def test_a_device_that_stops_is_no_longer_alive(
    fake: FakePortAudio, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.devices = [Device("Mic", inputs=2)]
    stream = opened(desk)
    stream.open()
    assert stream.alive()
    monkeypatch.setattr("crowdstream.capture.stream.SILENT_SECONDS", 0.0)
    assert not stream.alive(), "it is active, but delivers nothing"
    monkeypatch.undo()
    fake.streams[0].active = False
    assert not stream.alive()
    stream.close()
