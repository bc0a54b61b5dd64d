"""The tracks that a DJ was given, and what is known of them.

A contest is a folder with `tracks.json`:

    {"tracks": [{"path": "a.wav", "name": "a", "beats": [0.0, 0.5, ...], "downbeats": [0.0, 2.0],
                 "phrases": [0.0, 8.0], "vocals": [[12.0, 20.0]], "bass": [[8.0, 60.0]]}, ...]}

Times are seconds from the first frame of the file. `path` is absolute or relative to the folder,
and the only key that is required. Without `beats`, no figure about beats is reported for a track;
without `phrases`, a phrase is every fourth bar from the first downbeat. `vocals` and `bass` are the
spans in which a voice sings and a bass plays; an empty list says that the track has none. Without
`vocals`, voices are not judged; without `bass`, low frequencies count as the bass.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from benchmarks.common import BenchmarkError

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Spans = tuple[tuple[float, float], ...]

RATE = 22_050  # Hz: all comparisons are made at this rate; beats and voices have less bandwidth
FILE = "tracks.json"
PHRASE_BARS = 4  # the longest unit that nearly all music in bars shares
NO_TIMES: Doubles = np.zeros(0)


@dataclass(frozen=True)
class Source:
    """A track: its file, and the times in seconds of what is known of it; see the module.

    `vocals`, `bass`: None if they are not known.
    """

    name: str
    path: Path
    beats: Doubles = field(default_factory=lambda: NO_TIMES)
    downbeats: Doubles = field(default_factory=lambda: NO_TIMES)
    phrases: Doubles = field(default_factory=lambda: NO_TIMES)
    vocals: Spans | None = None
    bass: Spans | None = None


def read_sources(folder: Path) -> list[Source]:
    """Return the tracks of a contest. Raises `BenchmarkError`."""
    path = folder / FILE
    try:
        known = json.loads(path.read_text(encoding="utf-8"))["tracks"]
        found = [_source(folder, entry) for entry in known]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchmarkError(f"{path} is not a list of tracks: {error!r}") from error
    if missing := [str(source.path) for source in found if not source.path.exists()]:
        raise BenchmarkError(f"{path} names files that do not exist: {', '.join(missing)}")
    return found


def _source(folder: Path, entry: dict[str, Any]) -> Source:
    def times(key: str) -> Doubles:
        return np.array(sorted(entry.get(key, ())), np.float64)

    def spans(key: str) -> Spans | None:
        if key not in entry:
            return None
        return tuple((float(begin), float(end)) for begin, end in entry[key])

    path = folder / entry["path"]
    downbeats = times("downbeats")
    phrases = times("phrases") if "phrases" in entry else downbeats[::PHRASE_BARS]
    return Source(
        str(entry.get("name", path.stem)), path, times("beats"), downbeats, phrases,
        spans("vocals"), spans("bass"),
    )  # fmt: skip


def write_sources(folder: Path, sources: Sequence[Source]) -> None:
    """Write `tracks.json` for tracks whose files are in `folder` or elsewhere."""
    entries = []
    for source in sources:
        path = source.path
        inside = path.is_relative_to(folder)
        entry: dict[str, Any] = {
            "path": str(path.relative_to(folder) if inside else path), "name": source.name,
            "beats": source.beats.round(6).tolist(),
            "downbeats": source.downbeats.round(6).tolist(),
            "phrases": source.phrases.round(6).tolist(),
        }  # fmt: skip
        if source.vocals is not None:
            entry["vocals"] = source.vocals
        if source.bass is not None:
            entry["bass"] = source.bass
        entries.append(entry)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(json.dumps({"tracks": entries}, indent=1) + "\n")


def read_mono(path: Path) -> Floats:
    """Return the mean of a file's channels at `RATE`: `(frames,)`, float32, full scale is 1."""
    parts: list[Floats] = []
    with soundfile.SoundFile(path) as file:
        convert = soxr.ResampleStream(file.samplerate, RATE, 1, dtype="float32")
        while len(block := file.read(1 << 20, dtype="float32", always_2d=True)):
            parts.append(convert.resample_chunk(block.mean(axis=1)))
        parts.append(convert.resample_chunk(np.zeros(0, np.float32), last=True))
    found: Floats = np.concatenate(parts)
    return found


def fast_size(least: int) -> int:
    """Return a length of at least `least` that a Fourier transform is fast for."""
    power = 1 << max(4, (least - 1).bit_length())
    return min(size for size in (power, power * 3 // 4, power * 5 // 8, power * 9 // 16)
               if size >= least)  # fmt: skip
