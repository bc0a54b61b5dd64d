"""The control process: the server, started by the supervisor.

Its arguments are the number of the socket to the supervisor, the program's name, and the user's
arguments.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import crowdstream
from crowdstream import logs
from crowdstream.control.processes.fork_server import MODULES, ForkServer
from crowdstream.settings import (
    Resolved,
    SettingError,
    Settings,
    format_settings,
    resolve,
    validate,
)
from crowdstream.settings.schema import BY_NAME
from crowdstream.supervisor.fd_store import FdStore, end_with_parent
from crowdstream.system.process import exit_quietly_on_broken_pipe

YIELDED = 0  # exit status of a control process that makes way for another version's
BROKEN = 70  # exit status of a control process that has failed and is to be restarted

log = logging.getLogger("crowdstream")


def serve(argv: Sequence[str], prog: str = "crowdstream", store: FdStore | None = None) -> int:
    """Run the server until a signal, or for `--duration`; returns the exit status."""
    store = store or FdStore()
    read_settings = partial(_read_settings, argv, prog)
    earlier = store.kept.get("desk")
    if earlier:
        # The settings in effect, even if files and variables have changed since.
        settings = settings_in_effect(earlier.note["settings"])
        logs.set_up(settings)
        return _run(settings, store, read_settings)
    try:
        resolved = resolve(argv, prog=prog)
    except SettingError as error:
        print(f"crowdstream: {error}", file=sys.stderr)
        return 2
    if resolved.show_config:
        print(format_settings(resolved))
        return 0
    if resolved.list_devices:
        return list_devices()
    logs.set_up(resolved.settings)
    return _run(resolved.settings, store, read_settings, resolved)


def settings_in_effect(saved: Mapping[str, Any]) -> Settings:
    """Return the settings that an earlier control process has left, possibly of another version.

    Settings that this version does not have are left out.
    """
    return validate(**{name: value for name, value in saved.items() if name in BY_NAME})


def _read_settings(argv: Sequence[str], prog: str) -> Settings:
    # The settings as at a start. An update may have removed an option.
    try:
        return resolve(argv, prog=prog).settings
    except SystemExit:
        raise SettingError("the command line is not valid any more; see above") from None


def list_devices() -> int:
    """Print the output devices, then the input devices."""
    from crowdstream.desk.stream_info import DeviceError
    from crowdstream.engine.drivers.portaudio import list_devices as found

    try:
        devices, inputs = found(), found("Input")
    except DeviceError as error:
        print(f"crowdstream: {error}", file=sys.stderr)
        return 1
    for entry in devices:
        _print_device(entry)
    if not devices:
        print("no output devices; the server runs on its built-in clock (--driver null)")
    if inputs:
        print("inputs, for --input:")
    for entry in inputs:
        _print_device(entry)
    return 0


def _print_device(entry: dict[str, Any]) -> None:
    mark = "*" if entry["default"] else " "
    print(
        f"{mark}{entry['number']:3}  {entry['name']}  ({entry['host']}, "
        f"{entry['channels']} channels, {entry['sample_rate']:g} Hz, "
        f"{entry['latency'] * 1000:.1f} ms)"
    )


def _run(
    settings: Settings, store: FdStore, read_settings: Callable[[], Settings],
    resolved: Resolved | None = None,
) -> int:
    ended, reload, news = threading.Event(), threading.Event(), threading.Event()

    def end(_signal: int, _frame: Any) -> None:
        ended.set()
        news.set()

    def request_reload(_signal: int, _frame: Any) -> None:
        reload.set()
        news.set()

    # Before the imports, which take a second on a small machine.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    signal.signal(signal.SIGHUP, request_reload)
    begin = time.monotonic()
    fork_server = ForkServer(store)
    if resolved:
        fork_server.begin(MODULES)
    # Imported modules are not garbage; collecting during imports adds a tenth to their duration.
    gc.disable()
    from crowdstream.control.processes.child import ChildError
    from crowdstream.control.server import Server
    from crowdstream.control.startup import Cancelled
    from crowdstream.control.systemd import Notifier
    from crowdstream.desk.block import DeskError
    from crowdstream.desk.stream_info import DeviceError
    from crowdstream.osc.socket import PortTaken

    gc.freeze()
    gc.enable()
    if resolved:
        log.info("%s", resolved.preset_reason)
    server = Server(settings, Notifier.of_environment(), fork_server, read_settings)
    try:
        server.start(ended.is_set)
    except Cancelled:
        return 0
    except SettingError as error:
        logs.fatal(str(error))
        return 2
    except (PortTaken, DeviceError, DeskError, ChildError) as error:
        logs.fatal(str(error))
        return 1
    if store.upgrade is not None:
        log.info(
            "control of version %s has taken over %.1f s after starting",
            crowdstream.__version__, time.monotonic() - begin,
        )
    elif store.deaths:
        log.warning(
            "control has died (%s): its replacement has taken over %.1f s after starting",
            store.reason, time.monotonic() - begin,
        )
    server.on_end = news.set
    while server.running and not ended.is_set():
        left = None if server.until is None else server.until - time.monotonic()
        if left is not None and left <= 0:
            break
        news.wait(left)
        news.clear()
        if reload.is_set():
            reload.clear()
            server.request_reload()
    failed = not server.running
    if server.yielded:
        # All state is kept for the control process of another version.
        server.release()
        logging.shutdown()
        os._exit(YIELDED)
    on_trial = store.upgrade is not None and store.upgrade["stage"] == "rollout"
    if store.connected and (server.error is not None or (failed and on_trial)):
        # All state is kept for the next control process: skip the cleanup, which could damage it.
        logging.shutdown()
        os._exit(BROKEN)
    store.report_exit(int(failed))
    server.stop()
    return int(failed)


def main(arguments: list[str]) -> int:
    """Run the server. `arguments`: the supervisor's socket, program name, user's arguments."""
    with socket.socket(fileno=int(arguments[0])) as connection:
        connection.set_inheritable(False)
        try:
            end_with_parent(connection)
            store = FdStore(connection)
        except EOFError:
            return 1
        return serve(arguments[2:], arguments[1], store)


if __name__ == "__main__":
    sys.exit(exit_quietly_on_broken_pipe(lambda: main(sys.argv[1:])))
