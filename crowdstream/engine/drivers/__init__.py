"""Output drivers: a PortAudio device, or the built-in clock."""

from __future__ import annotations

from typing import Protocol

from crowdstream.desk.stream_info import StreamInfo


class Driver(Protocol):
    """A source of callbacks. The first may come before `start` returns; `stop` is final."""

    def start(self) -> StreamInfo:
        """Open the device and start the stream. Raises `DeviceError`."""
        ...

    def stop(self) -> None:
        """Stop the stream and release the device."""
        ...

    def alive(self) -> bool:
        """Whether the device still requests frames."""
        ...
