"""Read audio files: find the files that make up a track, and decode them at the engine's rate."""

from crowdstream.audiofile.errors import AudioFileError
from crowdstream.audiofile.reader import StemReader, open_stem
from crowdstream.audiofile.stems.track_files import (
    StemFile,
    TrackFiles,
    check_media_root,
    find_stems,
)

__all__ = [
    "AudioFileError",
    "StemFile",
    "StemReader",
    "TrackFiles",
    "check_media_root",
    "find_stems",
    "open_stem",
]
