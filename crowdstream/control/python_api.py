"""The Python API: a server as an object in a script."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import crowdstream.control.handlers  # noqa: F401  (fills the table)
from crowdstream import logs
from crowdstream.commands.errors import UnknownAddress
from crowdstream.commands.registry import PLACES, TABLE
from crowdstream.control.engine_queue.request import discard_reply
from crowdstream.control.server import Server
from crowdstream.desk.stream_info import StreamInfo
from crowdstream.settings import resolve


def _flattened(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flattened(value)
        else:
            yield value


class PythonAudioServer:
    """Runs a server from a script. It can be started and stopped any number of times.

    `osc_port`: UDP port (0: any free port); `audio_device`: number or part of the name, None
    for the default; `chunk_size`: frames per block, None for the preset's. Other settings are
    passed by name (`driver="null"`). There is no web page without `http=True`. Raises
    `SettingError` for an invalid value.

    Every address of the command table has a method `osc_<name>`. Its first argument is the
    address ("" is enough if the name is unambiguous), followed by the command's arguments:
    `osc_play_stem("", 100, 1.0)`, `osc_deck_rate("/deck/A/rate", 1.06)`. It returns True, or
    False if the command failed; the reason is logged.
    """

    def __init__(
        self,
        osc_port: int = 57120,
        audio_device: int | str | None = None,
        chunk_size: int | None = None,
        **settings: Any,
    ) -> None:
        if chunk_size is not None:
            settings["buffer_size"] = chunk_size
        if audio_device is not None:
            settings["device"] = str(audio_device)
        settings["port"] = osc_port
        settings.setdefault("http", False)
        self._settings = resolve((), os.environ, values=settings).settings
        self._server: Server | None = None
        self._logs = False

    def start(self) -> StreamInfo:
        """Open the sound device and the port; return when the server is ready to play.

        Raises `PortTaken`, `DeviceError`, `DeskError` or `ChildError`.
        """
        if self._server is not None:
            raise RuntimeError("the server is already running: call stop() first")
        # Leave the logging of a script alone that has set up its own.
        self._logs = not logging.getLogger().handlers
        if self._logs:
            logs.set_up(self._settings)
        server = Server(self._settings)
        try:
            info = server.start()
        except BaseException:
            self._end_logs()
            raise
        self._server = server
        return info

    def stop(self) -> None:
        """Stop the server, and release device, port and memory."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()
            self._end_logs()

    def _end_logs(self) -> None:
        if self._logs:
            logs.end()

    def status(self) -> dict[str, Any]:
        """Return the named values of `/status.reply`."""
        server = self._running()
        values = server.call(server.core.status.values)[9:]
        return dict(zip(values[::2], values[1::2], strict=True))

    @property
    def port(self) -> int:
        """The UDP port on which the server listens."""
        return self._running().port

    def send(
        self, address: str, *arguments: Any, reply: Callable[..., None] = discard_reply
    ) -> bool:
        """Carry out a command and return whether it succeeded.

        `reply(address, *arguments)` receives its replies. Lists and tuples among the arguments are
        flattened, like arrays in an OSC message.
        """
        return self._running().run_command(address, tuple(_flattened(arguments)), reply)

    def __enter__(self) -> PythonAudioServer:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def __getattr__(self, name: str) -> Callable[..., bool]:
        command = TABLE.by_name(name[4:]) if name.startswith("osc_") else None
        if command is None:
            raise AttributeError(f"PythonAudioServer has no {name}")
        known = command.names[name[4:]]

        def call(address: str, *arguments: Any) -> bool:
            for place, spellings in PLACES.items():
                if f"{{{place}}}" in known and not address:
                    example = known.replace(f"{{{place}}}", spellings[0][0])
                    raise UnknownAddress(
                        f"{name} needs the address of a {place}, such as {example}"
                    )
            return self.send(address or known, *arguments)

        return call

    def _running(self) -> Server:
        if self._server is None:
            raise RuntimeError("the server is not running: call start() first")
        return self._server
