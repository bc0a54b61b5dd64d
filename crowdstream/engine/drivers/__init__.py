"""Where the frames go: a PortAudio device, or the built-in clock."""

from __future__ import annotations

from typing import Protocol

from crowdstream.desk.stream_info import StreamInfo


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
