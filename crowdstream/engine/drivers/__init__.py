"""Where the frames go: a PortAudio device, or the built-in clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class DeviceError(RuntimeError):
    """The sound device can't be opened; the message says why and what to do."""


@dataclass(frozen=True)
class StreamInfo:
    """What the device turned out to be.

    `latency`: seconds from the callback to the sound, as the device reports it.
    """

    driver: str
    device: str
    sample_rate: float
    buffer_size: int
    latency: float
    note: str = ""


class Driver(Protocol):
    """A source of callbacks. `start` returns when the first may come; `stop` is final."""

    def start(self) -> StreamInfo:
        """Open the device and begin; raises `DeviceError`."""
        ...

    def stop(self) -> None:
        """End the stream and free the device."""
        ...

    def alive(self) -> bool:
        """Whether the device still asks for frames."""
        ...
