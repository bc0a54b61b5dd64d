"""Information about the sound device that the engine sends to control."""

from __future__ import annotations

from dataclasses import dataclass


class DeviceError(RuntimeError):
    """The sound device cannot be opened; the message gives the reason and the remedy."""


@dataclass(frozen=True)
class StreamInfo:
    """Properties of the device once it is open.

    `sample_rate` is in Hz, `buffer_size` in frames. `latency`: seconds from the callback to the
    sound, as reported by the device. `note`: information for the user, such as a sample rate that
    differs from the requested one. `cue`: whether the cue bus plays on outputs 3 and 4.
    """

    driver: str
    device: str
    sample_rate: float
    buffer_size: int
    latency: float
    note: str = ""
    cue: bool = False
