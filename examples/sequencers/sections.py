"""Play a folder of section files from a CSV of cues: python sections.py FOLDER cues.csv --bpm 120.

A cue consists of a beat of the clock, a file of the folder, and the length of its fade-in in beats,
during which the previous section fades out. Needs a running server.

    beat,file,fade
    0,intro.wav,0
    32,verse.wav,8
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

from crowdstream.client import Client
from crowdstream.client.calls import Deck

AHEAD = 8.0  # beats by which a section is loaded in advance
DECKS: tuple[Deck, ...] = ("A", "B", "C", "D")


def play(
    server: Client, folder: Path, cues: list[tuple[float, str, float]], bpm: float
) -> None:
    """Play the sections: beat, file and fade of each."""
    beat_seconds = 60.0 / bpm
    server.clock_tempo(bpm)
    server.clock_reset()
    # Beat 0 of the cues is the clock's beat AHEAD, so that the first section has time to load.
    begun = time.monotonic()
    for number, (beat, name, fade) in enumerate(cues):
        deck, before = DECKS[number % 4], DECKS[(number - 1) % 4]
        time.sleep(max(0.0, begun + beat * beat_seconds - time.monotonic()))
        server.deck_load(deck, str((folder / name).resolve()))
        start = beat + AHEAD
        server.deck_level(deck, 0.0 if fade else 1.0)
        server.deck_play(deck, loop=True, at_beat=start)  # it loops until the next section
        if fade:
            server.deck_level(deck, 1.0, fade * beat_seconds, at_beat=start)
        if number:
            if fade:
                server.deck_level(before, 0.0, fade * beat_seconds, at_beat=start)
            server.deck_stop(before, at_beat=start + fade)


def main() -> None:
    """Read the cues and play them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("cues", type=Path)
    parser.add_argument("--bpm", type=float, default=120.0)
    parser.add_argument("--port", type=int, default=57120)
    options = parser.parse_args()
    with options.cues.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    cues = [(float(row["beat"]), row["file"], float(row["fade"])) for row in rows]
    with Client(port=options.port) as server:
        play(server, options.folder, cues, options.bpm)


if __name__ == "__main__":
    main()
