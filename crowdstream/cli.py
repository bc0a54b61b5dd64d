"""The command line: the server in the foreground, and the subcommands."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import crowdstream
from crowdstream import logs
from crowdstream.settings import Resolved, SettingError, format_settings, resolve

USAGE = """\
usage: crowdstream COMMAND [options]

  serve     run the server (crowdstream serve --help lists its options)
  render    render a set to a sound file, faster than it plays (crowdstream render --help)
  doctor    look at this machine and say what to change (crowdstream doctor --help)
  compile   compile the kernels, so that the first start is as fast as any
  reference print the OSC reference (docs/osc.md)
  --version print the version
"""

log = logging.getLogger("crowdstream")


def main(argv: Sequence[str] | None = None) -> int:
    """`crowdstream COMMAND ...`; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["serve"]:
        return serve(arguments[1:], "crowdstream serve")
    if arguments[:1] == ["render"]:
        from crowdstream.offline.command import render

        return render(arguments[1:])
    if arguments[:1] == ["doctor"]:
        from crowdstream.doctor.command import doctor

        return doctor(arguments[1:])
    if {"-h", "--help"} & set(arguments):
        print(USAGE, end="")
        return 0
    if arguments == ["--version"]:
        print(f"crowdstream {crowdstream.__version__}")
        return 0
    if arguments == ["compile"]:
        return compile_kernels()
    if arguments == ["reference"]:
        from crowdstream.control.reference import reference

        print(reference(), end="")
        return 0
    if arguments[:1] in (["compile"], ["reference"]):
        print(f"crowdstream: {arguments[0]} takes no arguments", file=sys.stderr)
    elif arguments:
        print(f"crowdstream: there is no command {arguments[0]!r}", file=sys.stderr)
    print(USAGE, end="", file=sys.stderr)
    return 2


def compile_kernels() -> int:
    """Compile every kernel into the cache, and delete those of old versions."""
    begin = time.monotonic()
    import crowdstream.engine.ledger  # importing is compiling
    import crowdstream.engine.render  # noqa: F401
    from crowdstream.caches import prune
    from crowdstream.engine.kernels import kernels

    # First: the file of machine code is old, too, where nothing notes when it was read.
    deleted = prune([Path(os.environ["NUMBA_CACHE_DIR"])])
    kernels()
    print(f"kernels ready after {time.monotonic() - begin:.1f} s")
    if deleted:
        print(f"deleted those of {deleted} older versions, not used for a month")
    return 0


def serve(argv: Sequence[str], prog: str = "crowdstream") -> int:
    """Run the server until a signal, or for `--seconds`; returns the exit status."""
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
    return _run(resolved)


def list_devices() -> int:
    """Print the output devices."""
    from crowdstream.desk.stream import DeviceError
    from crowdstream.engine.drivers.portaudio import list_devices as found

    try:
        devices = found()
    except DeviceError as error:
        print(f"crowdstream: {error}", file=sys.stderr)
        return 1
    for entry in devices:
        mark = "*" if entry["default"] else " "
        print(
            f"{mark}{entry['number']:3}  {entry['name']}  ({entry['host']}, "
            f"{entry['channels']} channels, {entry['sample_rate']:g} Hz, "
            f"{entry['latency'] * 1000:.1f} ms)"
        )
    if not devices:
        print("no output devices; the server runs on its built-in clock (--driver null)")
    return 0


def _run(resolved: Resolved) -> int:
    ended = threading.Event()

    def end(_signal: int, _frame: Any) -> None:
        ended.set()

    # Before the imports: they take a second on a small machine.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    from crowdstream.control.children import ChildError
    from crowdstream.control.osc import PortTaken
    from crowdstream.control.server import Server
    from crowdstream.control.startup import Cancelled
    from crowdstream.control.systemd import Notifier
    from crowdstream.desk.block import DeskError
    from crowdstream.desk.stream import DeviceError

    log.info("%s", resolved.preset_reason)
    server = Server(resolved.settings, Notifier.of_environment())
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
    until = resolved.settings.seconds
    deadline = time.monotonic() + until if until else None
    try:
        while server.running and not ended.is_set():
            left = 0.2 if deadline is None else min(0.2, deadline - time.monotonic())
            if left <= 0:
                break
            ended.wait(left)
        failed = not server.running
    finally:
        server.stop()
    return 1 if failed else 0
