"""The process that analyses: jobs as JSON lines on standard input, answers on standard output.

The first line says that it is up. Of a long track, lines between say how far it has come.

It takes processor and disk only when nobody else wants them, and ends with who has started it.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from typing import Any

from crowdstream.audiofile.codec_messages import mute_c_libraries
from crowdstream.library.job import Job, find_analyser, perform
from crowdstream.system.background_priority import give_way

TELL_SECONDS = 0.5  # between two lines on how far a track has come


def _hear(jobs: queue.SimpleQueue[dict[str, Any]]) -> None:
    # A thread of its own, so that the end of whoever asks is noticed in the middle of a track.
    for line in sys.stdin.buffer:
        jobs.put(json.loads(line))
    os._exit(0)


def main(arguments: list[str]) -> int:
    """`arguments`: what analyses, as `module:function`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    give_way()
    mute_c_libraries()
    # What others print must not get among the answers.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    analyse = find_analyser(arguments[0])
    jobs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_hear, args=(jobs,), daemon=True).start()
    told = 0.0

    def tell(line: dict[str, Any]) -> None:
        out.write(json.dumps(line) + "\n")
        out.flush()

    def progress(share: float) -> None:
        nonlocal told
        if time.monotonic() >= told + TELL_SECONDS:
            told = time.monotonic()
            tell({"share": round(share, 4)})

    tell({"up": True})
    while True:
        job = Job.from_dict(jobs.get())
        told = time.monotonic()
        tell(perform(job, analyse, progress))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
