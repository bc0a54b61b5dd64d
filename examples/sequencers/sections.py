"""Play a folder of section files from a CSV of cues: python sections.py FOLDER cues.csv --bpm 120.

A cue consists of a beat of the clock, a file of the folder, and the length of its fade-in in beats,
during which the previous section fades out. Needs python-osc and a running server.

    beat,file,fade
    0,intro.wav,0
    32,verse.wav,8
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

from pythonosc.udp_client import SimpleUDPClient

AHEAD = 8.0  # beats by which a section is loaded in advance
DECKS = "ABCD"


def main() -> None:
    """Play the sections."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("cues", type=Path)
    parser.add_argument("--bpm", type=float, default=120.0)
    parser.add_argument("--port", type=int, default=57120)
    options = parser.parse_args()
    server = SimpleUDPClient("127.0.0.1", options.port)

    def say(address: str, *arguments: object) -> None:
        server.send_message(address, list(arguments))

    with options.cues.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    cues = [(float(row["beat"]), row["file"], float(row["fade"])) for row in rows]
    beat_seconds = 60.0 / options.bpm
    say("/clock/tempo", options.bpm)
    say("/clock/reset")
    # Beat 0 of the cues is the clock's beat AHEAD, so that the first section has time to load.
    begun = time.monotonic()
    for number, (beat, name, fade) in enumerate(cues):
        deck, before = DECKS[number % 4], DECKS[(number - 1) % 4]
        time.sleep(max(0.0, begun + beat * beat_seconds - time.monotonic()))
        say(f"/deck/{deck}/load", str((options.folder / name).resolve()))
        start = beat + AHEAD
        say(f"/deck/{deck}/level", 0.0 if fade else 1.0)
        say("/clock/at", start, f"/deck/{deck}/play", 0.0, 1)  # it loops until the next section
        if fade:
            say("/clock/at", start, f"/deck/{deck}/level", 1.0, fade * beat_seconds)
        if number:
            if fade:
                say("/clock/at", start, f"/deck/{before}/level", 0.0, fade * beat_seconds)
            say("/clock/at", start + fade, f"/deck/{before}/stop")


if __name__ == "__main__":
    main()
