"""Load two tracks, wait until each is ready, mix them on the beat, and report what failed.

    .venv/bin/python examples/sequencers/first_sequencer.py A.wav B.wav --bpm 120

The tutorial docs/tutorials/first-sequencer.md explains it line by line. It needs a running server.
"""

from __future__ import annotations

import argparse
import sys
import time

from crowdstream.client import Client, CommandFailed, CommandLate, NoReply

POLL_SECONDS = 0.5
LEAD_IN_BEATS = 4.0
FADE_BEATS = 8.0


def mix(server: Client, tracks: list[str], bpm: float, phrase: float) -> None:
    """Play the first track, bring in the second after a phrase, and hand over the bass."""
    for deck, track in zip(("A", "B"), tracks, strict=True):
        server.call(f"/deck/{deck}/load", track)
        server.call(f"/deck/{deck}/grid", bpm)
        server.call(f"/deck/{deck}/sync", 1, 4.0)
        print(f"deck {deck} has loaded {track}")
    server.clock_tempo(bpm)
    server.deck_eq_low("B", 0.0)
    server.clock_reset()
    enter = LEAD_IN_BEATS + phrase
    swap, leave = enter + phrase / 2, enter + phrase
    plan: list[tuple[float, str, list[float]]] = [
        (LEAD_IN_BEATS, "/deck/A/play", []),
        (enter, "/deck/B/play", []),
        (swap, "/deck/A/eq/low", [0.0, 1.0]),
        (swap, "/deck/B/eq/low", [1.0, 1.0]),
        (leave, "/deck/A/level", [0.0, FADE_BEATS * 60.0 / bpm]),
        (leave + FADE_BEATS, "/deck/A/stop", []),
    ]
    for beat, address, arguments in plan:
        server.call(address, *arguments, at_beat=beat)
    for beat, address, arguments in plan:
        while server.clock_beat().beat < beat:
            time.sleep(POLL_SECONDS)
        print(f"beat {beat:g}: {address}", *arguments, flush=True)
    server.check()


def main() -> int:
    """Mix the tracks and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tracks", nargs=2, help="a file, or a folder of stems")
    parser.add_argument("--bpm", type=float, default=120.0, help="tempo of both tracks")
    parser.add_argument("--phrase", type=float, default=32.0, help="its length in beats")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=57120)
    options = parser.parse_args()
    try:
        with Client(options.host, options.port) as server:
            mix(server, options.tracks, options.bpm, options.phrase)
    except CommandFailed as failure:
        print(f"the server refused a command: {failure}", file=sys.stderr)
        return 1
    except CommandLate as late:
        print(f"late: {late}", file=sys.stderr)
        return 1
    except NoReply:
        place = f"{options.host}, port {options.port}"
        print(f"no server answers on {place}: start one with ./start-crowdstream.sh",
              file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
