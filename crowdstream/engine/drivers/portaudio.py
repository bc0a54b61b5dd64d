"""A sound device through PyAudio's callback stream."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from crowdstream.desk.stream import DeviceError, StreamInfo
from crowdstream.engine.callback import Callback

UNDERFLOW = 0x4  # paOutputUnderflow
# A device with more is a sound server's, which takes any number and mixes it down to what there
# is: the cue bus would be heard in the room.
MOST_OUTPUTS = 24


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the host libraries' own chatter about absent devices off the log."""
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
            raise DeviceError(f"PortAudio does not start: {error}") from error


def list_devices() -> list[dict[str, Any]]:
    """Output devices: number, name, host API, channels, default sample rate, low latency (s).

    Raises `DeviceError` when PyAudio or PortAudio is not to be had.
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


def _choose(outputs: list[dict[str, Any]], wanted: str | None) -> dict[str, Any]:
    if not outputs:
        raise DeviceError(
            "no sound device found: plug one in (--driver null runs on the built-in clock)"
        )
    if wanted is None:
        stereo = [entry for entry in outputs if entry["channels"] > 1] or outputs
        # A JACK server runs only where somebody wants it used.
        stereo = [entry for entry in stereo if entry["host"].startswith("JACK")] or stereo
        return next((entry for entry in stereo if entry["default"]), stereo[0])
    for entry in outputs:
        if wanted in (str(entry["number"]), f"{entry['name']} ({entry['host']})"):
            return entry
    for entry in outputs:
        if wanted.lower() in f"{entry['name']} {entry['host']}".lower():
            return entry
    names = ", ".join(f"{e['number']} {e['name']!r} ({e['host']})" for e in outputs)
    raise DeviceError(f"no device {wanted!r}: there are {names} (--list-devices shows them)")


class PortAudioDriver:
    """A float32 callback stream of two channels, or four with the cue bus.

    PortAudio calls back on a thread of its own; PyAudio takes the GIL for each call, so this
    process does nothing else in Python while the stream runs.
    """

    def __init__(
        self,
        callback: Callback,
        device: str | None,
        sample_rate: float,
        frames: int,
        cue: str = "auto",
    ) -> None:
        """`cue`: "2" plays the cue bus on outputs 3 and 4, "0" does not, "auto" where it can."""
        self._callback = callback
        self._wanted = device
        self._rate = sample_rate
        self._frames = frames
        self._cue = cue
        self._library: Any = None
        self._stream: Any = None
        self._go_on = 0

    def open(self) -> StreamInfo:
        """Open the device without starting it: its rate may not be the one asked for."""
        module, self._library = _open_library()
        self._go_on = module.paContinue
        entry = _choose(_outputs(self._library), self._wanted)
        note = self._choose_channels(entry)
        with _quiet():
            try:
                self._stream = self._try_narrower(module, entry, self._rate)
            except (OSError, ValueError) as first:
                other = entry["sample_rate"]
                try:
                    self._stream = self._try_narrower(module, entry, other)
                except (OSError, ValueError) as error:
                    self._library.terminate()
                    raise DeviceError(
                        f"device {entry['name']!r} does not open ({first}): another program may "
                        "hold it; close that, or choose another with --device"
                    ) from error
                told = f"the device refuses {self._rate:g} Hz and runs at {other:g} Hz"
                note = f"{note}; {told}" if note else told
                self._rate = other
        latency = float(self._stream.get_output_latency())
        name = f"{entry['name']} ({entry['host']})"
        cue = self._callback.channels == 4
        return StreamInfo("pyaudio", name, self._rate, self._frames, latency, note, cue)

    def start(self) -> StreamInfo:
        """Begin to play; `open` must have been called."""
        try:
            self._stream.start_stream()
        except OSError as error:
            raise DeviceError(f"the device does not start: {error}") from error
        latency = float(self._stream.get_output_latency())
        return StreamInfo("pyaudio", "", self._rate, self._frames, latency)

    def stop(self) -> None:
        """Stop and free the device."""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()
            self._stream = None
        if self._library is not None:
            self._library.terminate()
            self._library = None

    def alive(self) -> bool:
        """Whether the stream is active; a device that vanished makes it inactive."""
        try:
            return bool(self._stream.is_active())
        except OSError:
            return False

    def _choose_channels(self, entry: dict[str, Any]) -> str:
        # Four channels where the device has them; what is to be told if it has not.
        there = entry["channels"]
        if self._cue == "2" and there < 4:
            return f"the device has {there} outputs: the cue bus is not heard on it"
        wanted = self._cue == "2" or (self._cue == "auto" and 4 <= there <= MOST_OUTPUTS)
        self._callback.channels = 4 if wanted else 2
        return ""

    def _try_narrower(self, module: Any, entry: dict[str, Any], rate: float) -> Any:
        # A device may have four outputs and still not open them all at once.
        try:
            return self._try(module, entry, rate)
        except (OSError, ValueError):
            if self._callback.channels == 2 or self._cue == "2":
                raise
            self._callback.channels = 2
            return self._try(module, entry, rate)

    def _try(self, module: Any, entry: dict[str, Any], rate: float) -> Any:
        return self._library.open(
            rate=int(rate),
            channels=self._callback.channels,
            format=module.paFloat32,
            output=True,
            output_device_index=entry["number"],
            frames_per_buffer=self._frames,
            stream_callback=self._fill,
            start=False,
        )

    def _fill(self, _data: Any, frames: int, _time: Any, status: int) -> tuple[Any, int]:
        return self._callback.fill(frames, status & UNDERFLOW != 0), self._go_on
