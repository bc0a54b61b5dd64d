"""The control thread's event loop: file descriptors and the function to call for each."""

from __future__ import annotations

import selectors
from collections.abc import Callable


class EventLoop:
    """A selector that calls a function for each readable descriptor. For the control thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def add_reader(self, fd: int, action: Callable[[], object]) -> None:
        """Call `action` whenever `fd` is readable."""
        self._selector.register(fd, selectors.EVENT_READ, action)

    def remove_reader(self, fd: int) -> None:
        """Stop watching `fd`; call this before closing it. A closed loop watches nothing."""
        if self._selector.get_map():
            self._selector.unregister(fd)

    def wait(self, seconds: float) -> None:
        """Wait up to `seconds` for readable descriptors and call their functions."""
        for key, _events in self._selector.select(seconds):
            if self._selector.get_map().get(key.fd) is key:  # not removed by an earlier function
                key.data()

    def close(self) -> None:
        """Close the selector."""
        self._selector.close()
