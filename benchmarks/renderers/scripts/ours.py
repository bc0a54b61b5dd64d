"""Render a set to a file: SET OUT FRAMES RATE."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import soundfile

from benchmarks.rig import Rig

BLOCK = 2048
ARENA_BYTES = 320 << 20


def number(word: str) -> Any:
    """An argument as the kind it looks like."""
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            pass
    return word


def main() -> None:
    """Say the set to the mixer, and take block after block."""
    frames, rate = int(sys.argv[3]), int(sys.argv[4])
    rig = Rig(ARENA_BYTES, float(rate), BLOCK)
    with soundfile.SoundFile(sys.argv[2], "w", rate, 2, "FLOAT") as out:
        done = 0
        for line in Path(sys.argv[1]).read_text().splitlines():
            seconds, address, *arguments = shlex.split(line)
            until = frames if address == "end" else round(float(seconds) * rate)
            while done < until:
                count = min(BLOCK, until - done)
                out.write(rig.block(count))
                done += count
            if address != "end":
                rig.say((address, tuple(map(number, arguments))))
            if address.endswith("/load"):
                rig.load_all()
    rig.close()
    if rig.failures():
        sys.exit("\n".join(rig.failures()))


if __name__ == "__main__":
    main()
