"""A child process for tests: it reports about itself, waits for the end of its input, and exits."""

from __future__ import annotations

import os
import sys

from crowdstream.system.process import send_to_parent

STATUS = 7


def main(arguments: list[str]) -> int:
    """Run as `arguments[0]` says: "wait", "print", "raise" or "exit". Returns `STATUS`."""
    how = arguments[0]
    if how == "print":
        print("no JSON")
    elif how == "raise":
        raise LookupError("raised by the probe")
    elif how == "wait":
        send_to_parent(
            {
                "pid": os.getpid(), "session": os.getsid(0),
                "modules": sorted(sys.modules), "secret": os.environ.get("CROWDSTREAM_HTTP_TOKEN"),
                "descriptors": sorted(int(fd) for fd in os.listdir("/proc/self/fd")),
            }
        )
        while os.read(0, 4096):
            pass
    return 0 if how == "print" else STATUS


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
