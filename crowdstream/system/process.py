"""The environment of the server's child processes, without its secrets, and their command lines.

A home folder for a user who has none.

Watch for the end of another process.

Run work at the lowest priority, so that audio never waits for it.

Write messages to the parent process, and handle standard output that is no longer read, as behind
`| head`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import pwd
import select
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent.parent
SECRETS = frozenset({"CROWDSTREAM_HTTP_TOKEN", "CROWDSTREAM_BROADCAST"})
"""Variables needed only by the process that reads the settings."""

ONE_THREAD_VARIABLE = "OPENBLAS_NUM_THREADS"


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Copy an environment without its secrets, for a program that does not need it."""
    return {name: value for name, value in environment.items() if name not in SECRETS}


def child_environment(given: Mapping[str, str] | None = None, /, **more: str) -> dict[str, str]:
    """Copy `given`, or this process's environment, with `more` added, for a child process.

    The child finds this package wherever it is started. Children often decode untrusted files,
    so they receive neither the token of the page nor passwords. numpy starts no threads for linear
    algebra in them, which would wait for work, and there is none for them.
    """
    environment = without_secrets(os.environ if given is None else given)
    path = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = str(PROJECT) + (os.pathsep + path if path else "")
    return {**environment, ONE_THREAD_VARIABLE: "1", **more}


def set_missing_home() -> None:
    """Set HOME to `/` if neither it nor the user database names this user's home folder.

    A service or a container may run under a number that is no user's. Python then has no home
    folder at all, and the folders of caches and libraries are found from it.
    """
    if "HOME" not in os.environ:
        try:
            pwd.getpwuid(os.getuid())
        except KeyError:
            os.environ["HOME"] = "/"


def set_command_line(arguments: Sequence[str]) -> None:
    """Make `ps` and others show `arguments` as this process's command line.

    They replace the arguments it was started with, and are cut to the length of these.
    """
    # proc_pid_stat(5): fields 48 and 49, counted behind the name in parentheses, which is field 2.
    stat = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace")
    start, end = map(int, stat.rpartition(")")[2].split()[45:47])
    text = os.fsencode("\0".join(arguments))[: end - start - 1]
    ctypes.memmove(start, text.ljust(end - start, b"\0"), end - start)


MADV_DONTNEED = 4  # madvise(2)


def release_pages(library: str) -> None:
    """Release the memory of a shared library that is hardly used any more.

    Its unchanged pages are read from the file again when they are used. `library`: the beginning of
    its file name.
    """
    libc = ctypes.CDLL(None)
    unchanged: dict[str, bool] = {}  # by range of addresses
    current = ""
    with open("/proc/self/smaps", encoding="utf-8", errors="replace") as smaps:
        for line in smaps:
            key, *fields = line.split()
            if not key.endswith(":"):
                name = fields[-1].rpartition("/")[2] if len(fields) > 4 else ""
                current = key if name.startswith(library) and "w" not in fields[0] else ""
                unchanged[current] = bool(current)
            # Pages that were written to, such as addresses that the linker has filled in. Those
            # that are shared with a parent process count as anonymous, too, but not as private.
            elif key in ("Anonymous:", "Swap:") and fields[0] != "0":
                unchanged[current] = False
    for addresses in filter(unchanged.get, unchanged):
        start, end = (int(side, 16) for side in addresses.split("-"))
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), MADV_DONTNEED)


def watch_process(pid: int) -> Callable[[], bool]:
    """Return a function that checks, without waiting, whether the process `pid` has ended.

    It refers to the process that has this number now, even if the number is used again later. A
    process whose parent has not collected its exit status yet (a zombie) has ended, too.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return lambda: True
    ended = select.poll()
    ended.register(pidfd, select.POLLIN)
    return lambda: bool(ended.poll(0))


def request_realtime(priority: int) -> int:
    """Request real-time priority for the calling thread. Returns 1, or -1 if it was refused."""
    with contextlib.suppress(OSError, AttributeError):
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
        return 1
    return -1


NICENESS = 19
# Set to "no" where nothing plays: such work then competes normally with other programs.
GIVE_WAY_VARIABLE = "CROWDSTREAM_GIVE_WAY"
# psutil knows these numbers, but the process that draws waveforms has no other use for it.
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "armv7l": 314, "i686": 289, "riscv64": 30}
_IOPRIO_IDLE = 3 << 13  # class idle of IOPRIO_WHO_PROCESS, linux/ioprio.h


def lower_priority() -> None:
    """Let this process use processor and disk only when no other process needs them.

    For a process that leads a session of its own: Linux first divides the processor among
    sessions (autogroup), and niceness has no effect across sessions. Refusals by the system are
    ignored. With `CROWDSTREAM_GIVE_WAY=no` in the environment nothing changes.
    """
    if os.environ.get(GIVE_WAY_VARIABLE) == "no":
        return
    with contextlib.suppress(OSError):
        # Not `nice`, which is relative: a service may run at a negative niceness.
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with contextlib.suppress(OSError):
        if os.getsid(0) == os.getpid():
            Path("/proc/self/autogroup").write_text(str(NICENESS), encoding="ascii")
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None and sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).syscall(number, 1, 0, _IOPRIO_IDLE)


def lower_priority_of(pid: int, niceness: int = NICENESS) -> None:
    """Let the process `pid` have processor time after others; it only ever gets less priority.

    Refusals by the system are ignored. With `CROWDSTREAM_GIVE_WAY=no` in the environment nothing
    changes.
    """
    if os.environ.get(GIVE_WAY_VARIABLE) == "no":
        return
    with contextlib.suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, pid) < niceness:
            os.setpriority(os.PRIO_PROCESS, pid, niceness)


def send_to_parent(message: Mapping[str, Any]) -> None:
    """Write a message to standard output, which the parent process reads: one line of JSON.

    Raises `BrokenPipeError` if the parent has ended.
    """
    try:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        raise


def _discard_output() -> None:
    # Otherwise the interpreter flushes the rest of the buffer at exit, and reports the failure.
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


# The status that shells report for a program killed by SIGPIPE.
UNREAD_STATUS = 128 + 13


def exit_quietly_on_broken_pipe(run: Callable[[], int]) -> int:
    """Return `run()`'s exit status; exit silently if its output is not read to the end."""
    try:
        try:
            return run()
        finally:  # includes what argparse prints before it exits
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        return UNREAD_STATUS
