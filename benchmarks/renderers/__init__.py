"""The programs that render the benchmark's scene, one module per program."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.renderers import (
    csound,
    ffmpeg,
    ours,
    pedalboard,
    pyo,
    scipy,
    sox,
    supercollider,
)
from benchmarks.renderers.base import Interpreters, Renderer


def all_renderers(interpreters: Interpreters) -> Sequence[Renderer]:
    """Return every program, this project's first, whether installed or not."""
    return [
        *ours.variants(),
        *ffmpeg.variants(),
        *sox.variants(),
        *pedalboard.variants(interpreters),
        *supercollider.variants(),
        *csound.variants(),
        *pyo.variants(interpreters),
        *scipy.variants(interpreters),
    ]
