"""A case: its folder, its own library, and decks on which to load its files."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crowdstream.analysis.result import Analysis
from crowdstream.audiofile.loudness import LoudnessMeter
from crowdstream.library import default_path
from crowdstream.library.database import Library
from crowdstream.library.models import Entry, Query
from tests.support.offline_server import RATE, Rig

ANALYZE_SECONDS = 1200.0  # a hung analysis must not block the other cases


class MissingInputError(Exception):
    """An input does not exist, because a program that creates it is not installed."""


Check = Callable[["Case"], str]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    """Register a function as the check of the case that has its name."""
    CHECKS[function.__name__] = function
    return function


@dataclass
class Deck:
    """The replies of a deck to a load command, and its rendered audio."""

    status: dict[str, Any]
    fails: list[str]
    notes: list[str]  # warnings received: addresses and texts
    stems: tuple[str, ...]
    out: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))

    @property
    def seconds(self) -> float:
        """Length of the track in seconds."""
        return float(self.status["deck.A.length"])

    @property
    def lufs(self) -> float:
        """Loudness of the rendered audio."""
        meter = LoudnessMeter(RATE)
        meter.feed(self.out)
        return meter.integrated()


class Case:
    """One folder of inputs. data: folder for its library."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder = folder
        self.data = data

    def path(self, name: str) -> Path:
        """Return a file or folder of the case. Raises `MissingInputError` if it does not exist."""
        found = self.folder / name
        if not found.exists():
            raise MissingInputError(f"{name} is missing among the inputs")
        return found

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run `crowdstream ...` as a process, with the case's own library."""
        environ = {**os.environ, "XDG_DATA_HOME": str(self.data), "XDG_CACHE_HOME": str(self.data)}
        command = [sys.executable, "-P", "-m", "crowdstream", *map(str, arguments)]
        return subprocess.run(
            command, env=environ, capture_output=True, text=True, check=False,
            timeout=ANALYZE_SECONDS,
        )  # fmt: skip

    def analyze(self, name: str = "", *options: str) -> subprocess.CompletedProcess[str]:
        """Run `crowdstream analyze` on a folder of the case."""
        return self.run("analyze", "--jobs", "1", *options, self.path(name))

    def tracks(self, name: str = "") -> list[Entry]:
        """Return the tracks in the library below a folder, the bad ones last."""
        roots = (str(self.path(name)),)
        with self.library() as library:
            return [*library.find(Query(roots)), *library.find(Query(roots, bad=True))]

    def analysis(self, entry: Entry) -> Analysis:
        """Return the analysis of a track."""
        with self.library() as library:
            return library.analysis(entry.number)

    @contextlib.contextmanager
    def library(self) -> Iterator[Library]:
        """Open the case's library for reading."""
        with self._own_data(), Library(default_path(), write=False) as library:
            yield library

    @contextlib.contextmanager
    def _own_data(self) -> Iterator[None]:
        before = os.environ.get("XDG_DATA_HOME")
        os.environ["XDG_DATA_HOME"] = str(self.data)
        try:
            yield
        finally:
            if before is None:
                del os.environ["XDG_DATA_HOME"]
            else:
                os.environ["XDG_DATA_HOME"] = before

    @contextlib.contextmanager
    def server(self, **settings: Any) -> Iterator[Rig]:
        """Run a complete server that renders into memory."""
        with self._own_data():
            rig = Rig(memory_mb=512, **settings)
            try:
                rig.send("/changes/subscribe", 1)
                yield rig
            finally:
                rig.close()

    def load(
        self, path: str | Path, seconds: float = 0.0, *orders: tuple[Any, ...]
    ) -> Deck:
        """Load a path on deck A, send `orders` once it is loaded, and play it for `seconds`."""
        with self.server() as rig:
            rig.send("/deck/A/load", str(path))
            rig.run(2048)
            for address, *values in orders:
                rig.send(address, *values)
            if seconds:
                rig.send("/deck/A/play")
                begin = len(rig.out)
                rig.seconds(seconds)
            track = rig.core.track_table.shown(100)
            notes = [
                f"{address} {' '.join(map(str, values))}" for _, address, values in rig.answers.said
                if address not in ("/done", "/changed", "/status.reply")
            ]  # fmt: skip
            return Deck(
                rig.status(), [str(fail) for fail in rig.fails()], notes,
                track.stems if track else (),
                rig.out[begin:].copy() if seconds else np.zeros((0, 2), np.float32),
            )  # fmt: skip
