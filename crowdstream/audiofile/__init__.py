"""Reading audio files: which files make a track, and their samples at the engine's rate."""

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
