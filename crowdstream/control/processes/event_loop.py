"""What the control thread listens to: descriptors that come and go, and what each is for."""

from __future__ import annotations

import selectors
from collections.abc import Callable


class EventLoop:
    """A selector whose entries are functions. For the control thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def listen(self, fd: int, action: Callable[[], object]) -> None:
        """Call `action` whenever something can be read from `fd`."""
        self._selector.register(fd, selectors.EVENT_READ, action)

    def forget(self, fd: int) -> None:
        """Listen to `fd` no longer; to be said before it is closed."""
        self._selector.unregister(fd)

    def wait(self, seconds: float) -> None:
        """Wait until something can be read, or so long; call what belongs to it."""
        for key, _events in self._selector.select(seconds):
            if self._selector.get_map().get(key.fd) is key:  # not forgotten a moment ago
                key.data()

    def close(self) -> None:
        """Listen to nothing any more."""
        self._selector.close()
