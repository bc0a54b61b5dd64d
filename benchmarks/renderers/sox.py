"""SoX: a tree of processes, one per stem and deck, connected by pipes."""

from __future__ import annotations

import shlex
from pathlib import Path

from benchmarks.renderers.base import Renderer, program_version
from benchmarks.scene import HIGH_HZ, LOW_HZ, MID_HZ, MID_Q, SHELF_Q, Deck, Scene, decibels

HEADROOM = 0.25  # its samples are integers: the mix stays below, and the limiter raises it


class Sox(Renderer):
    """`speed` and `rate` (at their default, "high" quality), biquads for the EQ, `gain -l` as
    limiter."""

    get = "apt install sox libsox-fmt-all"
    does = "rate, high quality; bass, equalizer, treble (biquads); gain -l"

    def __init__(self, summed: bool) -> None:
        self.summed = summed
        self.name = "sox" + (" summed" if summed else "")

    def version(self) -> str | None:
        """See `Renderer`."""
        return program_version("sox", "--version", pattern=r"v(\d\S*)")

    def command(self, scene: Scene, folder: Path, out: Path) -> list[str]:
        """See `Renderer`."""
        room = HEADROOM if scene.limiter else 1.0
        parts = [self._deck(deck, scene) for deck in scene.decks]
        levels = [room * deck.level for deck in scene.decks]
        master = [*_mix(levels, parts), "-e", "floating-point", "-b", "32", str(out)]
        if scene.limiter:
            master += ["gain", "-l", f"{-decibels(room):.6f}"]
        return master

    def _deck(self, deck: Deck, scene: Scene) -> str:
        convert = ["speed", f"{scene.rate}", "rate", f"{scene.sample_rate}"]
        parts = [
            stem.path if self.summed else _piped(["sox", "-D", stem.path, "-p", *convert])
            for stem in deck.stems
        ]
        effects = list(convert) if self.summed else []
        if not deck.flat:
            low, mid, high = (f"{decibels(gain):.6f}" for gain in deck.eq)
            effects += ["bass", low, f"{LOW_HZ}", f"{SHELF_Q}q"]
            effects += ["equalizer", f"{MID_HZ}", f"{MID_Q}q", mid]
            effects += ["treble", high, f"{HIGH_HZ}", f"{SHELF_Q}q"]
        if deck.fade == "in":
            effects += ["fade", "t", f"{scene.frames}s"]
        elif deck.fade == "out":
            effects += ["fade", "t", "0", f"{scene.frames}s", f"{scene.frames}s"]
        return _piped([*_mix([stem.gain for stem in deck.stems], parts), "-p", *effects])


def _mix(gains: list[float], parts: list[str]) -> list[str]:
    # With a single input there is nothing to mix, and SoX refuses to.
    mix = ["-m"] if len(parts) > 1 else []
    inputs = zip(gains, parts, strict=True)
    return ["sox", "-D", *mix, *(word for gain, part in inputs for word in ("-v", f"{gain}", part))]


def _piped(command: list[str]) -> str:
    return "|" + shlex.join(command)


def variants() -> list[Renderer]:
    """Return each stem by itself, and a deck's stems summed."""
    return [Sox(False), Sox(True)]
