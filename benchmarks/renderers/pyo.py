"""pyo, rendering offline."""

from __future__ import annotations

from benchmarks.renderers.base import Interpreters, Renderer, ScriptRenderer

# Debian 12's 1.0.4 opens no file on Python 3.11: its calls are made for an older interpreter. The
# list has no first element there, and the interpreter counts as one without pyo.
VERSION = "['.'.join(map(str, v)) for v in [pyo.getVersion()] if v > (1, 0, 4)][0]"

INTERPOLATIONS = {"linear": 2, "cubic": 4}


class Pyo(ScriptRenderer):
    """`SfPlayer` for each stem, `EQ` three times a deck, `Compress` with look-ahead and a
    steep ratio as limiter: it has none."""

    modules = "pyo"
    version_of = VERSION
    script = "pyo_scene.py"
    get = "pip install pyo, 1.0.5 or newer"
    leaves_out = "a limiter proper"

    def __init__(self, interpreters: Interpreters, kind: str) -> None:
        super().__init__(interpreters, [str(INTERPOLATIONS[kind])])
        self.name = f"pyo {kind}"
        self.does = f"{kind} interpolation; EQ (biquads); Compress, ratio 100"


def variants(interpreters: Interpreters) -> list[Renderer]:
    """Linear and cubic interpolation."""
    return [Pyo(interpreters, kind) for kind in INTERPOLATIONS]
