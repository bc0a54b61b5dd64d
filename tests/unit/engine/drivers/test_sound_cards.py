"""Many kinds of sound cards, through a fake PortAudio: stream parameters, sound and messages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from crowdstream.desk.stream_info import DeviceError, StreamInfo
from crowdstream.engine.drivers import portaudio
from crowdstream.engine.drivers.devices import select_device, without_card_number
from crowdstream.engine.drivers.portaudio import PortAudioDriver, list_devices
from crowdstream.engine.drivers.sample_format import (
    FLOAT32 as F32,
)
from crowdstream.engine.drivers.sample_format import (
    INT16 as I16,
)
from crowdstream.engine.drivers.sample_format import (
    INT24 as I24,
)
from crowdstream.engine.drivers.sample_format import (
    INT32 as I32,
)
from crowdstream.engine.drivers.sample_format import OutputFormat
from tests.support.fake_portaudio import (
    FLOAT32,
    INT16,
    INT24,
    INT32,
    JACK_HOST,
    TIMES,
    Device,
    FakeLibrary,
    FakePortAudio,
    FakeStream,
)

HDA = Device("HDA Intel: ALC (hw:0,0)", default=True)
SCARLETT = Device("Scarlett USB: Audio (hw:1,0)")
OTHER = Device("C-Media: USB other (hw:1,0)")
MOVED = Device("Scarlett USB: Audio (hw:2,0)")


class Blocks:
    """Fake engine callback: numbered samples, and the cue bus if requested."""

    def __init__(self) -> None:
        self.channels = 2
        self.flags: list[bool] = []
        self.counts: list[int] = []
        self.level: float | None = None

    def fill(self, frames: int, flagged: bool, heard_ns: int = 0) -> np.ndarray:
        self.flags.append(flagged)
        self.counts.append(frames)
        if self.level is not None:
            return np.full((frames, self.channels), self.level, np.float32)
        number = np.arange(frames, dtype=np.float32)
        columns = [number / 32768, -2 * number / 32768, number / 65536, number / 4096]
        return np.stack(columns[: self.channels], 1)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePortAudio]:
    module = FakePortAudio()
    monkeypatch.setitem(sys.modules, "pyaudio", module)
    yield module
    assert module.libraries == 0, "PortAudio was not ended"


class Opened:
    """A driver that has been opened and closed, with its stream and messages."""

    def __init__(self, fake: FakePortAudio, *devices: Device, **how: Any) -> None:
        fake.devices = devices
        rate, name = how.pop("rate", 44100.0), how.pop("device", None)
        keep_rate = how.pop("keep_rate", False)
        self.blocks = Blocks()
        frames = how.pop("frames", 64)
        driver = PortAudioDriver(self.blocks, name, rate, frames, **how)  # type: ignore[arg-type]
        driver.keep_rate = keep_rate
        self.info: StreamInfo = driver.open()
        self.stream: FakeStream = fake.streams[-1]
        driver.start()
        assert driver.alive()
        driver.stop()
        assert self.stream.closed


def test_an_ordinary_card_receives_the_engines_block_unchanged(fake: FakePortAudio) -> None:
    one = Opened(fake, HDA)
    assert (one.stream.channels, one.stream.form, one.stream.rate) == (2, FLOAT32, 44100.0)
    assert one.info.note == "" and not one.info.cue
    assert one.stream.callback(None, 64, TIMES, 0)[0].shape == (64, 2)
    assert len(fake.tries) == 1
    one.stream.play(64, status=4)
    assert one.blocks.flags[-1] is True


# Which device ------------------------------------------------------------------------------


def test_a_card_that_returns_with_another_number_is_recognised_by_name(
    fake: FakePortAudio,
) -> None:
    first = Opened(fake, HDA, SCARLETT, device="scarlett")
    assert first.info.device == "Scarlett USB: Audio (hw:1,0) (ALSA)"
    again = Opened(fake, HDA, OTHER, MOVED, device=first.info.device)
    assert again.info.device == "Scarlett USB: Audio (hw:2,0) (ALSA)"
    assert again.stream.device is MOVED


def test_another_card_with_the_number_of_a_missing_card_is_not_selected(
    fake: FakePortAudio,
) -> None:
    with pytest.raises(DeviceError, match=r"no device 'Scarlett USB: Audio \(hw:1,0\) \(ALSA\)'"):
        Opened(fake, HDA, OTHER, device="Scarlett USB: Audio (hw:1,0) (ALSA)")


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("2", "Scarlett USB: Audio (hw:2,0)"),
        ("Scarlett USB: Audio (hw:1,0)", "Scarlett USB: Audio (hw:2,0)"),
        ("scarlett usb: audio (hw:7,0)", "Scarlett USB: Audio (hw:2,0)"),
        ("C-Media: USB other (hw:2,0) (ALSA)", "C-Media: USB other (hw:1,0)"),
        ("hw:1,0", "C-Media: USB other (hw:1,0)"),
        ("usb", "C-Media: USB other (hw:1,0)"),
    ],
)
def test_a_device_is_selected_by_number_name_or_part_of_its_name(
    fake: FakePortAudio, wanted: str, name: str
) -> None:
    assert Opened(fake, HDA, OTHER, MOVED, device=wanted).stream.device.name == name


def test_another_output_of_the_same_card_is_another_device(fake: FakePortAudio) -> None:
    hdmi = Device("HDA Intel: HDMI (hw:1,3)")
    other = Device("HDA Intel: HDMI (hw:1,7)")
    one = Opened(fake, other, hdmi, device="HDA Intel: HDMI (hw:0,3) (ALSA)")
    assert one.stream.device is hdmi
    with pytest.raises(DeviceError, match="no device"):
        Opened(fake, hdmi, device="HDA Intel: HDMI (hw:0,7) (ALSA)")
    with pytest.raises(DeviceError, match="no device"):
        Opened(fake, hdmi, device="(hw:5,3)")


def test_of_two_equal_names_the_card_with_the_old_number_is_selected(fake: FakePortAudio) -> None:
    one = Opened(fake, SCARLETT, MOVED, device="Scarlett USB: Audio (hw:2,0) (ALSA)")
    assert one.stream.device is MOVED


def test_the_card_number_is_removed_from_names() -> None:
    assert without_card_number("USB: Audio (hw:12,0) (ALSA)") == "usb: audio (hw:*,0) (alsa)"
    assert without_card_number("USB: Audio (plughw:1)") == "usb: audio (hw:*)"
    assert without_card_number("default (ALSA)") == "default (alsa)"


PLUGIN = Device("jack", ch=32)
JACK = Device("system", host=JACK_HOST)


def test_jack_itself_takes_precedence_over_alsas_plugin(fake: FakePortAudio) -> None:
    assert Opened(fake, PLUGIN, HDA, JACK, device="jack").stream.device is JACK
    assert Opened(fake, PLUGIN, HDA, JACK, device="jack (ALSA)").stream.device is PLUGIN
    assert Opened(fake, PLUGIN, HDA, device="jack").stream.device is PLUGIN
    assert Opened(fake, PLUGIN, HDA, JACK).stream.device is JACK
    mono = Device("system", ch=1, host=JACK_HOST)
    assert Opened(fake, PLUGIN, HDA, mono).stream.device is mono


def test_the_period_that_portaudio_leaves_out_is_added_for_jack_alone(
    fake: FakePortAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portaudio, "jack_period", lambda: 1024)
    assert Opened(fake, JACK).info.latency == pytest.approx(0.01 + 1024 / 44100)
    assert Opened(fake, PLUGIN, device="jack").info.latency == pytest.approx(0.01)
    assert Opened(fake, HDA).info.latency == pytest.approx(0.01)


def test_alsas_jack_plugin_is_not_selected_by_default(fake: FakePortAudio) -> None:
    default = Device("jack", ch=32, default=True)
    assert Opened(fake, default, SCARLETT).stream.device is SCARLETT


def test_the_error_for_alsas_jack_plugin_names_the_cause(fake: FakePortAudio) -> None:
    with pytest.raises(DeviceError) as caught:
        Opened(fake, Device("jack", fault=-9985), HDA, device="jack")
    assert "'jack (ALSA)' is ALSA's plugin for JACK, not JACK itself" in str(caught.value)
    assert "start a JACK server" in str(caught.value)


def test_devices_are_listed_and_the_best_is_selected(fake: FakePortAudio) -> None:
    fake.devices = (Device("mono", ch=1, default=True), Device("in", ch=0), SCARLETT)
    listed = list_devices()
    assert [entry["name"] for entry in listed] == ["mono", SCARLETT.name]
    assert select_device(listed, None)["name"] == SCARLETT.name
    assert select_device(listed[:1], None)["name"] == "mono"


# Channels ----------------------------------------------------------------------------------


def test_a_mono_output_plays_half_the_sum_and_reports_it(fake: FakePortAudio) -> None:
    one = Opened(fake, Device("Mono thing (hw:0,0)", ch=1))
    assert one.stream.channels == 1
    heard = one.stream.play(64)
    left, right = one.blocks.fill(64, False).T
    assert np.array_equal(heard[:, 0], (left + right) / 2)
    assert one.info.note == "the device has one output, and plays (L+R)/2 on it"


def test_a_device_that_claims_two_channels_and_takes_one_plays_mono(fake: FakePortAudio) -> None:
    one = Opened(fake, Device("odd", ch=2, counts=(1,)))
    assert one.stream.channels == 1 and "(L+R)/2" in one.info.note


def test_a_card_that_requires_all_channels_plays_on_the_first_two(
    fake: FakePortAudio,
) -> None:
    one = Opened(fake, Device("ten", ch=10, counts=(10,)), cue="0")
    heard = one.stream.play(64)
    assert heard.shape == (64, 10)
    assert np.array_equal(heard[:, :2], one.blocks.fill(64, False))
    assert not heard[:, 2:].any()
    assert "takes all of its 10 outputs or none" in one.info.note
    with_cue = Opened(fake, Device("ten", ch=10, counts=(10,)))
    assert with_cue.info.cue and with_cue.blocks.channels == 4
    heard = with_cue.stream.play(64)
    assert np.array_equal(heard[:, :4], with_cue.blocks.fill(64, False))
    assert not heard[:, 4:].any()
    six = Opened(fake, Device("surround", ch=6, counts=(3, 6)), cue="0")
    assert six.stream.play(64).shape == (64, 6)


def test_the_cue_bus_is_on_outputs_3_and_4_if_available(fake: FakePortAudio) -> None:
    four = Opened(fake, Device("four", ch=4))
    assert (four.stream.channels, four.info.cue, four.info.note) == (4, True, "")
    two = Opened(fake, Device("four", ch=4, counts=(2,)))
    assert (two.stream.channels, two.info.cue, two.info.note) == (2, False, "")
    assert Opened(fake, Device("many", ch=32)).stream.channels == 2, "that of a sound server"
    assert Opened(fake, Device("many", ch=32), cue="2").stream.channels == 4
    missed = Opened(fake, HDA, cue="2")
    assert "the cue bus is not audible" in missed.info.note
    assert "the cue bus is not audible" in Opened(fake, Device("m", ch=1), cue="2").info.note


# Formats -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "step", "said"),
    [(INT32, 2.0**-24, "32 bits"), (INT24, 2.0**-24, "24 bits"), (INT16, 1.5 / 2**15, "16 bits")],
)
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_a_card_with_fewer_bits_plays_the_same_samples(
    fake: FakePortAudio, form: int, step: float, said: str, channels: int
) -> None:
    one = Opened(fake, Device("card", ch=channels, formats=(form,)))
    assert (one.stream.form, one.stream.channels) == (form, channels)
    assert f"the device takes {said} only: the mix is converted" in one.info.note
    blocks = one.blocks.fill(64, False)
    expected = blocks[:, :2].mean(axis=1, keepdims=True) if channels == 1 else blocks
    heard = one.stream.play(64)
    assert np.abs(heard - expected).max() <= step
    if channels == 2:
        assert np.array_equal(heard, expected), "samples on a step are unchanged"


def packed(form: str, block: np.ndarray) -> np.ndarray:
    """Return a block as the device receives it, as integers."""
    raw = bytes(OutputFormat(form, block.shape[1], len(block)).pack(block))
    if form == I24:
        wide = np.zeros((block.size, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        values: np.ndarray = wide.view("<i4")[:, 0] >> 8
    else:
        values = np.frombuffer(raw, "<i2" if form == I16 else "<i4").astype(np.int64)
    return values.reshape(block.shape)


def test_samples_above_full_scale_are_clipped() -> None:
    block = np.array([[1.0, -1.0], [2.0, -2.0]], np.float32)
    assert packed(I16, block).tolist() == [[32767, -32768]] * 2
    assert packed(I24, block).tolist() == [[2**23 - 1, -(2**23)]] * 2
    assert packed(I32, block).tolist() == [[(2**23 - 1) << 8, -(2**31)]] * 2
    assert packed(I24, np.array([[2.0**-23, -(2.0**-23)]], np.float32)).tolist() == [[1, -1]]


def test_16_bit_output_is_dithered_only_between_steps() -> None:
    quiet = np.full((20000, 2), 0.25 / 32768, np.float32)
    heard = packed(I16, quiet)
    assert set(np.unique(heard)) == {-1, 0, 1}
    assert heard.mean() == pytest.approx(0.25, abs=0.02)
    assert abs(np.corrcoef(heard[:, 0], heard[:, 1])[0, 1]) < 0.05
    assert not packed(I16, np.zeros((20000, 2), np.float32)).any()


def test_the_dither_does_not_depend_on_the_block_size() -> None:
    block = np.random.default_rng(2).uniform(-0.1, 0.1, (60000, 2)).astype(np.float32)
    cut, whole = OutputFormat(I16, 2, 1024), OutputFormat(I16, 2, 60000)
    parts = [bytes(cut.pack(block[at : at + 1000])) for at in range(0, 30000, 1000)]
    assert b"".join(parts) == bytes(whole.pack(block[:30000]))


def test_an_oversized_block_is_silence_of_the_right_length() -> None:
    block = np.ones((65, 2), np.float32)
    for form, size in ((F32, 4), (I32, 4), (I24, 3), (I16, 2)):
        assert bytes(OutputFormat(form, 3, 64).pack(block)) == bytes(65 * 3 * size)


# Rates -------------------------------------------------------------------------------------


def test_a_48_khz_card_is_opened_at_its_rate(fake: FakePortAudio) -> None:
    one = Opened(fake, Device("usb", rates=(48000.0,)))
    assert (one.info.sample_rate, one.stream.rate) == (48000.0, 48000.0)
    assert one.info.note == "the device refuses 44100 Hz and runs at 48000 Hz"


def test_a_card_that_rejects_its_default_rate_is_opened_at_a_common_one(
    fake: FakePortAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = FakeLibrary.get_device_info_by_index

    def lying(self: FakeLibrary, number: int) -> dict[str, Any]:
        return {**info(self, number), "defaultSampleRate": 22050.0}

    monkeypatch.setattr(FakeLibrary, "get_device_info_by_index", lying)
    one = Opened(fake, Device("liar", rates=(96000.0,), formats=(INT24,)))
    assert one.info.sample_rate == 96000.0
    assert "24 bits" in one.info.note and "96000" in one.info.note


def test_during_playback_the_mix_is_converted_to_the_cards_rate(
    fake: FakePortAudio,
) -> None:
    card = Device("usb", ch=1, formats=(INT24,), rates=(48000.0,))
    one = Opened(fake, card, keep_rate=True)
    assert one.stream.rate == 48000.0
    assert one.info.sample_rate == 44100.0, "the desk's rate"
    assert one.info.note.endswith("runs at 48000 Hz: the mix is converted")
    assert one.stream.frames == 70, "64 frames of 44.1 kHz"
    assert one.info.latency == pytest.approx(0.01 + 32 / 44100)
    one.blocks.level = 0.25
    heard = np.concatenate([one.stream.play(70) for _ in range(100)])
    assert heard[100:, 0] == pytest.approx(0.25, abs=2.0**-20)
    assert sum(one.blocks.counts) == pytest.approx(7000 * 44100 / 48000, abs=70)
    one.stream.play(70, status=4)
    assert one.blocks.flags[-1] is True and not any(one.blocks.flags[:-1])


@pytest.mark.parametrize(
    ("rate", "card_rate", "frames"),
    [(44100.0, 48000.0, 8192), (8000.0, 48000.0, 8192), (192000.0, 44100.0, 8192)],
)
def test_long_blocks_are_converted_as_well(
    fake: FakePortAudio, rate: float, card_rate: float, frames: int
) -> None:
    card = Device("usb", rates=(card_rate,))
    one = Opened(fake, card, keep_rate=True, rate=rate, frames=frames)
    one.blocks.level = 0.25
    heard = [one.stream.play(one.stream.frames) for _ in range(2)]
    assert heard[1] == pytest.approx(0.25, abs=2.0**-20)


def test_a_card_with_the_desks_rate_is_not_converted(fake: FakePortAudio) -> None:
    one = Opened(fake, HDA, keep_rate=True)
    assert one.stream.play(64).shape == (64, 2)
    assert one.blocks.counts == [64] and one.info.note == ""


def test_a_card_with_unusual_channels_format_and_rate_is_opened(fake: FakePortAudio) -> None:
    card = Device("worst", ch=8, counts=(8,), formats=(INT24,), rates=(48000.0,))
    one = Opened(fake, card)
    assert (one.stream.channels, one.stream.form, one.stream.rate) == (8, INT24, 48000.0)
    assert len(fake.tries) <= 10, "rejected parameters are not tried again"
    assert one.stream.play(64).shape == (64, 8)


def test_a_card_that_does_not_report_the_rejected_parameter_is_opened(
    fake: FakePortAudio,
) -> None:
    card = Device("mute", ch=1, formats=(INT16,), rates=(48000.0,), silent_codes=True)
    one = Opened(fake, card)
    assert (one.stream.channels, one.stream.form, one.stream.rate) == (1, INT16, 48000.0)
    wide = Device("mute", ch=8, counts=(8,), formats=(INT16,), rates=(48000.0,), silent_codes=True)
    assert Opened(fake, wide).stream.channels == 8


# Errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "cause", "advice"),
    [
        (Device("busy", fault=-9985), "Device unavailable", "another program holds it"),
        (Device("gone", fault=-9996), "Invalid device", "it is gone; plug it in"),
        (Device("big", fault=-9991), "Buffer too big", "a smaller --buffer-size"),
        (Device("odd", fault=-9999), "Unanticipated host error", "works with another program"),
        (Device("three", ch=2, counts=(3,)), "does not take 2 channels or 1 channel", "--device"),
        (Device("slow", rates=(8000.0,), fault=-9997), "44100 Hz or 8000 Hz or 48000 Hz", "choose"),
        (Device("bits", formats=()), "does not take 32-bit float or 32 bits or 24 bits or 16 bits",
         "choose another"),
    ],
)  # fmt: skip
def test_an_error_names_the_cause_and_the_remedy(
    fake: FakePortAudio, device: Device, cause: str, advice: str
) -> None:
    with pytest.raises(DeviceError) as caught:
        Opened(fake, device)
    text = str(caught.value)
    assert f"device '{device.name} (ALSA)'" in text
    assert cause in text and advice in text
    assert ("another program holds it" in text) == (device.fault == -9985)
    assert "\n" not in text


def test_a_busy_device_is_tried_only_once(fake: FakePortAudio) -> None:
    with pytest.raises(DeviceError):
        Opened(fake, Device("busy", fault=-9985))
    assert len(fake.tries) == 1


@pytest.mark.parametrize("error", [
    OSError("Invalid number of channels", -9998), ValueError("Invalid number of channels", -9998),
    OSError(-9998, "Invalid number of channels"),
    OSError("[Errno -9998] Invalid number of channels"),
])  # fmt: skip
def test_the_cause_is_found_in_all_pyaudio_errors(
    fake: FakePortAudio, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_self: object, **_how: object) -> None:
        raise error

    monkeypatch.setattr("tests.support.fake_portaudio.FakeLibrary.open", refuse)
    with pytest.raises(DeviceError, match="does not take 2 channels or 1 channel"):
        Opened(fake, HDA)


def test_a_missing_device_is_reported(fake: FakePortAudio) -> None:
    with pytest.raises(DeviceError, match="no sound device found: plug one in"):
        Opened(fake)
    with pytest.raises(DeviceError, match="no sound device found"):
        Opened(fake, Device("microphone", ch=0))
