"""Decodes sound files for the fuzzer, in a process that may crash, hang or run out of memory.

Each request on standard input is a header (length, flag) and the bytes of a file. Each answer is
one line of JSON: `fault`, `error` (the type of a declared error) and `lines` (identifiers of the
executed lines of `crowdstream.audiofile`; only if the flag is set).
"""

from __future__ import annotations

import json
import os
import resource
import struct
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from crowdstream.audiofile.beatgrid import describe_track
from crowdstream.audiofile.errors import AudioFileError
from crowdstream.audiofile.reader import open_stem
from crowdstream.system.text import is_line

HEAD = struct.Struct("<IB")
MEMORY = 512 << 20  # bytes that one file may use on top of the size of the process at its start
PAGE = 16384  # frames read at a time, as the loader does
MAX_READS = 12
_SOURCES = f"{os.sep}crowdstream{os.sep}audiofile{os.sep}"


class Lines:
    """Trace function that records the executed lines of the audio file code."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> Any:
        return self._line if _SOURCES in frame.f_code.co_filename else None

    def _line(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        name = sum(frame.f_code.co_filename[-8:].encode())
        self.seen.add(name << 16 | frame.f_lineno)
        return self._line


def decode(path: Path, rate: int) -> str:
    """Open and read a file as the loader does; return the name of the declared error, or ""."""
    try:
        with open_stem(path, rate) as reader:
            if not (reader.frames > 0 and reader.channels in (1, 2)):
                raise AssertionError(f"{reader.frames} frames, {reader.channels} channels")
            last = max(0, reader.frames - PAGE)
            places = [PAGE * number for number in range(MAX_READS - 3)]
            for start in (*places, last, 0, last // 2):
                samples = reader.read(start, PAGE)
                wanted = max(0, min(PAGE, reader.frames - start)), reader.channels
                if samples.shape != wanted or samples.dtype != reader.dtype:
                    raise AssertionError(f"{samples.shape} {samples.dtype} for {wanted}")
                if not np.isfinite(samples).all():
                    raise AssertionError(f"not finite near frame {start}")
    except AudioFileError as error:
        if not is_line(str(error)):
            raise AssertionError(f"a refusal is not one line: {error}") from error
        return type(error).__name__
    return ""


def handle(data: bytes, path: Path, lines: bool) -> dict[str, Any]:
    """Decode one file at two rates and return the answer."""
    path.write_bytes(data)
    watch = Lines()
    answer: dict[str, Any] = {"fault": "", "error": ""}
    if lines:
        sys.settrace(watch)
    try:
        answer["error"] = decode(path, 44100)
        decode(path, 48000)
        describe_track([path])
    except Exception:
        answer["fault"] = traceback.format_exc(limit=-4)
    finally:
        sys.settrace(None)
    answer["lines"] = sorted(watch.seen)
    return answer


def main() -> None:
    """Answer requests until standard input ends."""
    path = Path(sys.argv[1])
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 20, 64 << 20))
    while head := sys.stdin.buffer.read(HEAD.size):
        length, lines = HEAD.unpack(head)
        answer = handle(sys.stdin.buffer.read(length), path, bool(lines))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
