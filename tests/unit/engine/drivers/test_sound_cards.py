"""Sound cards of all kinds, by a fake PortAudio: what is opened, what is heard, what is said."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from crowdstream.desk.stream_info import DeviceError, StreamInfo
from crowdstream.engine.drivers.devices import choose, without_card_number
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
    """Stands for the engine's callback: numbered samples, and the cue bus where it is wanted."""

    def __init__(self) -> None:
        self.channels = 2
        self.flags: list[bool] = []
        self.counts: list[int] = []
        self.level: float | None = None

    def fill(self, frames: int, flagged: bool) -> np.ndarray:
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
    """A driver that has been opened and closed, its stream and what it said."""

    def __init__(self, fake: FakePortAudio, *devices: Device, **how: Any) -> None:
        fake.devices = devices
        rate, name = how.pop("rate", 44100.0), how.pop("device", None)
        keep_rate = how.pop("keep_rate", False)
        self.blocks = Blocks()
        driver = PortAudioDriver(self.blocks, name, rate, 64, **how)  # type: ignore[arg-type]
        driver.keep_rate = keep_rate
        self.info: StreamInfo = driver.open()
        self.stream: FakeStream = fake.streams[-1]
        driver.start()
        assert driver.alive()
        driver.stop()
        assert self.stream.closed


def test_a_usual_card_gets_the_engines_own_block(fake: FakePortAudio) -> None:
    one = Opened(fake, HDA)
    assert (one.stream.channels, one.stream.form, one.stream.rate) == (2, FLOAT32, 44100.0)
    assert one.info.note == "" and not one.info.cue
    assert one.stream.callback(None, 64, {}, 0)[0].shape == (64, 2)
    assert len(fake.tries) == 1
    one.stream.play(64, status=4)
    assert one.blocks.flags[-1] is True


# Which device ------------------------------------------------------------------------------


def test_a_card_that_returns_under_another_number_is_recognised_by_its_name(
    fake: FakePortAudio,
) -> None:
    first = Opened(fake, HDA, SCARLETT, device="scarlett")
    assert first.info.device == "Scarlett USB: Audio (hw:1,0) (ALSA)"
    again = Opened(fake, HDA, OTHER, MOVED, device=first.info.device)
    assert again.info.device == "Scarlett USB: Audio (hw:2,0) (ALSA)"
    assert again.stream.device is MOVED


