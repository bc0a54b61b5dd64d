"""csound, rendering to a file."""

from __future__ import annotations

from pathlib import Path

from benchmarks.renderers.base import Renderer, program_version
from benchmarks.scene import (
    HIGH_HZ,
    LOW_HZ,
    MID_HZ,
    MID_Q,
    RELEASE_SECONDS,
    SHELF_Q,
    Deck,
    Scene,
)

WINDOWS = {"linear": 2, "cubic": 4, "sinc": 32}  # points that diskin2 reads around a position
PERIOD = 64  # frames of a control period
LOOK_AHEAD = 0.005
BELL, LOW_SHELF, HIGH_SHELF = 8, 10, 12  # modes of rbjeq


class Csound(Renderer):
    """`diskin2` per stem, `rbjeq` three times per deck, and `compress` with look-ahead and a
    steep ratio as limiter."""

    get = "apt install csound"
    leaves_out = "a limiter proper"

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self.name = f"csound {kind}"
        self.does = f"diskin2, {kind}; rbjeq (biquads); compress, ratio 100"

    def version(self) -> str | None:
        """See `Renderer`."""
        return program_version("csound", "--version", pattern=r"version (\d[\d.]*)")

    def command(self, scene: Scene, folder: Path, out: Path) -> list[str]:
        """See `Renderer`."""
        (folder / "scene.csd").write_text(self.document(scene))
        return ["csound", "-d", "-m0", "-W", "-f", "-o", str(out), "scene.csd"]

    def live_command(self, scene: Scene, folder: Path, frames: int) -> list[str] | None:
        """See `Renderer`."""
        (folder / "scene.csd").write_text(self.document(scene))
        card = ["-+rtaudio=jack", "-odac:system:playback_", f"-b{frames}", f"-B{2 * frames}"]
        return ["csound", "-d", "-m0", *card, "scene.csd"]

    def document(self, scene: Scene) -> str:
        """Return orchestra and score as one document."""
        lines = [
            "<CsoundSynthesizer>", "<CsInstruments>",
            f"sr = {scene.sample_rate}", f"ksmps = {PERIOD}", "nchnls = 2", "0dbfs = 1",
            "gaL init 0", "gaR init 0",
        ]  # fmt: skip
        for number, deck in enumerate(scene.decks, 1):
            lines += [f"instr {number}", *self._deck(deck, scene), "endin"]
        lines += [f"instr {len(scene.decks) + 1}", *_master(scene), "endin"]
        lines += ["</CsInstruments>", "<CsScore>"]
        lines += [f"i {number} 0 {scene.seconds}" for number in range(1, len(scene.decks) + 2)]
        return "\n".join([*lines, "</CsScore>", "</CsoundSynthesizer>", ""])

    def _deck(self, deck: Deck, scene: Scene) -> list[str]:
        lines = []
        for number, stem in enumerate(deck.stems):
            path = stem.path.replace("\\", "\\\\").replace('"', '\\"')
            source = f'diskin2 "{path}", {scene.rate}, 0, 0, 0, {WINDOWS[self._kind]}'
            lines.append(f"a{number}L, a{number}R {source}")
        for side in "LR":
            terms = [f"a{number}{side} * {stem.gain}" for number, stem in enumerate(deck.stems)]
            lines.append(f"a{side} = {' + '.join(terms)}")
            if not deck.flat:
                bands = zip(
                    (LOW_HZ, MID_HZ, HIGH_HZ), deck.eq, (SHELF_Q, MID_Q, SHELF_Q),
                    (LOW_SHELF, BELL, HIGH_SHELF), strict=True,
                )  # fmt: skip
                for hertz, gain, quality, mode in bands:
                    lines.append(f"a{side} rbjeq a{side}, {hertz}, {gain}, {quality}, 1, {mode}")
        lines.append(f"aLevel line {deck.begin}, p3, {deck.end}")
        return [*lines, "gaL += aL * aLevel", "gaR += aR * aLevel"]


def _master(scene: Scene) -> list[str]:
    lines = ["aL = gaL", "aR = gaR"]
    if scene.limiter:
        how = f"0, 90, 90, 100, 0.0005, {RELEASE_SECONDS}, {LOOK_AHEAD}"
        lines.append("aLoud = max(abs(aL), abs(aR))")
        lines += [f"a{side} compress a{side}, aLoud, {how}" for side in "LR"]
    return [*lines, "outs aL, aR", "gaL = 0", "gaR = 0"]


def variants() -> list[Renderer]:
    """Return one renderer per interpolation."""
    return [Csound(kind) for kind in WINDOWS]
