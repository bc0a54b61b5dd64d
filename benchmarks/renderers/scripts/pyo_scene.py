"""Render a scene with pyo: SCENE OUT INTERPOLATION (2 linear, 4 cubic).

With a number of frames as OUT, the scene is played on JACK, with blocks of that size.
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path

import pyo

WAV, FLOAT32 = 0, 3
PEAK, LOW_SHELF, HIGH_SHELF = 0, 1, 2
BLOCK = 256
LOOK_AHEAD_MS = 5.0

scene = json.loads(Path(sys.argv[1]).read_text())
interpolation = int(sys.argv[3])
live = int(sys.argv[2]) if sys.argv[2].isdecimal() else 0
server = pyo.Server(
    sr=scene["sample_rate"], nchnls=2, buffersize=live or BLOCK, duplex=0,
    audio="jack" if live else "offline",
).boot()  # fmt: skip
if not live:
    server.recordOptions(
        dur=scene["seconds"], filename=sys.argv[2], fileformat=WAV, sampletype=FLOAT32
    )


def decibels(gain: float) -> float:
    return 20.0 * math.log10(gain)


kept = []  # an object that nobody holds stops sounding
decks = []
for deck in scene["decks"]:
    stems = [
        pyo.SfPlayer(
            stem["path"], speed=scene["rate"], loop=False, interp=interpolation, mul=stem["gain"]
        )
        for stem in deck["stems"]
    ]
    kept += stems
    sound = stems[0].mix(2) if len(stems) == 1 else sum(stems[1:], stems[0]).mix(2)
    if deck["eq"] != [1.0, 1.0, 1.0]:
        low, mid, high = map(decibels, deck["eq"])
        for hertz, quality, boost, kind in (
            (scene["low_hz"], scene["shelf_q"], low, LOW_SHELF),
            (scene["mid_hz"], scene["mid_q"], mid, PEAK),
            (scene["high_hz"], scene["shelf_q"], high, HIGH_SHELF),
        ):
            kept.append(sound)
            sound = pyo.EQ(sound, hertz, quality, boost, kind)
    begin = 0.0 if deck["fade"] == "in" else deck["level"]
    end = 0.0 if deck["fade"] == "out" else deck["level"]
    if begin == end:
        sound = sound * begin if begin != 1.0 else sound
    else:
        level = pyo.Linseg([(0.0, begin), (scene["seconds"], end)]).play()
        kept.append(level)
        sound = sound * level
    decks.append(sound)
kept += decks
master = decks[0] if len(decks) == 1 else sum(decks[1:], decks[0])
if scene["limiter"]:
    kept.append(master)
    master = pyo.Compress(
        master,
        thresh=0.0,
        ratio=100.0,
        risetime=0.0005,
        falltime=scene["release_seconds"],
        lookahead=LOOK_AHEAD_MS,
        knee=0,
    )
master.out()
server.start()
if live:
    time.sleep(scene["seconds"])
    server.stop()
server.shutdown()
