"""Unpack stem files (`.stem.mp4`) to folders of FLAC files, which decks can play.

A stem file interleaves five streams; `audiofile/transcode.py` writes each as a FLAC file of its
own, so they load like any other stems. An hour of four stems takes about 1.5 GB.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from crowdstream.audiofile.containers.mp4 import StemInfo, read_stems
from crowdstream.audiofile.stems.track_files import StemFile, find_stems
from crowdstream.audiofile.tags import read_tags
from crowdstream.audiofile.transcode import REMEDY, Source, Transcription, is_complete

MISSING = f"a stem file {REMEDY}"


def default_cache() -> Path:
    """Return the default folder, `$XDG_CACHE_HOME/crowdstream/stems`.

    XDG_CACHE_HOME defaults to `~/.cache`.
    """
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "crowdstream" / "stems"


def unpack(path: Path, cache: Path) -> tuple[str, list[StemFile], dict[str, Any]]:
    """Unpack a stem file unless it has been unpacked; return its folder, stems and tags.

    The folder is below `cache`. The stems of an older version of the file are deleted. Stream 0 of
    a stem file is the mix, the following streams are the stems. The tags are title, artist, key,
    bpm, and stems: a list with the name and color of each. Raises `AudioFileError` and `OSError`.
    """
    infos, tags = read_stems(path), read_tags(path)
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        source = Source(path, file.fileno(), status.st_size, status.st_mtime_ns)
        folder = source.folder(cache, path.name.rsplit(".", 2)[0])
        if not is_complete(folder):
            Transcription(source, folder, [info.name for info in infos]).wait(lambda: None)
    track = find_stems(folder)
    about = tags.values()
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
