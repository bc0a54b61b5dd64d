"""pyo, rendering offline."""

from __future__ import annotations

from pathlib import Path

from benchmarks.renderers.base import Interpreters, Renderer, ScriptRenderer
from benchmarks.scene import Scene

# Debian 12's 1.0.4 cannot open files on Python 3.11, as its calls are for an older interpreter. The
# list is then empty, and the interpreter counts as one without pyo.
VERSION = "['.'.join(map(str, v)) for v in [pyo.getVersion()] if v > (1, 0, 4)][0]"

INTERPOLATIONS = {"linear": 2, "cubic": 4}


class Pyo(ScriptRenderer):
    """`SfPlayer` per stem, `EQ` three times per deck, and `Compress` with look-ahead and a steep
    ratio in place of a limiter."""

    modules = "pyo"
    version_of = VERSION
    script = "pyo_scene.py"
    get = "pip install pyo, 1.0.5 or newer"
    leaves_out = "a limiter proper"

    def __init__(self, interpreters: Interpreters, kind: str) -> None:
        super().__init__(interpreters, [str(INTERPOLATIONS[kind])])
        self.name = f"pyo {kind}"
        self.does = f"{kind} interpolation; EQ (biquads); Compress, ratio 100"

    def live_command(self, scene: Scene, folder: Path, frames: int) -> list[str] | None:
        """See `Renderer`."""
        return self.command(scene, folder, Path(str(frames)))


def variants(interpreters: Interpreters) -> list[Renderer]:
    """Return linear and cubic interpolation."""
    return [Pyo(interpreters, kind) for kind in INTERPOLATIONS]
