"""This project: `crowdstream render`, which uses the same `render` as live playback."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import crowdstream
from benchmarks.renderers.base import SCRIPTS, Renderer
from benchmarks.scene import Deck, Scene

NAME = "crowdstream"
BANDS = ("low", "mid", "high")
# A level never jumps, and a ramp starts at the present level: the fade therefore starts when the
# initial level has been reached.
FADE_FROM = 0.01


class CrowdStream(Renderer):
    """Stems summed at the file's rate, one windowed sinc per deck, an isolator of 8th-order
    crossovers, and the limiter: the whole mixer, as in live playback."""

    name = NAME
    does = "32-tap windowed sinc; 8th-order crossovers as isolator; look-ahead true-peak limiter"
    get = "it is this project"
    summed = True

    def version(self) -> str | None:
        """See `Renderer`."""
        return crowdstream.__version__

    def command(self, scene: Scene, folder: Path, out: Path) -> list[str]:
        """See `Renderer`."""
        (folder / "scene.txt").write_text(set_text(scene, folder))
        return [
            *(sys.executable, str(SCRIPTS / "ours.py"), "render", "scene.txt", str(out)),
            *("--format", "float", "--quiet", "--sample-rate", str(scene.sample_rate)),
        ]


def link_stems(scene: Scene, folder: Path) -> dict[str, Path]:
    """Link the stems of each deck into a folder of its own, by number; return them by deck."""
    tracks = {}
    for letter, deck in zip("ABCD", scene.decks, strict=False):
        track = tracks[letter] = folder / f"deck {letter}"
        track.mkdir(exist_ok=True)
        for old in track.iterdir():
            old.unlink()
        for number, stem in enumerate(deck.stems, 1):
            (track / f"{number}{Path(stem.path).suffix}").symlink_to(stem.path)
    return tracks


def set_text(scene: Scene, folder: Path) -> str:
    """Return the scene as a set file: seconds, address and arguments on each line."""
    lines = [
        f"0 /deck/{letter}/load {shlex.quote(str(track))}"
        for letter, track in link_stems(scene, folder).items()
    ]
    for letter, deck in zip("ABCD", scene.decks, strict=False):
        lines += [f"0 /deck/{letter}/{said}" for said in deck_commands(deck, scene)]
    for letter, deck in zip("ABCD", scene.decks, strict=False):
        if deck.fade:
            seconds = scene.seconds - FADE_FROM
            lines.append(f"{FADE_FROM} /deck/{letter}/level {deck.end} {seconds}")
    return "\n".join([*lines, f"{scene.seconds} end", ""])


def deck_commands(deck: Deck, scene: Scene) -> list[str]:
    """Return the commands of a deck, without its address: name and values."""
    return [
        *(f"stem {number} {stem.gain}" for number, stem in enumerate(deck.stems, 1)),
        *(f"eq/{band} {gain} 0" for band, gain in zip(BANDS, deck.eq, strict=True)),
        f"rate {scene.rate}",
        f"level {deck.begin} 0",
        "play",
    ]


def variants() -> list[Renderer]:
    """Return the only variant."""
    return [CrowdStream()]
