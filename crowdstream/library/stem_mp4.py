"""Stem files (`.stem.mp4`) made playable: their stems as FLAC files in a folder, once.

The five streams lie interleaved in one file; as FLAC they are stems like any others, see
`audiofile/transcode.py`. An hour of four stems takes about 1.5 GB.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from crowdstream.audiofile.containers.mp4 import StemInfo, read_stems
from crowdstream.audiofile.stems.track_files import StemFile, find_stems
from crowdstream.audiofile.tags import read_tags
from crowdstream.audiofile.transcode import REMEDY, Source, Transcription, is_whole

MISSING = f"a stem file {REMEDY}"


def default_cache() -> Path:
    """`~/.cache/crowdstream/stems`, or where XDG_CACHE_HOME says."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "crowdstream" / "stems"


def unpack(path: Path, cache: Path) -> tuple[str, list[StemFile], dict[str, Any]]:
    """The folder in `cache` with the stems of a stem file, these, and the file's tags.

    Unpacked is what has not been; what an older state of the file has left is deleted. Stream 0
    is the mix, 1 and on are the stems. Tags are title, artist, key, bpm, and stems: the name and
    color of each. Raises `AudioFileError` and `OSError`.
    """
    infos, tags = read_stems(path), read_tags(path)
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        source = Source(path, file.fileno(), status.st_size, status.st_mtime_ns)
        folder = source.folder(cache, path.name.rsplit(".", 2)[0])
        if not is_whole(folder):
            Transcription(source, folder, [info.name for info in infos]).wait(lambda: None)
    track = find_stems(folder)
    about: dict[str, Any] = {**tags.texts(), **({"bpm": tags.bpm} if tags.bpm else {})}
    about["stems"] = [
        {"name": stem.name, "color": color}
        for stem, color in zip(track.stems, _colors(track.stems, infos), strict=True)
    ]
    return str(folder), list(track.stems), about


def _colors(stems: tuple[StemFile, ...], infos: list[StemInfo]) -> list[str]:
    colors = []
    for stem in stems:
        number = int(stem.path.name.split(" ", 1)[0]) - 1
        colors.append(infos[number].color if number < len(infos) else "")
    return colors
