"""Mix two tracks of known tempo on the phrase: python sequencer.py A.wav B.wav.

Needs python-osc (pip install python-osc) and a running server.
"""

from __future__ import annotations

import argparse
import time

from pythonosc.udp_client import SimpleUDPClient


def main() -> None:
    """Mix the tracks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tracks", nargs=2, help="a file, or a folder of stems")
    parser.add_argument("--bpm", type=float, default=120.0, help="tempo of both tracks")
    parser.add_argument("--phrase", type=float, default=32.0, help="length of a phrase in beats")
    parser.add_argument("--port", type=int, default=57120)
    options = parser.parse_args()
    server = SimpleUDPClient("127.0.0.1", options.port)

    def say(address: str, *arguments: object) -> None:
        server.send_message(address, list(arguments))

    say("/clock/tempo", options.bpm)
    for deck, track in zip("AB", options.tracks, strict=True):
        say(f"/deck/{deck}/load", track)
        say(f"/deck/{deck}/grid", options.bpm)
        say(f"/deck/{deck}/sync", 1, 4.0)
    say("/deck/B/eq/low", 0.0)
    time.sleep(1)  # the first pages should be loaded by then; waiting for /done would be exact
    say("/clock/reset")
    enter = 4.0 + options.phrase
    change, leave = enter + options.phrase / 2, enter + options.phrase
    say("/clock/at", 4.0, "/deck/A/play")
    say("/clock/at", enter, "/deck/B/play")
    say("/clock/at", change, "/deck/A/eq/low", 0.0, 1.0)  # hand over the bass
    say("/clock/at", change, "/deck/B/eq/low", 1.0, 1.0)
    say("/clock/at", leave, "/deck/A/level", 0.0, 4.0)
    say("/clock/at", leave + 8.0, "/deck/A/stop")


if __name__ == "__main__":
    main()
