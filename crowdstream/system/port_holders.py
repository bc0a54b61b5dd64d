"""Which process has a port, and which of two ports is free."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

INODE = 9  # column of /proc/net/udp and /proc/net/tcp
STATE = 3
LISTENS = "0A"  # a TCP socket that waits for connections; UDP knows no such state
MAX_COMMAND_CHARS = 60


def port_holders(kind: str, number: int, root: Path = Path("/")) -> list[str]:
    """The processes that have a port open: "process 4711 (sclang)".

    `kind` is "udp" or "tcp"; `root` stands before /proc. Only the processes that this user may look
    into are found: those of its own, and for root all.
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
    """Who has a port, in words: "in use by process 4711 (sclang)".

    Of processes that share it, as those of a server do, the first.
    """
    holders = port_holders(kind, number)
    return f"in use by {holders[0] if holders else 'a program of another user'}"


def is_free(kind: str, host: str, number: int) -> bool:
    """Whether a server can listen there now. A host that this machine does not have is not free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    way = socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
    with socket.socket(family, way) as trial:
        if kind == "tcp":
            # As the web process does: connections that have just ended do not hold a port.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, number))
            if kind == "tcp":
                trial.listen()
        except (OSError, OverflowError):
            return False
    return True


def free_port(kind: str = "udp", host: str = "127.0.0.1") -> int:
    """A port that nobody has on this machine now."""
    way = socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, way) as trial:
        trial.bind((host, 0))
        return int(trial.getsockname()[1])


def _inodes(table: Path, number: int, listens: bool) -> Iterator[str]:
    # What the links of the sockets with this port lead to.
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
    # Where the links of a folder lead, as far as this user may see them.
    with contextlib.suppress(OSError):
        for link in folder.iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                yield os.readlink(link)
