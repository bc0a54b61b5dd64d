"""Four decks that use all features of an engine, for tests of recovery after its death."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from crowdstream.effects import MODULES
from tests.support.offline_server import RATE, Rig, write


def music(seconds: float, seed: int) -> np.ndarray:
    """Return beats at 120 BPM and a chord, float32 `(frames, 2)`, as input for keylock."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    sound = sum(0.05 * np.sin(2 * np.pi * 110 * (seed + 2) * k * time) for k in (1, 1.25, 1.5))
    sound = sound + 0.3 * generator.uniform(-1, 1, len(time)) * np.exp(-((time % 0.5) * 40))
    return np.stack([sound, 0.8 * sound], 1).astype(np.float32)


def scene(rig: Rig, folder: Path) -> None:
    """Start four decks with all features of an engine, and schedule many more commands."""
    for number, deck in enumerate("ABCD"):
        stems = folder / deck
        stems.mkdir()
        for stem in range(2):
            write(stems / f"{stem}.wav", music(12, 2 * number + stem))
        rig.send(f"/deck/{deck}/load", str(stems))
        rig.load()
        rig.send(f"/deck/{deck}/grid", 120.0, 0.0)
    # The roll is first on its deck, because it silences everything before it while it is on.
    for number, module in enumerate(sorted(MODULES, key=lambda name: name != "roll")):
        place = f"/deck/{'ABCD'[number // 2]}" if number < 8 else "/mix"
        rig.send(f"{place}/fx/insert", number % 2 + 1, module)
        rig.send(f"{place}/fx/on", number % 2 + 1, int(module != "roll"))
    rig.send("/deck/A/sync", 1)
    rig.send("/deck/B/sync", 1)
    rig.send("/deck/B/keylock", 1)
    rig.send("/deck/C/rate", 1.03)
    rig.send("/deck/C/keylock", 1)
    rig.send("/deck/C/stem/1/eq/low", 0.3)
    rig.send("/deck/D/stem/1/filter", 0.4)
    rig.send("/deck/A/eq/mid", 0.4)
    rig.send("/deck/B/filter", -0.5)
    rig.send("/mix/level", 0.5)
    rig.seconds(0.1)
    for deck in "ABCD":
        rig.send(f"/deck/{deck}/play")
    rig.seconds(0.5)
    rig.send("/clock/tempo", 128.0, 6.0)
    later: list[tuple[float, str, tuple[Any, ...]]] = [
        (0.31, "/deck/A/loop", (1.0,)),
        (0.62, "/deck/C/seek", (5.0,)),
        (0.70, "/deck/A/fx/on", (1, 1)),
        (0.90, "/deck/D/reverse", (1,)),
        (0.80, "/quality", (1,)),
        (1.00, "/quality", (0,)),
        (1.10, "/deck/A/fx/on", (1, 0)),
        (1.23, "/deck/A/loop/exit", ()),
        (1.40, "/deck/D/reverse", (0,)),
        (1.77, "/deck/B/jump", (4.0,)),
        (2.00, "/clock/tempo", (122.0, 2.0)),
        (2.10, "/quality", (3,)),
        (2.35, "/deck/C/stop", ()),
        (2.80, "/deck/C/play", ()),
        (3.05, "/quality", (0,)),
        (3.10, "/deck/B/slip", (1,)),
        (3.20, "/deck/B/loop", (0.25,)),
        (3.90, "/deck/B/slip", (0,)),
        (4.40, "/deck/A/brake", (0.5,)),
    ]
    now = rig.desk.frame
    failures: list[Any] = []

    def reply(said: str, *values: Any) -> None:
        if said == "/fail":
            failures.append(values)

    for moment, address, arguments in later:
        rig.perform(address, arguments, reply, now + int(moment * RATE))
    for beat in range(1, 13):
        rig.perform("/deck/D/eq/high", (0.2 + 0.1 * (beat % 7),), reply, now + beat * 16001)
    rig.core.tick()
    assert not failures and not rig.fails()
