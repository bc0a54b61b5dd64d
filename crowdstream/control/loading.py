"""The loader process as control knows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crowdstream.control.children import Child
from crowdstream.control.hearing import Hearing
from crowdstream.desk.block import Desk


def start_loader(desk: Desk) -> Child:
    """The loader as a process. Raises `ChildError`."""
    return Child("crowdstream.library.process", str(desk.fd), desk.fd)


class Loading:
    """Sends requests to the loader and hands on what it says. For the control thread."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._heard: Callable[[dict[str, Any]], None] = lambda _event: None

    @property
    def child(self) -> Child:
        """The process."""
        return self._child

    @property
    def pid(self) -> int:
        """Process number."""
        return self._child.pid

    @property
    def finished(self) -> bool:
        """Whether it has ended for good."""
        return self._child.finished

    def listen(self, hearing: Hearing, heard: Callable[[dict[str, Any]], None]) -> None:
        """Have `heard` get every event from now on."""
        self._heard = heard
        hearing.listen(self._child.out, self._hear)

    def send(self, request: dict[str, Any]) -> None:
        """Queue one request; never blocks."""
        self._child.send(request)

    def tick(self) -> None:
        """Look after it; call it every 10 ms or so."""
        self._child.push()

    def _hear(self) -> None:
        for event in self._child.read():
            self._heard(event)
