"""This project, through the same `render` that plays live."""

from __future__ import annotations

import sys
from pathlib import Path

import crowdstream
from benchmarks.renderers.base import SCRIPTS, Renderer
from benchmarks.scene import Scene

NAME = "crowdstream"


class CrowdStream(Renderer):
    """Stems summed at the file's rate, one 32-tap windowed sinc per deck, 8th-order isolator,
    limiter: the whole mixer, as it plays live."""

    name = NAME
    does = "32-tap windowed sinc; 8th-order crossovers as isolator; instant limiter"
    get = "it is this project"
    summed = True

    def version(self) -> str | None:
        """See `Renderer`."""
        return crowdstream.__version__

    def command(self, scene: Scene, folder: Path, out: Path) -> list[str]:
        """See `Renderer`."""
        (folder / "scene.json").write_text(scene.to_json())
        return [sys.executable, str(SCRIPTS / "ours.py"), "scene.json", str(out)]


def variants() -> list[Renderer]:
    """It has one way of doing it."""
    return [CrowdStream()]
