"""pedalboard: JUCE's effects from Python."""

from __future__ import annotations

from benchmarks.renderers.base import Interpreters, Renderer, ScriptRenderer

QUALITIES = {"Linear": "linear interpolation", "WindowedSinc": "windowed sinc (its default)"}


class Pedalboard(ScriptRenderer):
    """`AudioFile.resampled_to` per stem, or `StreamResampler` for their sum; shelf and peak
    filters; its Limiter."""

    modules = "pedalboard"
    version_of = "pedalboard.__version__"
    script = "pedalboard_scene.py"
    get = "pip install pedalboard"

    def __init__(self, interpreters: Interpreters, quality: str, summed: bool) -> None:
        super().__init__(interpreters, [quality, *(["summed"] if summed else [])])
        self.summed = summed
        self.name = f"pedalboard {quality}" + (" summed" if summed else "")
        self.does = f"{QUALITIES[quality]}; shelves and peak (biquads); Limiter"


def variants(interpreters: Interpreters) -> list[Renderer]:
    """Return its cheapest useful and its default quality, each per stem and summed."""
    return [
        Pedalboard(interpreters, quality, summed)
        for quality in QUALITIES
        for summed in (False, True)
    ]
