"""MIDI ports of the system, by the optional package python-rtmidi: ALSA's sequencer, or JACK."""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from crowdstream.jack.client import JackClient, JackError
from crowdstream.system.text import install_command

CLIENT = "CrowdStream"  # of our own ports, which are never connected to each other
WITNESS = "CrowdStream watch"  # the JACK client that learns when the server ends
DELIVERY_SECONDS = 0.01  # for the delivery of a message that is in progress
MAX_QUEUE = 1024  # messages that wait; a device that floods loses its own oldest ones
SEQUENCER = Path("/dev/snd/seq")


class MidiError(Exception):
    """MIDI is not available; the text gives the reason and the remedy."""


class OutPort(Protocol):
    """An open output port."""

    def send(self, message: list[int]) -> None:
        """Send one message. Raises `MidiError`."""

    def close(self) -> None:
        """Close the port."""


class InPort:
    """An open input port: messages with the times of their arrival (monotonic seconds).

    `deliver` is called in the system's thread, and `take` in another.
    """

    def __init__(self, wake: Callable[[], None], close: Callable[[], None] = lambda: None) -> None:
        self._wake = wake
        self.close = close
        """Close the port."""
        self._messages: deque[tuple[float, list[int]]] = deque()
        self._lock = threading.Lock()
        self.lost = 0
        """Messages that were discarded because they arrived too fast."""

    def deliver(self, message: list[int]) -> None:
        """Queue a message."""
        now = time.monotonic()
        with self._lock:
            if len(self._messages) >= MAX_QUEUE:
                self._messages.popleft()
                self.lost += 1
            self._messages.append((now, message))
        self._wake()

    def take(self) -> list[tuple[float, list[int]]]:
        """Return the messages since the last call."""
        with self._lock:
            messages = list(self._messages)
            self._messages.clear()
        return messages


class System(Protocol):
    """The ports of the system."""

    def names(self) -> tuple[list[str], list[str]]:
        """Names of input and of output ports, without our own. Raises `MidiError`."""

    def open_in(self, name: str, wake: Callable[[], None]) -> InPort:
        """Open an input port. Raises `MidiError`."""

    def open_out(self, name: str) -> OutPort:
        """Open an output port. Raises `MidiError`."""

    def close(self) -> None:
        """Leave the system. Must not raise."""


class _Out:
    def __init__(self, port: Any) -> None:
        self._port = port

    def send(self, message: list[int]) -> None:
        try:
            self._port.send_message(message)
        except Exception as error:
            raise MidiError(str(error) or type(error).__name__) from error

    def close(self) -> None:
        self._port.close_port()
        self._port.delete()


@contextlib.contextmanager
def _without_messages() -> Iterator[None]:
    # JACK's library prints several lines at each attempt to reach a server that is not there.
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


class RtMidi:
    """The ports of python-rtmidi. `api`: alsa, jack, or auto for the one that is there."""

    def __init__(self, api: str = "auto") -> None:
        """Raises `MidiError`."""
        try:
            self._rtmidi = importlib.import_module("rtmidi")
        except ImportError:
            raise MidiError(
                f"MIDI needs the package python-rtmidi: {install_command('python-rtmidi>=1.5.8')}"
            ) from None
        rtmidi = self._rtmidi
        chosen = api
        if api == "auto":
            chosen = "alsa" if SEQUENCER.exists() else "jack"
        self.api = chosen
        self._api = rtmidi.API_LINUX_ALSA if chosen == "alsa" else rtmidi.API_UNIX_JACK
        if self._api not in rtmidi.get_compiled_api():
            raise MidiError(f"this python-rtmidi has no {chosen}: use another --midi-api")
        if chosen == "jack":
            os.environ["JACK_NO_START_SERVER"] = "1"
        self._inputs = self._make(rtmidi.MidiIn)
        self._outputs = self._make(rtmidi.MidiOut)
        # python-rtmidi goes on listing the ports of a JACK server that has ended.
        self._witness: JackClient | None = None
        if chosen == "jack":
            with contextlib.suppress(JackError):  # python-rtmidi brings its own JACK library
                self._witness = JackClient(WITNESS)

    def _make(self, kind: Any, **options: Any) -> Any:
        try:
            with _without_messages():
                return kind(self._api, name=CLIENT, **options)
        except Exception as error:
            remedy = "load the module snd-seq" if self.api == "alsa" else "start a JACK server"
            raise MidiError(f"no MIDI system ({self.api}): {remedy}, or set --midi-api") from error

    def names(self) -> tuple[list[str], list[str]]:
        """See `System`."""
        if self._witness is not None and self._witness.gone:
            raise MidiError("the JACK server has ended: start it again")
        try:
            found = [list(one.get_ports() or []) for one in (self._inputs, self._outputs)]
        except Exception as error:
            raise MidiError(f"the MIDI system does not respond: {error}") from error
        inputs, outputs = (
            [name for name in names if not name.startswith(CLIENT)] for names in found
        )
        return inputs, outputs

    def _open(self, port: Any, name: str) -> Any:
        try:
            port.open_port(list(port.get_ports()).index(name), name="midi")
        except Exception as error:
            port.delete()
            raise MidiError(f"{name} can't be opened: {error}") from error
        return port

    def open_in(self, name: str, wake: Callable[[], None]) -> InPort:
        """See `System`."""
        port = self._open(self._make(self._rtmidi.MidiIn), name)
        port.ignore_types(sysex=True, timing=False, active_sense=True)

        def close() -> None:
            # JACK's library waits for its thread when it closes a port, and that thread for the GIL
            # if it is about to deliver a message: let it finish first.
            port.cancel_callback()
            time.sleep(DELIVERY_SECONDS)
            port.close_port()
            port.delete()

        made = InPort(wake, close)
        port.set_callback(lambda event, _data: made.deliver(event[0]))
        return made

    def open_out(self, name: str) -> OutPort:
        """See `System`."""
        return _Out(self._open(self._make(self._rtmidi.MidiOut), name))

    def close(self) -> None:
        """See `System`: a JACK server may crash at its end when clients have just vanished."""
        for one in (self._inputs, self._outputs):
            with contextlib.suppress(Exception):
                one.delete()
        if self._witness is not None:
            self._witness.close()


def find_port(names: list[str], part: str) -> str | None:
    """Return the first port whose name contains `part`, whatever the case; None if there is none.

    A name that is equal takes precedence.
    """
    if part in names:
        return part
    return next((name for name in names if part.casefold() in name.casefold()), None)
