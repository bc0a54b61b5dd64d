"""An input stream of PortAudio that writes to the ring of a live input."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from crowdstream.desk.constants import BANK_RATES
from crowdstream.desk.inputs import InputWriter
from crowdstream.desk.stream_info import DeviceError
from crowdstream.engine.drivers.devices import full_name, select_device
from crowdstream.engine.drivers.library import (
    COMMON_RATES,
    MAX_CHANNELS,
    StreamParameters,
    devices_of,
    open_closest,
    open_library,
    quiet,
)
from crowdstream.engine.drivers.sample_format import BYTES, CODES, FLOAT32, FORMATS, PORTAUDIO
from crowdstream.system.process import request_realtime

OVERFLOW = 0x2  # paInputOverflow
MAX_RATIO = BANK_RATES[-1]  # between the rates of device and mix
SILENT_SECONDS = 2.0  # a device that delivers no block for so long is gone
PRIORITY = 65  # below the engine's
_SHIFTS = {"int32": 2.0**-31, "int24": 2.0**-31, "int16": 2.0**-15}


def unpack(data: bytes, form: str, channels: int) -> np.ndarray:
    """Convert the bytes of a device to float32 `(frames, 2)`: one channel plays on both sides.

    Of more than two channels, the first two are used.
    """
    if form == FLOAT32:
        samples = np.frombuffer(data, "<f4").reshape(-1, channels)
    elif form == "int24":
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        samples = wide.view("<i4").reshape(-1, channels)
    else:
        samples = np.frombuffer(data, "<i4" if form == "int32" else "<i2").reshape(-1, channels)
    stereo = np.empty((len(samples), 2), np.float32)
    stereo[:] = samples[:, :2]
    if form != FLOAT32:
        stereo *= np.float32(_SHIFTS[form])
    return stereo


@dataclass(frozen=True)
class InputInfo:
    """The device of an open stream: `rate` in Hz, `latency` in seconds."""

    device: str
    rate: float
    latency: float
    note: str = ""


class InputStream:
    """A stream from the device `wanted`, in blocks of about `frames` frames of the mix.

    `rate` is that of the mix in Hz; the device may have another one. `open` starts the stream.
    """

    def __init__(self, writer: InputWriter, wanted: str, rate: float, frames: int) -> None:
        self._writer = writer
        self._wanted = wanted
        self._rate = rate
        self._frames = frames
        self._library: Any = None
        self._stream: Any = None
        self._continue = 0
        self._way = StreamParameters(2, FLOAT32, rate)
        self._first = True
        self._latest = time.monotonic()

    def open(self) -> InputInfo:
        """Open and start the stream. Raises `DeviceError`, and then holds no device."""
        module, self._library = open_library()
        self._continue = module.paContinue
        try:
            inputs = devices_of(self._library, "Input")
            if not inputs:
                raise DeviceError("no input device found: plug one in")
            entry = select_device(inputs, self._wanted)
            with quiet():
                way, self._stream = open_closest(
                    entry, self._candidates(entry), partial(self._try, module, entry), "--input"
                )
                self._writer.start(way.rate, round(self._frames * way.rate / self._rate))
                self._way = way
                self._latest = time.monotonic()
                self._stream.start_stream()
            latency = float(self._stream.get_input_latency())
        except OSError as error:
            self.close()
            raise DeviceError(f"the input device failed to start: {error}") from error
        except DeviceError:
            self.close()
            raise
        return InputInfo(full_name(entry), way.rate, latency, self._note(way))

    def _candidates(self, entry: dict[str, Any]) -> Iterator[StreamParameters]:
        there = entry["channels"]
        channels = [2] if there >= 2 else []
        channels.append(1)
        if 2 < there <= MAX_CHANNELS:  # a device that takes all of its channels or none
            channels.append(there)
        rates = (self._rate, entry["sample_rate"], *COMMON_RATES)
        for rate in dict.fromkeys(float(rate) for rate in rates):
            if rate / self._rate > MAX_RATIO:
                continue
            for form in FORMATS:
                for count in channels:
                    yield StreamParameters(count, form, rate)

    def _try(self, module: Any, entry: dict[str, Any], way: StreamParameters) -> Any:
        constant = PORTAUDIO[way.form]
        return self._library.open(
            rate=int(way.rate),
            channels=way.channels,
            format=getattr(module, constant, CODES[constant]),
            input=True,
            input_device_index=entry["number"],
            frames_per_buffer=round(self._frames * way.rate / self._rate),
            stream_callback=self._receive,
            start=False,
        )

    def _note(self, way: StreamParameters) -> str:
        notes = []
        if way.channels == 1:
            notes.append("one channel, on both sides")
        elif way.channels > 2:
            notes.append(f"the first two of {way.channels} channels")
        if way.rate != self._rate:
            notes.append("resampled")
        return ", ".join(notes)

    def _receive(self, data: bytes, frames: int, _time: Any, status: int) -> tuple[None, int]:
        now_ns = time.monotonic_ns()
        if self._first:
            self._first = False
            request_realtime(PRIORITY)
        way = self._way
        # A block of another size would be shifted from channel to channel.
        if len(data) == frames * way.channels * BYTES[way.form]:
            block = unpack(data, way.form, way.channels)
            self._writer.write(block, float(now_ns), bool(status & OVERFLOW))
        self._latest = now_ns * 1e-9
        return None, self._continue

    def alive(self) -> bool:
        """Whether the device still delivers blocks."""
        try:
            active = bool(self._stream.is_active())
        except OSError:
            return False
        return active and time.monotonic() - self._latest < SILENT_SECONDS

    def close(self) -> None:
        """Stop the stream, and fade the input out."""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()
            self._stream = None
        self._writer.stop()
        if self._library is not None:
            self._library.terminate()
            self._library = None
