"""`crowdstream doctor`: all checks, as text lines or as JSON."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from crowdstream.doctor import (
    disk,
    kernels,
    memory,
    network,
    scheduling,
    service,
    software,
    sound,
)
from crowdstream.doctor.check import FAIL, OK, WARN, Check, Machine
from crowdstream.settings import SettingError, Settings, resolve
from crowdstream.settings import build_parser as settings_parser

# 2 is the status for an invalid option, as in all commands.
STATUS = {OK: 0, WARN: 1, FAIL: 3}

HELP = """\
usage: crowdstream doctor [--json] [options of the server]

Checks this machine. Prints one line for each subject, which is in order (ok), could be better
(warn) or will not work (fail), with the remedy. Pass the same options as to the server; without
options, those of the installed service apply.

  --json    one JSON object instead: {"state": ..., "checks": [{"name", "state", "text", "fix",
            "data"}, ...]}

Exit status: 0 everything is in order, 1 something could be better, 2 an invalid option, 3
something will not work.
"""


def _checks(
    machine: Machine, settings: Settings
) -> Iterator[tuple[str, Callable[[], Check | None]]]:
    """All checks, with the name under which a failure of the check itself is reported."""
    found = service.installed(machine)
    yield "Python", software.python
    yield "libraries", software.libraries
    yield "file formats", software.formats
    yield "loader's rights", software.confinement
    yield "compiled kernels", kernels.kernel_cache
    yield "sound device", lambda: sound.devices(settings)
    yield "sound card access", lambda: sound.access(machine)
    yield "USB autosuspend", lambda: scheduling.usb_autosuspend(machine)
    yield "real-time priority", lambda: scheduling.realtime(machine)
    yield "memlock", scheduling.memlock
    yield "CPU governor", lambda: scheduling.governor(machine)
    yield "power supply", lambda: scheduling.throttling(machine)
    yield "temperature", lambda: scheduling.temperature(machine)
    yield "clock source", lambda: scheduling.clock_source(machine)
    yield "NTP", lambda: scheduling.synchronized(machine)
    yield "clock", lambda: scheduling.clock(machine, settings)
    yield "shared memory", lambda: memory.shared_memory(machine, settings)
    yield "free memory", lambda: memory.free_memory(machine, settings)
    yield "swap", lambda: memory.swap(machine)
    for kind, folders in disk.folders(settings).items():
        for folder in folders:
            yield f"disk speed ({kind})", partial(disk.speed, kind, folder)
    yield "disk speed (cache)", lambda: disk.speed("cache", kernels.folder())
    for folder in disk.folders(settings)["recordings"]:
        yield "free space", partial(disk.free_space, folder)
    yield "network", lambda: network.exposure(settings)
    yield "port", lambda: network.port(machine, settings, service.running(machine, found))
    yield "service", lambda: service.units(machine, found)
    for unit in found:
        yield unit.name, partial(service.state, machine, unit)
        if unit.name == service.DJ:
            yield "DJ's music", partial(service.music, machine, unit)
    yield "library", lambda: service.library(machine, found)


def examine(machine: Machine, settings: Settings) -> Iterator[Check]:
    """Run all checks in order. A check that fails with an exception becomes a warning."""
    for name, check in _checks(machine, settings):
        try:
            found = check()
        except Exception as error:  # an unexpected machine must not hide the other checks
            found = Check(name, WARN, f"the check failed: {type(error).__name__}: {error}")
        if found is not None:
            yield found


def worst(checks: Sequence[Check]) -> str:
    """Return the worst state of the checks."""
    states = {check.state for check in checks}
    return next(state for state in (FAIL, WARN, OK) if state in states or state == OK)


def _as_root_here(fix: str) -> str:
    # Root needs no sudo; without an installed sudo, recommend su.
    if os.geteuid() == 0:
        return fix.replace("sudo ", "")
    if "sudo " in fix and shutil.which("sudo") is None:
        return f"as root (su): {fix.replace('sudo ', '')}"
    return fix


def line(check: Check, wide: int = 26) -> str:
    """Format a check as one line."""
    text = f"{check.state:5} {check.name:{wide}} {check.text}"
    if check.fix:
        text += f" -> {_as_root_here(check.fix)}"
    return "".join(c if c.isprintable() else "?" for c in text)


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except UnicodeEncodeError:
        print(text.encode("ascii", "replace").decode(), flush=True)


def build_parser() -> argparse.ArgumentParser:
    """Return a parser of all options: those of the server, and --json."""
    parser = settings_parser("crowdstream doctor")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def doctor(argv: Sequence[str], machine: Machine | None = None) -> int:
    """Run `crowdstream doctor ...` and return the exit status."""
    arguments = list(argv)
    if {"-h", "--help"} & set(arguments):
        print(HELP, end="")
        return 0
    as_json = "--json" in arguments
    arguments = [word for word in arguments if word != "--json"]
    machine = machine or Machine()
    arguments = arguments or service.server_options(service.installed(machine))
    try:
        settings = resolve(arguments, prog="crowdstream doctor").settings
    except SettingError as error:
        print(f"crowdstream: {error}", file=sys.stderr)
        return 2
    checks = []
    for check in examine(machine, settings):
        checks.append(check)
        if not as_json:
            _print(line(check))
    state = worst(checks)
    if as_json:
        report = {"state": state, "checks": [vars(check) for check in checks]}
        _print(json.dumps(report, indent=1, default=str))
    return STATUS[state]
