"""A PortAudio without sound cards: the part of PyAudio's module that the server uses.

Devices are described by the parameters that they support; all others are refused with PortAudio's
own codes and texts. An open stream is driven by hand and returns the audible samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FLOAT32, INT32, INT24, INT16 = 1, 2, 4, 8
SCALES = {INT32: 2.0**31, INT24: 2.0**23, INT16: 2.0**15}
TIMES = {"input_buffer_adc_time": 0.0, "current_time": 5.0, "output_buffer_dac_time": 5.01}
"""The time information that PortAudio passes to a callback, in seconds."""
ALSA, JACK_HOST = "ALSA", "JACK Audio Connection Kit"
TEXTS = {
    -9998: "Invalid number of channels", -9997: "Invalid sample rate",
    -9994: "Sample format not supported", -9985: "Device unavailable", -9996: "Invalid device",
    -9999: "Unanticipated host error", -9991: "Buffer too big",
}  # fmt: skip


@dataclass(frozen=True)
class Device:
    """A device. `counts`: supported numbers of channels (default: all up to `ch`, or `inputs`)."""

    name: str
    ch: int = 2
    host: str = ALSA
    rates: tuple[float, ...] = (44100.0, 48000.0)
    formats: tuple[int, ...] = (FLOAT32, INT32, INT24, INT16)
    counts: tuple[int, ...] = ()
    default: bool = False
    fault: int = 0
    """Error code for every attempt to open it."""
    silent_codes: bool = False
    """Its errors do not name the rejected parameter."""
    inputs: int = 0
    """Input channels."""

    def refusal(self, rate: float, channels: int, form: int) -> int:
        """Return the error code for these parameters; 0: it opens."""
        if self.fault:
            return self.fault
        code = 0
        if channels not in (self.counts or range(1, max(self.ch, self.inputs) + 1)):
            code = -9998
        elif form not in self.formats:
            code = -9994
        elif rate not in self.rates:
            code = -9997
        return -9999 if code and self.silent_codes else code


@dataclass
class FakeStream:
    """An open stream. `play` requests a block like the device would."""

    rate: float
    channels: int
    form: int
    device: Device
    callback: Callable[..., tuple[Any, int]]
    frames: int = 0
    active: bool = False
    closed: bool = False
    records: bool = False

    def _call_back(self, *arguments: Any) -> tuple[Any, int]:
        # Like PortAudio on a thread of its own, which is the one that asks for real-time priority.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(self.callback, *arguments).result()

    def record(self, samples: np.ndarray, status: int = 0) -> None:
        """Deliver a block of an input: float `(frames, channels)`, full scale 1."""
        if self.form == FLOAT32:
            data = samples.astype("<f4").tobytes()
        elif self.form == INT24:
            whole = np.rint(samples * 2.0**23).astype("<i4")
            data = whole.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
        else:
            whole = np.rint(samples * SCALES[self.form])
            data = whole.astype("<i4" if self.form == INT32 else "<i2").tobytes()
        answer, go_on = self._call_back(data, len(samples), {}, status)
        assert answer is None and go_on == 0

    def play(self, frames: int, status: int = 0) -> np.ndarray:
        """Return the samples of the next block: float64 `(frames, channels)`, full scale 1."""
        data, go_on = self._call_back(None, frames, TIMES, status)
        assert go_on == 0
        raw = bytes(data)
        size = {FLOAT32: 4, INT32: 4, INT24: 3, INT16: 2}[self.form]
        assert len(raw) == frames * self.channels * size, "PortAudio ends such a stream"
        if self.form == FLOAT32:
            samples = np.frombuffer(raw, "<f4").astype(np.float64)
        elif self.form == INT24:
            wide = np.zeros((frames * self.channels, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
            samples = wide.view("<i4")[:, 0] / 2.0**31
        else:
            kind = "<i4" if self.form == INT32 else "<i2"
            samples = np.frombuffer(raw, kind) / SCALES[self.form]
        return samples.reshape(frames, self.channels)

    def get_output_latency(self) -> float:
        return 0.01

    def get_input_latency(self) -> float:
        return 0.012

    def start_stream(self) -> None:
        self.active = True

    def is_active(self) -> bool:
        return self.active

    def close(self) -> None:
        self.active, self.closed = False, True


@dataclass
class FakePortAudio:
    """Replacement for the module `pyaudio`. Change `devices` to plug cards in and out."""

    devices: Sequence[Device] = ()
    streams: list[FakeStream] = field(default_factory=list)
    tries: list[tuple[int, int, float]] = field(default_factory=list)
    """Channels, format and rate of each attempt to open a stream."""
    libraries: int = 0
    """Number of instances that were not terminated."""

    paFloat32, paInt32, paInt24, paInt16, paContinue = FLOAT32, INT32, INT24, INT16, 0

    def PyAudio(self) -> FakeLibrary:
        """Start PortAudio with the devices that exist now."""
        self.libraries += 1
        return FakeLibrary(self)


class FakeLibrary:
    """One `PyAudio()`. `stream`: the class of its streams."""

    stream = FakeStream

    def __init__(self, module: FakePortAudio) -> None:
        self._module = module
        self._devices = tuple(module.devices)
        self._hosts = list(dict.fromkeys(device.host for device in self._devices))

    def get_device_count(self) -> int:
        return len(self._devices)

    def get_device_info_by_index(self, number: int) -> dict[str, Any]:
        device = self._devices[number]
        return {
            "index": number, "name": device.name, "hostApi": self._hosts.index(device.host),
            "maxOutputChannels": device.ch, "defaultSampleRate": device.rates[0],
            "defaultLowOutputLatency": 0.0087,
            "maxInputChannels": device.inputs, "defaultLowInputLatency": 0.0087,
        }  # fmt: skip

    def get_default_output_device_info(self) -> dict[str, Any]:
        for number, device in enumerate(self._devices):
            if device.default:
                return self.get_device_info_by_index(number)
        raise OSError("No Default Output Device Available")

    def get_default_input_device_info(self) -> dict[str, Any]:
        for number, device in enumerate(self._devices):
            if device.default and device.inputs:
                return self.get_device_info_by_index(number)
        raise OSError("No Default Input Device Available")

    def get_host_api_info_by_index(self, number: int) -> dict[str, Any]:
        return {"name": self._hosts[number]}

    def open(self, **how: Any) -> FakeStream:
        side = "input" if how.get("input") else "output"
        assert how[side] and how["start"] is False
        device = self._devices[how[f"{side}_device_index"]]
        wanted = (how["channels"], how["format"], float(how["rate"]))
        self._module.tries.append(wanted)
        if code := device.refusal(wanted[2], wanted[0], wanted[1]):
            raise OSError(code, TEXTS[code])
        stream = self.stream(
            wanted[2],
            wanted[0],
            wanted[1],
            device,
            how["stream_callback"],
            how["frames_per_buffer"],
            records=side == "input",
        )
        self._module.streams.append(stream)
        return stream

    def terminate(self) -> None:
        self._module.libraries -= 1
