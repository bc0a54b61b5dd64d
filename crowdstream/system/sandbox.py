"""Sandbox for processes that read untrusted files: no network, and little of the disk.

Decoders have faults, and a file that exploits one would act as the server's user. Therefore the
loader, the waveform process and their children can open local sockets only (seccomp), write only
to their caches, and, if there are media folders, read nothing else in home folders (Landlock).
Both restrictions last for the life of a process and apply to its children. If the kernel lacks
one of them, the process runs without it, which `Report` and `crowdstream doctor` show.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import site
import struct
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from crowdstream.system.private_dirs import temporary_folders
from crowdstream.system.process import PROJECT

SANDBOX_VARIABLE = "CROWDSTREAM_SANDBOX"
"""Set to "no" to disable all restrictions."""

# include/uapi/linux/landlock.h; the system call numbers are the same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""Number of access rights by version."""
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14 | 1 << 15

# include/uapi/linux/seccomp.h, filter.h and audit.h
_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _EQUAL, _GREATER_OR_EQUAL, _RETURN = 0x20, 0x15, 0x35, 0x06
_X32 = 0x40000000
_IO_URING_SETUP = 425
_SYSTEMS = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""AUDIT_ARCH and the number of socket(), by machine."""
_AF_UNIX = 1


@dataclass(frozen=True)
class Report:
    """Restrictions in force. `missing`: why some are not; empty if all are."""

    network: bool
    files: bool
    missing: str = ""


def landlock_version() -> int:
    """The kernel's version of Landlock; 0 if it has none."""
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, int(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)))


def has_seccomp() -> bool:
    """Whether the kernel filters system calls, and their numbers are known for this machine."""
    libc = ctypes.CDLL(None, use_errno=True)
    # A null pointer as filter: EFAULT means that filters are supported.
    libc.prctl(_SET_SECCOMP, _FILTER, None, 0, 0)
    return platform.machine() in _SYSTEMS and ctypes.get_errno() == errno.EFAULT


def available() -> Report:
    """The restrictions that are possible on this machine."""
    network, version = has_seccomp(), landlock_version()
    missing = []
    if not network:
        missing.append("the kernel has no seccomp filters, so the loader can reach the network")
    if not version:
        missing.append(
            "the kernel has no Landlock (lsm=...,landlock at boot), so the loader can read whatever"
            " its user can"
        )
    return Report(network, version > 0, "; ".join(missing))


def own_folders() -> list[Path]:
    """Folders for the data of these processes, in the home or set by environment variables."""
    home = os.path.expanduser("~")
    found = [
        Path(os.environ.get("XDG_CACHE_HOME") or Path(home) / ".cache", "crowdstream"),
        Path(os.environ.get("XDG_DATA_HOME") or Path(home) / ".local" / "share", "crowdstream"),
    ]
    if os.environ.get("NUMBA_CACHE_DIR"):
        found.append(Path(os.environ["NUMBA_CACHE_DIR"]))
    return found


def confine(roots: Sequence[Path], caches: Iterable[Path] | None = None) -> Report:
    """Restrict this process, before it has threads, and its future children.

    `roots`: the media folders; without any, reading is not restricted. `caches`: folders that
    may be written to; the default is `own_folders()`.
    """
    caches = own_folders() if caches is None else caches
    if os.environ.get(SANDBOX_VARIABLE) == "no":
        return Report(False, False, f"{SANDBOX_VARIABLE}=no")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return Report(False, False, "the system does not let a process give up rights")
    version = landlock_version()
    files = version > 0 and _close_files(libc, version, roots, caches)
    network = platform.machine() in _SYSTEMS and _close_network(libc)
    return Report(network, files, "" if network and files else available().missing)


def readable(roots: Sequence[Path]) -> list[Path]:
    """Paths that may be read: all without `roots`; else these and everything outside homes."""
    if not roots:
        return [Path("/")]
    homes = [Path("/home"), Path("/root")]
    with suppress(RuntimeError):
        homes.append(Path.home())
    homes = [one.resolve() for one in homes if one.resolve() != Path("/")]
    found: list[Path] = []
    _outside(Path("/"), homes, found)
    packages = [sys.prefix, sys.base_prefix, sys.exec_prefix, *filter(None, sys.path)]
    packages += [site.getusersitepackages(), str(Path(sys.executable).resolve().parent)]
    found += [PROJECT, *map(Path, packages)]
    return found + [_lasting(root) for root in roots]


def _outside(folder: Path, homes: Sequence[Path], found: list[Path]) -> None:
    # The contents of a folder, except homes and their parents. A rule for a link would apply to
    # its target, which may be a home; other targets are found under their own names.
    with suppress(OSError):
        for entry in folder.iterdir():
            if entry in homes or entry.is_symlink():
                continue
            if any(entry in home.parents for home in homes):
                _outside(entry, homes, found)
            else:
                found.append(entry)


def _lasting(root: Path) -> Path:
    # A rule applies to a folder, not to its name. If another disk may be mounted there later or
    # the folder created, its parent must be readable.
    with suppress(OSError):
        real = root.resolve()
        if any(real.iterdir()):
            return real
    return root.resolve().parent


def _close_files(
    libc: ctypes.CDLL, version: int, roots: Sequence[Path], caches: Iterable[Path]
) -> bool:
    rights = (1 << _RIGHTS.get(version, 16)) - 1
    attributes = ctypes.create_string_buffer(struct.pack("Q", rights), 8)
    ruleset = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return False
    try:
        for path in readable(roots):
            _add(libc, ruleset, path, _READ)
        for path in caches:
            with suppress(OSError):  # a rule needs an existing folder
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (*caches, *temporary_folders(), Path("/dev"), Path("/proc/self")):
            _add(libc, ruleset, path, rights)
        return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _add(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    try:
        file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # does not exist, and neither does anything in it
        return
    try:
        if not os.path.isdir(path):
            rights &= _OF_FILES
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, file), 12)
        libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(file)


def network_filter(machine: str) -> bytes:
    """The BPF filter that refuses non-local sockets, including those made through io_uring."""
    architecture, socket_call = _SYSTEMS[machine]
    refuse, allow = _ERRNO | errno.EACCES, _ALLOW
    # Each step: operation, steps to skip if true, steps to skip if false, value.
    steps = [
        (_LOAD, 0, 0, 4),  # the architecture
        (_EQUAL, 0, 7, architecture),
        (_LOAD, 0, 0, 0),  # the number of the call
        (_GREATER_OR_EQUAL, 5, 0, _X32),
        (_EQUAL, 4, 0, _IO_URING_SETUP),
        (_EQUAL, 0, 2, socket_call),
        (_LOAD, 0, 0, 16),  # its first argument
        (_EQUAL, 0, 1, _AF_UNIX),
        (_RETURN, 0, 0, allow),
        (_RETURN, 0, 0, refuse),
    ]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def _close_network(libc: ctypes.CDLL) -> bool:
    program = network_filter(platform.machine())
    steps = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(steps))
    made = ctypes.create_string_buffer(header, len(header))
    return bool(libc.prctl(_SET_SECCOMP, _FILTER, made, 0, 0) == 0)
