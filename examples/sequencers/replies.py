"""Play tracks one after another, checking the server's replies: python replies.py A.wav B.wav ...

The client library returns the values of `/done`, and raises `CommandFailed` for `/fail`. A track
that can't be played is reported and skipped, and the next track is loaded while one plays. Needs a
running server.
"""

from __future__ import annotations

import argparse
import contextlib
import sys

from crowdstream.client import Client, CommandFailed, NoReply, Subscription
from crowdstream.client.results import Notification


def play(server: Client, tracks: list[str]) -> int:
    """Play the tracks and return how many were played."""
    with server.watch_notifications() as events:
        played, playing = 0, None
        for number, track in enumerate(tracks, 1):
            deck = "AB"[played % 2]
            try:
                [buffer] = server.call(f"/deck/{deck}/load", track)
            except CommandFailed as failure:
                print(f"{track}: {failure.reason}", file=sys.stderr)
                continue
            if playing is not None:
                wait_for_end(events, playing)
            server.call(f"/deck/{deck}/play")
            print(f"{number} of {len(tracks)}: {track} on deck {deck}", flush=True)
            played, playing = played + 1, buffer
        if playing is not None:
            wait_for_end(events, playing)
        return played


def wait_for_end(events: Subscription[Notification], buffer: int) -> None:
    """Wait until the track in a buffer has ended. A restarted server has no tracks any more."""
    restarts = events.restarts
    while events.restarts == restarts:
        with contextlib.suppress(TimeoutError):
            address, arguments = events.get(timeout=1.0)
            if address == "/ended" and arguments[0] == buffer:
                return


def main() -> int:
    """Play the tracks; return 0 if every track was played, otherwise 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tracks", nargs="+", help="files, or folders of stems")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=57120)
    options = parser.parse_args()
    try:
        with Client(options.host, options.port) as server:
            return int(play(server, options.tracks) < len(options.tracks))
    except NoReply as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
