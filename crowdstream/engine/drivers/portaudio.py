"""Output to a sound device through PyAudio's callback stream."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from crowdstream.desk.stream_info import DeviceError, StreamInfo
from crowdstream.engine.drivers.callback import MAX_FRAMES, Callback
from crowdstream.engine.drivers.devices import full_name, is_jack, select_device
from crowdstream.engine.drivers.jack_period import jack_period
from crowdstream.engine.drivers.library import (
    COMMON_RATES,
    MAX_CHANNELS,
    StreamParameters,
    devices_of,
    open_closest,
    open_library,
    quiet,
)
from crowdstream.engine.drivers.rate_converter import RateConverter
from crowdstream.engine.drivers.sample_format import (
    CODES,
    FLOAT32,
    FORMATS,
    PORTAUDIO,
    TEXTS,
    OutputFormat,
)

UNDERFLOW = 0x4  # paOutputUnderflow
# A device with more outputs belongs to a sound server, which accepts any number and mixes them
# down: the cue bus would be audible in the room.
MAX_OUTPUTS = 24

def list_devices(side: str = "Output") -> list[dict[str, Any]]:
    """See `devices_of`.

    Raises `DeviceError` if PyAudio or PortAudio is not available.
    """
    _module, library = open_library()
    try:
        return devices_of(library, side)
    finally:
        library.terminate()


class PortAudioDriver:
    """A callback stream of two channels, four with the cue bus, or as many as the device takes.

    PortAudio calls back on its own thread. PyAudio acquires the GIL for each call, so this process
    runs no other Python code while the stream is running.
    """

    def __init__(
        self,
        callback: Callback,
        device: str | None,
        sample_rate: float,
        frames: int,
        cue: str = "auto",
    ) -> None:
        """`cue`: "2" plays the cue bus on outputs 3 and 4, "0" does not, "auto" if possible."""
        self._callback = callback
        self._wanted = device
        self._rate = self._opened_rate = sample_rate
        self._frames = frames
        self._cue = cue
        self._library: Any = None
        self._stream: Any = None
        self._continue = 0
        self._output = OutputFormat(FLOAT32, 2, 0)
        self._converter: RateConverter | None = None
        self._flagged = False
        self._left_out = 0.0  # seconds that PortAudio leaves out of the latency
        self.keep_rate = False
        """Set it to convert the mix for a device that supports only another sample rate."""

    def open(self) -> StreamInfo:
        """Open the device without starting it. Its rate may differ from the requested one."""
        module, self._library = open_library()
        self._continue = module.paContinue
        try:
            entry = select_device(devices_of(self._library), self._wanted)
            with quiet():
                way, self._stream = open_closest(
                    entry, self._candidates(entry), partial(self._try, module, entry), "--device"
                )
        except DeviceError:
            self.stop()
            raise
        if is_jack(entry):
            with quiet():
                self._left_out = jack_period() / way.rate
        note = self._note(entry, way)
        self._opened_rate = self._rate if self._converter else way.rate
        cue = self._callback.channels == 4
        return StreamInfo(
            "pyaudio", full_name(entry), self._opened_rate, self._frames, self._latency(), note, cue
        )

    def _latency(self) -> float:
        held_back = self._converter.delay if self._converter else 0.0
        return float(self._stream.get_output_latency()) + self._left_out + held_back

    def start(self) -> StreamInfo:
        """Start playback. `open` must have been called."""
        try:
            self._stream.start_stream()
        except OSError as error:
            raise DeviceError(f"the device failed to start: {error}") from error
        return StreamInfo("pyaudio", "", self._opened_rate, self._frames, self._latency())

    def stop(self) -> None:
        """Stop the stream and release the device."""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()
            self._stream = None
        if self._library is not None:
            self._library.terminate()
            self._library = None

    def alive(self) -> bool:
        """Whether the stream is active; a device that disappears makes it inactive."""
        try:
            return bool(self._stream.is_active())
        except OSError:
            return False

    def _candidates(self, entry: dict[str, Any]) -> Iterator[StreamParameters]:
        there = entry["channels"]
        cue = self._cue == "2" or (self._cue == "auto" and there <= MAX_OUTPUTS)
        channels = [4] if cue and there >= 4 else []
        channels += [2] if there >= 2 else []
        if 2 < there <= MAX_CHANNELS:  # a device that takes all of its channels or none
            channels.append(there)
        channels.append(1)
        rates = (self._rate, entry["sample_rate"], *COMMON_RATES)
        for rate in dict.fromkeys(float(rate) for rate in rates):
            for form in FORMATS:
                for count in dict.fromkeys(channels):
                    yield StreamParameters(count, form, rate)

    def _try(self, module: Any, entry: dict[str, Any], way: StreamParameters) -> Any:
        # Four channels with the cue bus, also on a device that requires all of its channels.
        wide = way.channels >= 4 and (
            self._cue == "2" or (self._cue == "auto" and way.channels <= MAX_OUTPUTS)
        )
        self._callback.channels = 4 if wide else 2
        self._output = OutputFormat(way.form, way.channels, MAX_FRAMES)
        self._converter, frames = None, self._frames
        if self.keep_rate and way.rate != self._rate:
            # The same duration, unless that would be more frames than a block may have.
            frames = min(round(frames * way.rate / self._rate), MAX_FRAMES)
            most = max(frames, MAX_FRAMES // 4)
            self._converter = RateConverter(self._rate, way.rate, self._callback.channels, most)
        constant = PORTAUDIO[way.form]
        return self._library.open(
            rate=int(way.rate),
            channels=way.channels,
            format=getattr(module, constant, CODES[constant]),
            output=True,
            output_device_index=entry["number"],
            frames_per_buffer=frames,
            stream_callback=self._fill,
            start=False,
        )

    def _note(self, entry: dict[str, Any], way: StreamParameters) -> str:
        # Deviations from the request.
        notes = []
        if way.channels == 1:
            notes.append("the device has one output, and plays (L+R)/2 on it")
        elif way.channels > 4:
            notes.append(
                f"the device takes all of its {way.channels} outputs or none: the others are silent"
            )
        if self._cue == "2" and self._callback.channels != 4:
            notes.append(
                f"the device plays {way.channels} of its {entry['channels']} outputs: the "
                "cue bus is not audible on it"
            )
        if way.form != FLOAT32:
            notes.append(f"the device takes {TEXTS[way.form]} only: the mix is converted")
        if way.rate != self._rate:
            notes.append(
                f"the device refuses {self._rate:g} Hz and runs at {way.rate:g} Hz"
                + (": the mix is converted" if self._converter else "")
            )
        return "; ".join(notes)

    def _fill(self, _data: Any, frames: int, moment: Any, status: int) -> tuple[Any, int]:
        self._flagged = status & UNDERFLOW != 0
        if self._converter is None:
            # The device's own clock may count from any moment.
            left = moment["output_buffer_dac_time"] - moment["current_time"]
            heard = time.monotonic_ns() + int(left * 1e9) if left > 0.0 else 0
            block = self._callback.fill(frames, self._flagged, heard)
        else:
            block = self._converter.read(frames, self._render)
        return self._output.pack(block), self._continue

    def _render(self, frames: int) -> np.ndarray:
        return self._callback.fill(frames, self._flagged)
