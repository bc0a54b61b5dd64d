"""A broadcast to Icecast over a network that loses packets, in a network namespace.

    unshare -rn python -m tests.support.lossy_broadcast <folder>

Of all packets from and to Icecast's port, 20 % are dropped. The results are printed as one JSON
object, for the system tests.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.broadcasts import RATE, correlation, decode, listen, write_music
from tests.support.icecast import icecast
from tests.support.osc_client import until
from tests.support.server import server

LOSS = 20  # percent
SECONDS = 20  # of the master, during which packets are lost
FLAGS = ("--driver", "null", "--cache-mb", "64", "--standby", "off")
RULES = """table inet lossy {{
    chain lossy {{
        type filter hook input priority 0;
        tcp dport {port} numgen random mod 100 < {loss} counter drop
        tcp sport {port} numgen random mod 100 < {loss} counter drop
    }}
}}
"""


def main(arguments: list[str]) -> int:
    """Measure in the folder of the argument."""
    folder = Path(arguments[0])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    source = write_music(folder / "music.wav", 120.0)
    with icecast() as cast, server(folder, *FLAGS) as running:
        client = running.client
        client.request("/deck/A/load", str(folder / "music.wav"), answer="/done", seconds=60)
        client.send("/deck/A/play")
        client.request("/broadcast/start", cast.url("live.mp3"), answer="/done")
        until(lambda: client.status()["broadcasts_live"] == 1)
        rules = RULES.format(port=cast.port, loss=LOSS)
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
        begin = client.status()["frame"]
        until(lambda: client.status()["frame"] > begin + SECONDS * RATE)
        listed = subprocess.run(
            ["nft", "list", "ruleset"], capture_output=True, text=True, check=True
        ).stdout.split()
        dropped = sum(
            int(count) for word, count in itertools.pairwise(listed)
            if word == "packets"
        )
        status = client.status()
        subprocess.run(["nft", "flush", "ruleset"], check=True)
        heard = decode(listen(cast.listen_url("live.mp3"), 150_000)[0])
        result: dict[str, Any] = {
            "packets_dropped": dropped,
            "audio_dropped_s": status["broadcast_dropped_s"],
            "faults": status["broadcast_faults"],
            "live": status["broadcasts_live"],
            "takeovers": status["takeovers"],
            "missing_frames": status["missing_frames"],
            "correlation": correlation(heard[-3 * RATE : -RATE], source)[0],
        }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