def test_while_a_card_is_gone_another_one_under_its_number_is_not_taken_for_it(
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
def test_a_device_is_meant_by_number_name_or_part_of_it(
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


def test_of_two_cards_of_one_name_the_one_with_the_old_number_is_meant(fake: FakePortAudio) -> None:
    one = Opened(fake, SCARLETT, MOVED, device="Scarlett USB: Audio (hw:2,0) (ALSA)")
    assert one.stream.device is MOVED


def test_names_without_the_cards_number() -> None:
    assert without_card_number("USB: Audio (hw:12,0) (ALSA)") == "usb: audio (hw:*,0) (alsa)"
    assert without_card_number("USB: Audio (plughw:1)") == "usb: audio (hw:*)"
    assert without_card_number("default (ALSA)") == "default (alsa)"


PLUGIN = Device("jack", ch=32)
JACK = Device("system", host=JACK_HOST)


def test_jack_itself_is_taken_before_alsas_plugin_for_it(fake: FakePortAudio) -> None:
    assert Opened(fake, PLUGIN, HDA, JACK, device="jack").stream.device is JACK
    assert Opened(fake, PLUGIN, HDA, JACK, device="jack (ALSA)").stream.device is PLUGIN
    assert Opened(fake, PLUGIN, HDA, device="jack").stream.device is PLUGIN
    assert Opened(fake, PLUGIN, HDA, JACK).stream.device is JACK
    mono = Device("system", ch=1, host=JACK_HOST)
    assert Opened(fake, PLUGIN, HDA, mono).stream.device is mono


def test_alsas_plugin_for_jack_is_not_chosen_by_itself(fake: FakePortAudio) -> None:
    default = Device("jack", ch=32, default=True)
    assert Opened(fake, default, SCARLETT).stream.device is SCARLETT


def test_a_plugin_whose_jack_does_not_run_is_called_what_it_is(fake: FakePortAudio) -> None:
    with pytest.raises(DeviceError) as caught:
        Opened(fake, Device("jack", fault=-9985), HDA, device="jack")
    assert "'jack (ALSA)' is ALSA's plugin for JACK, not JACK itself" in str(caught.value)
    assert "start a JACK server" in str(caught.value)


def test_devices_are_listed_and_the_best_is_chosen(fake: FakePortAudio) -> None:
    fake.devices = (Device("mono", ch=1, default=True), Device("in", ch=0), SCARLETT)
    listed = list_devices()
    assert [entry["name"] for entry in listed] == ["mono", SCARLETT.name]
    assert choose(listed, None)["name"] == SCARLETT.name
    assert choose(listed[:1], None)["name"] == "mono"


# Channels ----------------------------------------------------------------------------------


def test_a_mono_output_plays_half_the_sum_and_says_so(fake: FakePortAudio) -> None:
    one = Opened(fake, Device("Mono thing (hw:0,0)", ch=1))
    assert one.stream.channels == 1
    heard = one.stream.play(64)
    left, right = one.blocks.fill(64, False).T
    assert np.array_equal(heard[:, 0], (left + right) / 2)
    assert one.info.note == "the device has one output, and plays (L+R)/2 on it"


def test_a_device_that_claims_two_channels_and_takes_one_plays_mono(fake: FakePortAudio) -> None:
    one = Opened(fake, Device("odd", ch=2, counts=(1,)))
    assert one.stream.channels == 1 and "(L+R)/2" in one.info.note


def test_a_card_that_opens_with_all_its_channels_only_plays_on_the_first_two(
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


def test_the_cue_bus_is_on_outputs_3_and_4_where_there_are_so_many(fake: FakePortAudio) -> None:
    four = Opened(fake, Device("four", ch=4))
    assert (four.stream.channels, four.info.cue, four.info.note) == (4, True, "")
    two = Opened(fake, Device("four", ch=4, counts=(2,)))
    assert (two.stream.channels, two.info.cue, two.info.note) == (2, False, "")
    assert Opened(fake, Device("many", ch=32)).stream.channels == 2, "a sound server's"
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
def test_a_card_of_few_bits_is_opened_in_them_and_plays_the_same(
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
        assert np.array_equal(heard, expected), "what lies on a step is not changed"


def packed(form: str, block: np.ndarray) -> np.ndarray:
    """What a device gets of a block, as whole numbers."""
    raw = bytes(OutputFormat(form, block.shape[1], len(block)).pack(block))
    if form == I24:
        wide = np.zeros((block.size, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        values: np.ndarray = wide.view("<i4")[:, 0] >> 8
    else:
        values = np.frombuffer(raw, "<i2" if form == I16 else "<i4").astype(np.int64)
    return values.reshape(block.shape)


def test_full_scale_is_not_exceeded_and_does_not_wrap() -> None:
    block = np.array([[1.0, -1.0], [2.0, -2.0]], np.float32)
    assert packed(I16, block).tolist() == [[32767, -32768]] * 2
    assert packed(I24, block).tolist() == [[2**23 - 1, -(2**23)]] * 2
    assert packed(I32, block).tolist() == [[(2**23 - 1) << 8, -(2**31)]] * 2
    assert packed(I24, np.array([[2.0**-23, -(2.0**-23)]], np.float32)).tolist() == [[1, -1]]


def test_16_bits_are_dithered_between_their_steps_and_only_there() -> None:
    quiet = np.full((20000, 2), 0.25 / 32768, np.float32)
    heard = packed(I16, quiet)
    assert set(np.unique(heard)) == {-1, 0, 1}
    assert heard.mean() == pytest.approx(0.25, abs=0.02)
    assert abs(np.corrcoef(heard[:, 0], heard[:, 1])[0, 1]) < 0.05
    assert not packed(I16, np.zeros((20000, 2), np.float32)).any()


def test_the_dither_does_not_depend_on_how_blocks_are_cut() -> None:
    block = np.random.default_rng(2).uniform(-0.1, 0.1, (60000, 2)).astype(np.float32)
    cut, whole = OutputFormat(I16, 2, 1024), OutputFormat(I16, 2, 60000)
    parts = [bytes(cut.pack(block[at : at + 1000])) for at in range(0, 30000, 1000)]
    assert b"".join(parts) == bytes(whole.pack(block[:30000]))


def test_more_frames_than_any_device_asks_for_are_silence_of_the_right_length() -> None:
    block = np.ones((65, 2), np.float32)
    for form, size in ((F32, 4), (I32, 4), (I24, 3), (I16, 2)):
        assert bytes(OutputFormat(form, 3, 64).pack(block)) == bytes(65 * 3 * size)


# Rates -------------------------------------------------------------------------------------


def test_a_card_of_48_khz_is_opened_at_that_rate(fake: FakePortAudio) -> None:
    one = Opened(fake, Device("usb", rates=(48000.0,)))
    assert (one.info.sample_rate, one.stream.rate) == (48000.0, 48000.0)
    assert one.info.note == "the device refuses 44100 Hz and runs at 48000 Hz"


def test_a_card_whose_own_rate_is_refused_is_opened_at_a_common_one(
    fake: FakePortAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = FakeLibrary.get_device_info_by_index

    def lying(self: FakeLibrary, number: int) -> dict[str, Any]:
        return {**info(self, number), "defaultSampleRate": 22050.0}

    monkeypatch.setattr(FakeLibrary, "get_device_info_by_index", lying)
    one = Opened(fake, Device("liar", rates=(96000.0,), formats=(INT24,)))
    assert one.info.sample_rate == 96000.0
    assert "24 bits" in one.info.note and "96000" in one.info.note


def test_where_the_music_plays_already_it_is_converted_to_the_cards_rate(
    fake: FakePortAudio,
) -> None:
    card = Device("usb", ch=1, formats=(INT24,), rates=(48000.0,))
    one = Opened(fake, card, keep_rate=True)
    assert one.stream.rate == 48000.0
    assert one.info.sample_rate == 44100.0, "that of the desk"
    assert one.info.note.endswith("runs at 48000 Hz: the mix is converted")
    assert one.stream.frames == 70, "64 frames of 44.1 kHz"
    assert one.info.latency == pytest.approx(0.01 + 32 / 44100)
    one.blocks.level = 0.25
    heard = np.concatenate([one.stream.play(70) for _ in range(100)])
    assert heard[100:, 0] == pytest.approx(0.25, abs=2.0**-20)
    assert sum(one.blocks.counts) == pytest.approx(7000 * 44100 / 48000, abs=70)
    one.stream.play(70, status=4)
    assert one.blocks.flags[-1] is True and not any(one.blocks.flags[:-1])


def test_a_card_of_the_desks_own_rate_is_not_converted(fake: FakePortAudio) -> None:
    one = Opened(fake, HDA, keep_rate=True)
    assert one.stream.play(64).shape == (64, 2)
    assert one.blocks.counts == [64] and one.info.note == ""


def test_everything_at_once(fake: FakePortAudio) -> None:
    card = Device("worst", ch=8, counts=(8,), formats=(INT24,), rates=(48000.0,))
    one = Opened(fake, card)
    assert (one.stream.channels, one.stream.form, one.stream.rate) == (8, INT24, 48000.0)
    assert len(fake.tries) <= 10, "what a device refused by name is not tried again"
    assert one.stream.play(64).shape == (64, 8)


def test_a_card_that_does_not_say_what_it_refuses_is_opened_all_the_same(
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
def test_an_error_names_the_real_cause_and_what_to_do(
    fake: FakePortAudio, device: Device, cause: str, advice: str
) -> None:
    with pytest.raises(DeviceError) as caught:
        Opened(fake, device)
    text = str(caught.value)
    assert f"device '{device.name} (ALSA)'" in text
    assert cause in text and advice in text
    assert ("another program holds it" in text) == (device.fault == -9985)
    assert "\n" not in text


def test_a_busy_device_is_not_asked_again_and_again(fake: FakePortAudio) -> None:
    with pytest.raises(DeviceError):
        Opened(fake, Device("busy", fault=-9985))
    assert len(fake.tries) == 1


@pytest.mark.parametrize("error", [
    OSError("Invalid number of channels", -9998), ValueError("Invalid number of channels", -9998),
    OSError(-9998, "Invalid number of channels"),
    OSError("[Errno -9998] Invalid number of channels"),
])  # fmt: skip
def test_the_cause_is_known_however_pyaudio_says_it(
    fake: FakePortAudio, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_self: object, **_how: object) -> None:
        raise error

    monkeypatch.setattr("tests.support.fake_portaudio.FakeLibrary.open", refuse)
    with pytest.raises(DeviceError, match="does not take 2 channels or 1 channel"):
        Opened(fake, HDA)


def test_without_any_device_it_says_so(fake: FakePortAudio) -> None:
    with pytest.raises(DeviceError, match="no sound device found: plug one in"):
        Opened(fake)
    with pytest.raises(DeviceError, match="no sound device found"):
        Opened(fake, Device("microphone", ch=0))
