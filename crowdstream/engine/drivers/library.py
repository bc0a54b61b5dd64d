"""The PortAudio library: its devices, and streams with the parameters that a device supports."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from crowdstream.desk.stream_info import DeviceError
from crowdstream.engine.drivers.devices import full_name, is_jack_plugin
from crowdstream.engine.drivers.sample_format import TEXTS

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
        "another program holds it; close that, or choose another with {option}",
    ),
    -9996: ("invalid device", "it is gone; plug it in, or choose another with {option}"),
    -9991: ("buffer too big", "choose a smaller --buffer-size"),
    -9990: ("buffer too small", "choose a larger --buffer-size"),
    -9992: ("insufficient memory", "the machine is out of memory; close other programs"),
    -9987: ("wait timed out", "the sound server does not answer; restart it"),
}

Stream = TypeVar("Stream")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress messages of the host libraries about absent devices."""
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as sink:
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def open_library() -> tuple[Any, Any]:
    """Return PyAudio's module, and PortAudio with the devices that exist now.

    Raises `DeviceError` if either is not available.
    """
    try:
        import pyaudio
    except ImportError as error:
        reason = "PyAudio is not installed: run ./start-crowdstream.sh --install-only"
        raise DeviceError(reason) from error
    with quiet():
        try:
            return pyaudio, pyaudio.PyAudio()
        except OSError as error:
            raise DeviceError(f"PortAudio failed to start: {error}") from error


def devices_of(library: Any, side: str = "Output") -> list[dict[str, Any]]:
    """Devices with outputs, or with inputs if `side` is `Input`.

    For each: number, name, host API, channels, default sample rate (Hz), low latency (s), default.
    """
    found = []
    try:
        default = int(getattr(library, f"get_default_{side.lower()}_device_info")()["index"])
    except OSError:
        default = -1
    for number in range(library.get_device_count()):
        info = library.get_device_info_by_index(number)
        if info[f"max{side}Channels"] < 1:
            continue
        found.append(
            {
                "number": number,
                "name": info["name"],
                "host": library.get_host_api_info_by_index(info["hostApi"])["name"],
                "channels": int(info[f"max{side}Channels"]),
                "sample_rate": float(info["defaultSampleRate"]),
                "latency": float(info[f"defaultLow{side}Latency"]),
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


def open_closest(
    entry: dict[str, Any],
    ways: Iterable[StreamParameters],
    attempt: Callable[[StreamParameters], Stream],
    option: str,
) -> tuple[StreamParameters, Stream]:
    """Open a stream with the first of `ways`, in order of preference, that the device supports.

    `attempt` opens it or raises `OSError`. Raises `DeviceError`, whose message names the setting
    `option` that chooses another device.
    """
    refusals: list[tuple[StreamParameters, Refusal]] = []
    useless: set[object] = set()  # channels, formats and rates that the device rejects
    for way in ways:
        if useless & {("channels", way.channels), ("form", way.form), ("rate", way.rate)}:
            continue
        try:
            return way, attempt(way)
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
    raise DeviceError(_explain(entry, refusals, option))


_REFUSED: dict[int, Callable[[StreamParameters], str]] = {
    INVALID_CHANNELS: lambda way: f"{way.channels} channel{'s' if way.channels > 1 else ''}",
    INVALID_RATE: lambda way: f"{way.rate:g} Hz",
    INVALID_FORMAT: lambda way: TEXTS[way.form],
}
"""The rejected parameter as text, by PortAudio's code."""


def _explain(
    entry: dict[str, Any], refusals: list[tuple[StreamParameters, Refusal]], option: str
) -> str:
    """Return a line that explains why a device does not open, and the remedy."""
    name = full_name(entry)
    refusal = refusals[-1][1]
    if is_jack_plugin(entry):
        return (
            f"device {name!r} is ALSA's plugin for JACK, not JACK itself, and does not open "
            f"({refusal.text}): start a JACK server, or choose another with {option}"
        )
    if all(one.code in _REFUSED for _, one in refusals):
        tried = []
        for code, shown in _REFUSED.items():
            values = dict.fromkeys(shown(way) for way, one in refusals if one.code == code)
            tried += [" or ".join(values)] if values else []
        return (
            f"device {name!r} does not take {', nor '.join(tried)}: choose another with "
            f"{option} (--list-devices shows them)"
        )
    _, advice = _REASONS.get(refusal.code, ("", ""))
    advice = advice or "check that it works with another program, or choose another with {option}"
    advice = advice.format(option=option)
    return f"device {name!r} does not open ({refusal.text}): {advice}"
