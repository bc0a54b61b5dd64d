"""Adopt the tracks of a dead loader, whose pages are in the desk and may be playing.

The desk holds the pages. Control supplies the files they come from, as it logs its requests. Files
are reopened only where something remains to be read from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from crowdstream.audiofile.errors import FileChanged
from crowdstream.audiofile.reader import ClosedFile, StemReader
from crowdstream.desk.block import Desk
from crowdstream.desk.opcodes import INT16
from crowdstream.loader.prefetch import Stem

Open = Callable[[int, int, str], StemReader]
"""Opens a stem's file: track number, source number, path."""


@dataclass(frozen=True)
class Orphan:
    """A track that an earlier loader had opened, as logged by control.

    `stems`: source and path of each. `files`: their identities when they were opened. `cue` and
    `places`: frames. `measured`: its loudness is known. `broken`: why reading it was abandoned.
    """

    number: int
    stems: list[tuple[int, str]]
    files: list[tuple[int, int]]
    cue: int
    streamed: bool
    places: list[int] = field(default_factory=list)
    measured: bool = False
    broken: str = ""

    @classmethod
    def of(cls, request: dict[str, Any]) -> Orphan:
        """Create one from an `adopt` request."""
        return cls(
            int(request["track"]),
            [(int(source), str(path)) for source, path in request["stems"]],
            [(int(size), int(changed)) for size, changed in request["files"]],
            int(request["cue"]),
            bool(request["streamed"]),
            [int(frame) for frame in request["places"]],
            bool(request["measured"]),
            str(request["broken"]),
        )


def take_stems(
    desk: Desk, orphan: Orphan, open_file: Open
) -> tuple[list[Stem], Exception | None]:
    """Return the stems of a track as the desk holds them, and the error that prevents reading on.

    The error is None if all is well. A file that is missing or has changed since it was opened
    can't be read on.
    """
    stems: list[Stem] = []
    fault: Exception | None = None
    for (source, path), identity in zip(orphan.stems, orphan.files, strict=True):
        record = desk.sources[source]
        dtype: Literal["int16", "float32"] = (
            "int16" if int(record["format"]) == INT16 else "float32"
        )
        frames, channels = int(record["frames"]), int(record["channels"])
        stem = Stem(
            orphan.number,
            source,
            ClosedFile(Path(path), frames, channels, dtype),
            1 << int(record["page_shift"]),
        )
        stem.reader.identity = identity
        stems.append(stem)
        record["used"] = 1  # the dead loader may have been about to release it
        if fault or orphan.broken or desk.page_table[source, : stem.pages].all():
            continue
        try:
            reader = open_file(orphan.number, source, path)
        except Exception as error:
            fault = error
            continue
        if reader.frames != frames and reader.unknown_delay:
            reader.trim(reader.unknown_delay)  # as when it was loaded; see `trim_delays`
        found = reader.identity, reader.frames, reader.channels, reader.dtype
        if found != (identity, frames, channels, dtype):
            reader.close()
            fault = FileChanged(Path(path), "it was changed while it was open; load it again")
        else:
            stem.reader = reader
    return stems, fault
