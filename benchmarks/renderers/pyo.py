"""pyo, rendering offline."""

from __future__ import annotations

from benchmarks.renderers.base import Interpreters, Renderer, ScriptRenderer

INTERPOLATIONS = {"linear": 2, "cubic": 4}


class Pyo(ScriptRenderer):
    """`SfPlayer` for each stem, `EQ` three times a deck, `Compress` with look-ahead and a
    steep ratio as limiter: it has none."""

    modules = "pyo"
    version_of = "'.'.join(map(str, pyo.getVersion()))"
    script = "pyo_scene.py"
    get = "apt install python3-pyo, or pip install pyo"
    leaves_out = "a limiter proper"

    def __init__(self, interpreters: Interpreters, kind: str) -> None:
        super().__init__(interpreters, [str(INTERPOLATIONS[kind])])
        self.name = f"pyo {kind}"
        self.does = f"{kind} interpolation; EQ (biquads); Compress, ratio 100"


def variants(interpreters: Interpreters) -> list[Renderer]:
    """Linear and cubic interpolation."""
    return [Pyo(interpreters, kind) for kind in INTERPOLATIONS]
