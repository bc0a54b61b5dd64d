"""Plays a folder of section files by a CSV of cues: python sections.py FOLDER cues.csv --bpm 120.

A cue is a beat of the clock, a file of the folder, and how many beats it takes to come in; the one
before goes in that time. Needs python-osc and a running server.

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

AHEAD = 8.0  # beats that a section is loaded before it begins
DECKS = "ABCD"


def main() -> None:
    """Play."""
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
    # The clock's beat AHEAD is beat 0 of the cues, so that the first of them can load.
    begun = time.monotonic()
    for number, (beat, name, fade) in enumerate(cues):
        deck, before = DECKS[number % 4], DECKS[(number - 1) % 4]
        time.sleep(max(0.0, begun + beat * beat_seconds - time.monotonic()))
        say(f"/deck/{deck}/load", str((options.folder / name).resolve()))
        start = beat + AHEAD
        say(f"/deck/{deck}/level", 0.0 if fade else 1.0)
        say("/clock/at", start, f"/deck/{deck}/play", 0.0, 1)  # it loops until the next one
        if fade:
            say("/clock/at", start, f"/deck/{deck}/level", 1.0, fade * beat_seconds)
        if number:
            if fade:
                say("/clock/at", start, f"/deck/{before}/level", 0.0, fade * beat_seconds)
            say("/clock/at", start + fade, f"/deck/{before}/stop")


if __name__ == "__main__":
    main()
