"""Render a scene with this project's own mixer: SCENE OUT."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import soundfile

from benchmarks.rig import Rig
from benchmarks.scene import Scene

BLOCK = 2048
ARENA_BYTES = 320 << 20


def main() -> None:
    """Say the scene to the mixer, and take block after block."""
    scene = Scene.from_json(Path(sys.argv[1]).read_text())
    rig = Rig(ARENA_BYTES, float(scene.sample_rate), BLOCK)
    load(rig, scene)
    with soundfile.SoundFile(sys.argv[2], "w", scene.sample_rate, 2, "FLOAT") as out:
        done = 0
        while done < scene.frames:
            count = min(BLOCK, scene.frames - done)
            out.write(rig.block(count))
            done += count
    rig.close()
    if rig.failures():
        sys.exit("\n".join(rig.failures()))


def load(rig: Rig, scene: Scene) -> None:
    """Put the decks' tracks on and start them at frame 0."""
    for letter, deck in zip("ABCD", scene.decks, strict=False):
        folder = Path(deck.stems[0].path)
        rig.say((f"/deck/{letter}/load", (str(folder if len(deck.stems) == 1 else folder.parent),)))
    rig.load_all()
    for letter, deck in zip("ABCD", scene.decks, strict=False):
        at = f"/deck/{letter}"
        names = sorted(stem.path for stem in deck.stems)
        for stem in deck.stems:
            rig.say((f"{at}/stem/{names.index(stem.path) + 1}", (stem.gain,)))
        for band, gain in zip(("low", "mid", "high"), deck.eq, strict=True):
            rig.say((f"{at}/eq/{band}", (gain, 0.0)))
        rig.say((f"{at}/rate", (scene.rate,)), (f"{at}/level", (deck.begin, 0.0)))
        rig.say((f"{at}/play", ()), (f"{at}/level", (deck.end, scene.seconds)))


if __name__ == "__main__":
    main()
