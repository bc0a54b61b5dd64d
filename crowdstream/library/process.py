"""The loader process: files in, pages out, at a priority below everything that sounds.

Control writes requests as JSON lines to standard input; answers and events go out the same
way on standard output. When standard input closes, the process ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
from typing import Any

from crowdstream.desk.block import Desk
from crowdstream.library.loader import Loader
from crowdstream.library.quiet import mute_c_libraries

IDLE_SECONDS = 0.02  # between looks at the playheads while there is nothing to do
STATUS_EVERY = 25  # idle looks or pages between reports on the budget
NICENESS = 5


def _write(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _handle(loader: Loader, request: dict[str, Any]) -> None:
    name = request["do"]
    if name == "load":
        stems = [(int(source), str(path)) for source, path in request["stems"]]
        loader.load(int(request["track"]), stems, float(request["cue"]))
    elif name == "cue":
        loader.cue(int(request["track"]), int(request["frame"]))
    elif name == "unload":
        loader.unload(int(request["track"]))


def main(arguments: list[str]) -> int:
    """Run until standard input closes. `arguments`: the desk's descriptor."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    mute_c_libraries()
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    loader = Loader(Desk(int(arguments[0])), _write)
    _write({"event": "up"})
    rest = b""
    busy = False
    turns = 0
    while True:
        if select.select([0], [], [], 0 if busy else IDLE_SECONDS)[0]:
            data = os.read(0, 1 << 16)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                _handle(loader, json.loads(line))
        busy = loader.work()
        turns += 1
        if turns % STATUS_EVERY == 0:
            _write(loader.status())
    loader.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
