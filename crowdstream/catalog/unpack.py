"""Stem files (`.stem.mp4`) made playable: their stems as FLAC files in a folder, once.

The server plays from any place of a file, to the frame. AAC can't be entered exactly, and the
five streams lie interleaved in one file; as FLAC they are stems like any others, and the server
needs no PyAV. An hour of four stems takes about 1.5 GB.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import soundfile

from crowdstream.catalog.mp4 import StemInfo, read_mp4
from crowdstream.library.errors import EmptyAudio, NotAudio, TruncatedAudio, UnsupportedAudio
from crowdstream.library.tracks import MAX_STEMS, UNPACKED, StemFile, find_stems
from crowdstream.texts import cut

_LOSSLESS = frozenset({"alac", "flac"})
MAX_NAME_BYTES = 120  # of what is taken from a title: digests and an ending have to fit, too
MISSING = "stem files need PyAV: pip install 'crowdstream[stems]'"


def default_cache() -> Path:
    """`~/.cache/crowdstream/stems`, or where XDG_CACHE_HOME says."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "crowdstream" / "stems"


def can_unpack() -> bool:
    """Whether PyAV is there."""
    return importlib.util.find_spec("av") is not None


def unpack(path: Path, cache: Path) -> tuple[str, list[StemFile], dict[str, Any]]:
    """The folder in `cache` with the stems of a stem file, these, and the file's tags.

    Unpacked is what has not been; what an older state of the file has left is deleted. Stream 0
    is the mix, 1 and on are the stems. Tags are title, artist, key, bpm, and stems: the name and
    color of each. Raises `AudioFileError` and `OSError`.
    """
    if not can_unpack():
        raise UnsupportedAudio(path, MISSING)
    infos, tags = read_mp4(path)
    status = os.stat(path)
    place = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
    state = hashlib.sha256(b"%d %d" % (status.st_size, status.st_mtime_ns)).hexdigest()[:12]
    folder = cache / f"{_file_name(path.name.rsplit('.', 2)[0])}-{place}-{state}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        _unpack_into(path, infos, folder, cache)
    for old in cache.glob(f"*-{place}-*"):
        if old != folder and old.is_dir() and not old.is_symlink():
            shutil.rmtree(old, ignore_errors=True)
    track = find_stems(folder)
    about: dict[str, Any] = {**tags.texts(), **({"bpm": tags.bpm} if tags.bpm else {})}
    about["stems"] = [
        {"name": stem.name, "color": color}
        for stem, color in zip(track.stems, _colors(track.stems, infos), strict=True)
    ]
    return str(folder), list(track.stems), about


def _unpack_into(path: Path, infos: list[StemInfo], folder: Path, cache: Path) -> None:
    # Under another name until it is whole.
    temporary = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=cache))
    try:
        _decode(path, infos, temporary)
        (temporary / UNPACKED).touch()
        try:
            os.rename(temporary, folder)
        except OSError:
            if not folder.is_dir():  # somebody else has unpacked it meanwhile
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _decode(path: Path, infos: list[StemInfo], folder: Path) -> None:
    import av

    try:
        with av.open(str(path)) as container:
            streams = list(container.streams.audio)[1 : 1 + MAX_STEMS]
            if not streams:
                raise NotAudio(path, "it holds no stems: there is one stream of sound, or none")
            writers: dict[int, _Writer] = {}
            for number, stream in enumerate(streams):
                name = infos[number].name if number < len(infos) else ""
                file = folder / f"{number + 1} - {_file_name(name) or 'stem'}.flac"
                writers[stream.index] = _Writer(av, stream, file)
            try:
                for packet in container.demux(*streams):
                    for frame in packet.decode():
                        writers[packet.stream.index].write(frame)
            finally:
                for writer in writers.values():
                    writer.close()
            if not all(writer.frames for writer in writers.values()):
                raise EmptyAudio(path, "one of its stems has no sound; export it again")
    except (av.FFmpegError, ValueError, IndexError) as error:
        if isinstance(error, av.error.InvalidDataError):
            raise TruncatedAudio(path, "it is damaged or no MP4 file; export it again") from None
        raise NotAudio(path, f"it can't be decoded ({error})") from None


class _Writer:
    """One stream to one FLAC file: of 24 bits where a lossless stream has them, else of 16.

    AAC decodes to floats and has no more than 16 bits to give.
    """

    def __init__(self, av: Any, stream: Any, file: Path) -> None:
        rate = int(stream.rate)
        context = stream.codec_context
        deep = context.name in _LOSSLESS and context.format.bits > 16
        subtype = "PCM_24" if deep else "PCM_16"
        # Samples of 24 bits come as the upper bits of 32.
        self._convert = av.AudioResampler(
            format="s32" if deep else "s16", layout="stereo", rate=rate
        )
        self._sound = soundfile.SoundFile(file, "w", rate, 2, subtype, format="FLAC")
        self.frames = 0

    def write(self, frame: Any) -> None:
        for one in self._convert.resample(frame):
            samples = one.to_ndarray().reshape(-1, 2)
            self.frames += len(samples)
            self._sound.write(samples)

    def close(self) -> None:
        self._sound.close()


def _file_name(text: str) -> str:
    # A name for a file, from a text that may hold anything.
    plain = "".join(c if c.isalnum() or c in " ()_.+&'" else "_" for c in text)
    return cut(plain.strip(" .")[:60], MAX_NAME_BYTES)


def _colors(stems: tuple[StemFile, ...], infos: list[StemInfo]) -> list[str]:
    colors = []
    for stem in stems:
        number = int(stem.path.name.split(" ", 1)[0]) - 1
        colors.append(infos[number].color if number < len(infos) else "")
    return colors
