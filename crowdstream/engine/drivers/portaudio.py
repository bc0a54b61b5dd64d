"""Output to a sound device through PyAudio's callback stream."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from crowdstream.desk.stream_info import DeviceError, StreamInfo
from crowdstream.engine.drivers.callback import MAX_FRAMES, Callback
from crowdstream.engine.drivers.devices import full_name, is_jack_plugin, select_device
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
MAX_CHANNELS = 64  # most channels to open on a device that takes all of its channels or none
COMMON_RATES = (48000.0, 44100.0, 96000.0)
MAX_TRIES = 64  # if PortAudio does not report which part of a request it rejects
INVALID_CHANNELS, INVALID_RATE, INVALID_FORMAT = -9998, -9997, -9994

# PortAudio's error texts (in lower case), and the remedy for each.
_REASONS = {
    INVALID_CHANNELS: ("invalid number of channels", ""),
    INVALID_RATE: ("invalid sample rate", ""),
    INVALID_FORMAT: ("sample format not supported", ""),
    -9985: (
        "device unavailable",
        "another program holds it; close that, or choose another with --device",
    ),
    -9996: ("invalid device", "it is gone; plug it in, or choose another with --device"),
    -9991: ("buffer too big", "choose a smaller --buffer-size"),
    -9990: ("buffer too small", "choose a larger --buffer-size"),
    -9992: ("insufficient memory", "the machine is out of memory; close other programs"),
    -9987: ("wait timed out", "the sound server does not answer; restart it"),
}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress messages of the host libraries about absent devices."""
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as sink:
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _open_library() -> tuple[Any, Any]:
    try:
        import pyaudio
    except ImportError as error:
        reason = "PyAudio is not installed: run ./start-crowdstream.sh --install-only"
        raise DeviceError(reason) from error
    with _quiet():
        try:
            return pyaudio, pyaudio.PyAudio()
        except OSError as error:
            raise DeviceError(f"PortAudio failed to start: {error}") from error


def list_devices() -> list[dict[str, Any]]:
    """Output devices: number, name, host API, channels, default sample rate (Hz), low latency (s).

    Raises `DeviceError` if PyAudio or PortAudio is not available.
    """
    _module, library = _open_library()
    try:
        return _outputs(library)
    finally:
        library.terminate()


def _outputs(library: Any) -> list[dict[str, Any]]:
    found = []
    try:
        default = int(library.get_default_output_device_info()["index"])
    except OSError:
        default = -1
    for number in range(library.get_device_count()):
        info = library.get_device_info_by_index(number)
        if info["maxOutputChannels"] < 1:
            continue
        found.append(
            {
                "number": number,
                "name": info["name"],
                "host": library.get_host_api_info_by_index(info["hostApi"])["name"],
                "channels": int(info["maxOutputChannels"]),
                "sample_rate": float(info["defaultSampleRate"]),
                "latency": float(info["defaultLowOutputLatency"]),
                "default": number == default,
            }
        )
    return found


@dataclass(frozen=True)
class StreamParameters:
    """One way to open a device: channels, sample format, sample rate."""

    channels: int
    form: str
    rate: float


class Refusal(NamedTuple):
    """Reason why a device did not open: PortAudio's code (0: unknown) and text."""

    code: int
    text: str

    @classmethod
    def of(cls, error: Exception) -> Refusal:
        """Extract code and text from a PyAudio exception, whose arguments come in either order."""
        codes = [one for one in error.args if isinstance(one, int) and one in _REASONS]
        texts = [one for one in error.args if isinstance(one, str)]
        text = texts[0] if texts else str(error)
        if codes:
            return cls(codes[0], text)
        known = (code for code, (words, _) in _REASONS.items() if words in text.lower())
        return cls(next(known, 0), text)


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
        self.keep_rate = False
        """Set it to convert the mix for a device that supports only another sample rate."""

    def open(self) -> StreamInfo:
        """Open the device without starting it. Its rate may differ from the requested one."""
        module, self._library = _open_library()
        self._continue = module.paContinue
        try:
            entry = select_device(_outputs(self._library), self._wanted)
            with _quiet():
                way = self._open_closest(module, entry)
        except DeviceError:
            self.stop()
            raise
        note = self._note(entry, way)
        self._opened_rate = self._rate if self._converter else way.rate
        cue = self._callback.channels == 4
        return StreamInfo(
            "pyaudio", full_name(entry), self._opened_rate, self._frames, self._latency(), note, cue
        )

    def _latency(self) -> float:
        held_back = self._converter.delay if self._converter else 0.0
        return float(self._stream.get_output_latency()) + held_back

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

    def _open_closest(self, module: Any, entry: dict[str, Any]) -> StreamParameters:
        """Open the stream with the supported parameters that are closest to the requested ones."""
        refusals: list[tuple[StreamParameters, Refusal]] = []
        useless: set[object] = set()  # channels, formats and rates that the device rejects
        for way in self._candidates(entry):
            if useless & {("channels", way.channels), ("form", way.form), ("rate", way.rate)}:
                continue
            try:
                self._stream = self._try(module, entry, way)
                return way
            except (OSError, ValueError) as error:
                refusal = Refusal.of(error)
                refusals.append((way, refusal))
            if refusal.code == INVALID_CHANNELS:
                useless.add(("channels", way.channels))
            elif refusal.code == INVALID_FORMAT:
                useless.add(("form", way.form))
            elif refusal.code == INVALID_RATE:
                useless.add(("rate", way.rate))
            elif refusal.code or len(refusals) >= MAX_TRIES:
                break
        raise DeviceError(_explain(entry, refusals))

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
            self._converter = RateConverter(
                self._rate, way.rate, self._callback.channels, MAX_FRAMES // 4
            )
            frames = round(frames * way.rate / self._rate)  # the same duration
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

    def _fill(self, _data: Any, frames: int, _time: Any, status: int) -> tuple[Any, int]:
        self._flagged = status & UNDERFLOW != 0
        if self._converter is None:
            block = self._render(frames)
        else:
            block = self._converter.read(frames, self._render)
        return self._output.pack(block), self._continue

    def _render(self, frames: int) -> np.ndarray:
        return self._callback.fill(frames, self._flagged)


_REFUSED: dict[int, Callable[[StreamParameters], str]] = {
    INVALID_CHANNELS: lambda way: f"{way.channels} channel{'s' if way.channels > 1 else ''}",
    INVALID_RATE: lambda way: f"{way.rate:g} Hz",
    INVALID_FORMAT: lambda way: TEXTS[way.form],
}
"""The rejected parameter as text, by PortAudio's code."""


def _explain(entry: dict[str, Any], refusals: list[tuple[StreamParameters, Refusal]]) -> str:
    """Return a line that explains why a device does not open, and the remedy."""
    name = full_name(entry)
    refusal = refusals[-1][1]
    if is_jack_plugin(entry):
        return (
            f"device {name!r} is ALSA's plugin for JACK, not JACK itself, and does not open "
            f"({refusal.text}): start a JACK server, or choose another with --device"
        )
    if all(one.code in _REFUSED for _, one in refusals):
        tried = []
        for code, shown in _REFUSED.items():
            values = dict.fromkeys(shown(way) for way, one in refusals if one.code == code)
            tried += [" or ".join(values)] if values else []
        return (
            f"device {name!r} does not take {', nor '.join(tried)}: choose another with --device "
            "(--list-devices shows them)"
        )
    _, advice = _REASONS.get(refusal.code, ("", ""))
    advice = advice or "check that it works with another program, or choose another with --device"
    return f"device {name!r} does not open ({refusal.text}): {advice}"
