"""Find processes that hold a port, and free ports."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

INODE = 9  # column of /proc/net/udp and /proc/net/tcp
STATE = 3
LISTENS = "0A"  # state of a listening TCP socket; UDP has no such state
MAX_COMMAND_CHARS = 60


def port_holders(kind: str, number: int, root: Path = Path("/")) -> list[str]:
    """Describe the processes that have a port open: "process 4711 (sclang)".

    `kind` is "udp" or "tcp"; `root` is the parent folder of /proc. Only processes that this user
    may inspect are found: the user's own, or all for root.
    """
    inodes = set(_inodes(root / "proc" / "net" / kind, number, kind == "tcp"))
    inodes |= set(_inodes(root / "proc" / "net" / f"{kind}6", number, kind == "tcp"))
    found = []
    for folder in sorted(root.glob("proc/[0-9]*/fd")) if inodes else ():
        if inodes & set(_links(folder)):
            try:
                text = folder.with_name("cmdline").read_text(encoding="utf-8", errors="replace")
            except OSError:
                text = ""
            shown = re.sub(r"[\s\0]+", " ", text).strip()[:MAX_COMMAND_CHARS] or "?"
            found.append(f"process {folder.parent.name} ({shown})")
    return found


def in_use_by(kind: str, number: int) -> str:
    """Name the process that holds a port: "in use by process 4711 (sclang)".

    If several processes share it, as those of a server do, the first is named.
    """
    holders = port_holders(kind, number)
    return f"in use by {holders[0] if holders else 'a program of another user'}"


def is_free(kind: str, host: str, number: int) -> bool:
    """Whether a server can listen there now; False for an address this machine does not have."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    way = socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
    with socket.socket(family, way) as trial:
        if kind == "tcp":
            # Like the web process: connections that have just closed don't block the port.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, number))
            if kind == "tcp":
                trial.listen()
        except (OSError, OverflowError):
            return False
    return True


def free_port(kind: str = "udp", host: str = "127.0.0.1") -> int:
    """Return a port that is free on this machine now."""
    way = socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, way) as trial:
        trial.bind((host, 0))
        return int(trial.getsockname()[1])


def _inodes(table: Path, number: int, listens: bool) -> Iterator[str]:
        # The socket links (see /proc/*/fd) of the sockets with this port.
    with contextlib.suppress(OSError), table.open(encoding="ascii") as lines:
        for line in lines:
            words = line.split()
            if len(words) <= INODE or not words[INODE].isdigit():
                continue  # the heading
            if int(words[1].rpartition(":")[2], 16) == number and (
                not listens or words[STATE] == LISTENS
            ):
                yield f"socket:[{words[INODE]}]"


def _links(folder: Path) -> Iterator[str]:
    # The targets of the links in a folder, as far as this user may read them.
    with contextlib.suppress(OSError):
        for link in folder.iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                yield os.readlink(link)
