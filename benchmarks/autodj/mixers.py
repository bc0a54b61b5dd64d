"""The programs that mix the tracks of a contest: from audio alone, with their defaults.

To enter another program, add a class here, or give a recording to `python -m benchmarks.autodj
score`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import soundfile

from benchmarks.autodj import mixxx
from benchmarks.common import BenchmarkError
from benchmarks.renderers.base import program_version

PROJECT = Path(__file__).resolve().parent.parent.parent
TIMEOUT_SECONDS = 3600.0
LIQUIDSOAP = """settings.init.allow_root.set(true)
settings.log.stdout.set(true)
settings.log.file.set(false)
settings.frame.audio.samplerate.set(44100)
s = playlist(mode="normal", loop=false, reload_mode="never", "{playlist}")
s = crossfade(s)
clock.assign_new(sync="none", [s])
output.file(fallible=true, on_stop=shutdown,
            %wav(stereo=true, samplesize=24, samplerate=44100), "{out}", s)
"""


class Mixer(ABC):
    """A program that mixes tracks to a recording.

    `name`: unique. `does`: how it is used. `get`: how to install it. `real_time`: whether a mix
    takes as long as it plays.
    """

    name: str
    does: str
    get: str
    real_time = False

    @abstractmethod
    def version(self) -> str | None:
        """Return its version; None if it is not installed."""

    @abstractmethod
    def mix(self, tracks: Sequence[Path], folder: Path, out: Path) -> None:
        """Mix tracks, all files of one folder, to the WAV file `out`.

        `folder` is for files that the program needs, and for its logs; it exists. Raises
        `BenchmarkError` if it fails.
        """


def run(command: Sequence[str], log: Path, **environment: str) -> None:
    """Run a command; raises `BenchmarkError` with the end of its log if it fails."""
    with log.open("ab") as file:
        try:
            done = subprocess.run(
                command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, check=False,
                timeout=TIMEOUT_SECONDS, cwd=PROJECT, env={**os.environ, **environment},
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BenchmarkError(f"{command[0]}: {error}") from error
    if done.returncode:
        end = log.read_text(errors="replace").strip().splitlines()[-3:]
        raise BenchmarkError(f"{' '.join(command[:4])} failed: {' / '.join(end)}")


class CrowdStream(Mixer):
    """This project: analysis, plan and offline rendering, with a library of its own."""

    name = "crowdstream"
    does = "analyze, plan --minutes (the length of all tracks), render; it chooses the order"
    get = "this folder"

    def __init__(self, seed: int = 1) -> None:
        self._seed = seed

    def version(self) -> str | None:
        """See `Mixer`."""
        return "this commit"

    def mix(self, tracks: Sequence[Path], folder: Path, out: Path) -> None:
        """See `Mixer`."""
        library, plan = folder / "library.db", folder / "set.toml"
        music = str(tracks[0].parent)
        minutes = sum(soundfile.info(track).duration for track in tracks) / 60
        command = [sys.executable, "-m", "crowdstream"]
        log = folder / "crowdstream.log"
        log.unlink(missing_ok=True)
        run([*command, "analyze", music, "--library", str(library), "--quiet"], log)
        run([*command, "plan", music, "--library", str(library), "--minutes", f"{minutes:.2f}",
             "--seed", str(self._seed), "-o", str(plan), "--explain"], log)  # fmt: skip
        run([*command, "render", str(plan), str(out), "--quiet"], log)


class Mixxx(Mixer):
    """Mixxx's Auto DJ; see `mixxx.py`."""

    name = "mixxx"
    does = "Auto DJ with its defaults, sync and quantize on; the order of the list"
    get = "apt install mixxx jackd2 xvfb xdotool"
    real_time = True

    def __init__(self, display: int = 77, nice: int = 0) -> None:
        self._display, self._nice = display, nice

    def version(self) -> str | None:
        """See `Mixer`."""
        if not all(map(shutil.which, mixxx.PROGRAMS)):
            return None
        # --help alone names it, and needs no screen.
        return program_version("mixxx", "--help", pattern=r"Mixxx v?([0-9][\w.~+-]*)")

    def mix(self, tracks: Sequence[Path], folder: Path, out: Path) -> None:
        """See `Mixer`."""
        mixxx.mix(tracks, folder, out, self._display, self._nice)


class Liquidsoap(Mixer):
    """Liquidsoap's `crossfade`, rendered without a clock."""

    name = "liquidsoap"
    does = "playlist and crossfade with its defaults (5 s, fades of 3 s); the order of the list"
    get = "apt install liquidsoap"

    def version(self) -> str | None:
        """See `Mixer`."""
        return program_version("liquidsoap", "--version", pattern=r"Liquidsoap ([0-9][\w.~+-]*)")

    def mix(self, tracks: Sequence[Path], folder: Path, out: Path) -> None:
        """See `Mixer`."""
        playlist, script = folder / "list.m3u", folder / "mix.liq"
        playlist.write_text("".join(f"{track.resolve()}\n" for track in tracks))
        script.write_text(LIQUIDSOAP.format(playlist=playlist.resolve(), out=out.resolve()))
        run(["liquidsoap", str(script.resolve())], folder / "liquidsoap.log",
            HOME=str(folder.resolve()))  # fmt: skip


def all_mixers(display: int = 77, nice: int = 0, seed: int = 1) -> list[Mixer]:
    """Return all programs; this project comes first."""
    return [CrowdStream(seed), Mixxx(display, nice), Liquidsoap()]
