"""Sound cards from bug reports about other programs.

The sources are in docs/development/reported-situations.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from crowdstream.desk.stream_info import DeviceError
from crowdstream.engine.drivers.devices import select_device
from crowdstream.engine.drivers.portaudio import list_devices
from tests.support.fake_portaudio import Device, FakePortAudio


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePortAudio]:
    module = FakePortAudio()
    monkeypatch.setitem(sys.modules, "pyaudio", module)
    yield module


def test_two_cards_of_the_same_model_can_be_selected_individually(fake: FakePortAudio) -> None:
    fake.devices = [Device(f"USB Audio Device: - (hw:{card},0)") for card in (1, 2)]
    outputs = list_devices()
    for entry in outputs:
        for wanted in (str(entry["number"]), entry["name"], f"{entry['name']} ({entry['host']})"):
            assert select_device(outputs, wanted) is entry


def test_an_input_with_the_same_name_is_not_selected(fake: FakePortAudio) -> None:
    fake.devices = [Device("라인 (MG-XU)", ch=0), Device("라인 (MG-XU)")]
    (entry,) = list_devices()
    assert select_device(list_devices(), "라인 (MG-XU)")["number"] == entry["number"] == 1


def test_without_a_default_device_another_one_is_selected(fake: FakePortAudio) -> None:
    fake.devices = [Device("Loopback", ch=0), Device("HDA Intel: ALC (hw:0,0)")]
    assert select_device(list_devices(), None)["name"] == "HDA Intel: ALC (hw:0,0)"
    fake.devices = []
    with pytest.raises(DeviceError, match="no sound device found"):
        select_device(list_devices(), None)
