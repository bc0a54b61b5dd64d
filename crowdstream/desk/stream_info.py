"""What the engine tells control about the sound device."""

from __future__ import annotations

from dataclasses import dataclass


class DeviceError(RuntimeError):
    """The sound device can't be opened; the message says why and what to do."""


@dataclass(frozen=True)
class StreamInfo:
    """What the device turned out to be.

    `latency`: seconds from the callback to the sound, as the device reports it. `note`: what
    the user should know, such as a sample rate that is not the one asked for. `cue`: the cue bus
    plays on outputs 3 and 4.
    """

    driver: str
    device: str
    sample_rate: float
    buffer_size: int
    latency: float
    note: str = ""
    cue: bool = False
