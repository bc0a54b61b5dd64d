"""Installations of the program: what runs it, and which of them a server runs.

A server that was upgraded while it plays runs another installation than the one that it was started
from. It records that in a file of its user, so that its DJ follows.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import crowdstream

MAX_RECORD_BYTES = 4096


class Installation(NamedTuple):
    """A Python executable, and the folder that contains the package `crowdstream`."""

    python: str
    root: str
    version: str

    @classmethod
    def own(cls) -> Installation:
        """The one that this process runs."""
        root = str(Path(crowdstream.__file__).resolve().parents[1])
        return cls(sys.executable, root, crowdstream.__version__)

    def command(self, module: str, *arguments: str) -> list[str]:
        """Return the command that runs a module of it.

        -P: a file in the caller's folder must not shadow a module.
        """
        return [self.python, "-P", "-m", module, *arguments]

    def environment(self, given: dict[str, str]) -> dict[str, str]:
        """Return the variables `given`, changed so that Python finds it."""
        path = given.get("PYTHONPATH")
        return {**given, "PYTHONPATH": self.root + (os.pathsep + path if path else "")}


def record_path(folder: Path, port: int) -> Path:
    """The record of the server with an OSC port, in the state folder of its user."""
    return folder / f"installation-{port}.json"


def write_record(path: Path, running: Installation | None) -> None:
    """Record what a server runs since it was upgraded; None: it was not, or has ended.

    Without a folder that can be written to, nothing is recorded.
    """
    with contextlib.suppress(OSError):
        if running is None:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(running, file)
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise


def read_record(path: Path) -> Installation | None:
    """Read a record; None if there is none, or if another user could have written it.

    What it names is executed, so only this user's and root's files are accepted.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            if status.st_uid not in (0, os.geteuid()) or others:
                return None
            found = json.loads(file.read(MAX_RECORD_BYTES))
        python, root, version = found
        if not all(isinstance(one, str) for one in (python, root, version)):
            return None
        return Installation(python, root, version)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
