"""numpy and scipy: whole arrays at once, as in a notebook."""

from __future__ import annotations

from benchmarks.renderers.base import Interpreters, Renderer, ScriptRenderer


class Scipy(ScriptRenderer):
    """`resample_poly` with its own window, `sosfilt` with textbook biquads, and a limiter from a
    sliding minimum."""

    modules = "numpy, scipy.signal, scipy.ndimage, soundfile"
    version_of = "scipy.__version__"
    script = "scipy_scene.py"
    get = "pip install scipy soundfile"
    does = "resample_poly; sosfilt (biquads); sliding minimum as limiter"

    def __init__(self, interpreters: Interpreters, summed: bool) -> None:
        super().__init__(interpreters, ["summed"] if summed else [])
        self.summed = summed
        self.name = "numpy, scipy" + (" summed" if summed else "")


def variants(interpreters: Interpreters) -> list[Renderer]:
    """Return each stem by itself, and a deck's stems summed."""
    return [Scipy(interpreters, False), Scipy(interpreters, True)]
