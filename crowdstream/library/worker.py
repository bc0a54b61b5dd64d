"""The analysis worker process: jobs as JSON lines on standard input, answers on standard output.

The first line of output, `{"up": true}`, reports that the worker is ready. While it analyses a
long track, it also writes lines with the progress, `{"share": 0.25}`.

The worker runs with the lowest CPU and I/O priority, and exits when its parent process ends.
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
from crowdstream.library.job import Job, find_analyser, run_job
from crowdstream.system.background_priority import lower_priority

PROGRESS_SECONDS = 0.5  # minimum time between two progress lines


def _read_jobs(jobs: queue.SimpleQueue[dict[str, Any]]) -> None:
    # In a thread of its own, to notice the end of the parent even in mid-track.
    for line in sys.stdin.buffer:
        jobs.put(json.loads(line))
    os._exit(0)


def main(arguments: list[str]) -> int:
    """Run the worker; `arguments` holds the analysis function, as `module:function`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lower_priority()
    mute_c_libraries()
    # Answers use a duplicate of standard output; whatever libraries print goes to standard error.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    analyse = find_analyser(arguments[0])
    jobs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_read_jobs, args=(jobs,), daemon=True).start()
    sent_at = 0.0

    def send(line: dict[str, Any]) -> None:
        out.write(json.dumps(line) + "\n")
        out.flush()

    def progress(share: float) -> None:
        nonlocal sent_at
        if time.monotonic() >= sent_at + PROGRESS_SECONDS:
            sent_at = time.monotonic()
            send({"share": round(share, 4)})

    send({"up": True})
    while True:
        job = Job.from_dict(jobs.get())
        sent_at = time.monotonic()
        send(run_job(job, analyse, progress))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
