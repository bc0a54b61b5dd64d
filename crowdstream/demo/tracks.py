"""The demo's tracks as files: four folders of stems, written once and atomically."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile

from crowdstream.demo import arrange, mixdown
from crowdstream.demo.dsp import RATE
from crowdstream.demo.songs import SONGS, STEMS, TUNED_TEMPO, Song

ARTIST = "CrowdStream demo"
MARKER = "made-by.txt"
"""Written last, inside the folder: the fingerprint of the code that made the tracks."""

Progress = Callable[[int, int, str], None]
"""Called with (tracks done, total number of tracks, title of the current one, or "")."""


class TracksError(Exception):
    """The tracks can't be written; the message gives the folder and the reason."""


@dataclass(frozen=True)
class Track:
    """A track on disk, with the properties that the mix needs."""

    folder: Path
    title: str
    bpm: float
    bars: int
    phrase_bars: int = 8

    @property
    def seconds(self) -> float:
        """Length in seconds at its own tempo."""
        return self.bars * arrange.BEATS_PER_BAR * 60.0 / self.bpm


def fingerprint(songs: Sequence[Song] = SONGS) -> str:
    """Return a hash that changes with the notes and with the code that renders them."""
    digest = hashlib.sha256(repr(songs).encode())
    for name in ("dsp", "drums", "voices", "songs", "arrange", "mixdown", "tracks"):
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return digest.hexdigest()[:16]


def tracks_in(folder: Path, songs: Sequence[Song] = SONGS) -> list[Track]:
    """Return the tracks of `folder`, whether or not they exist yet."""
    return [
        Track(folder / song.folder, song.title, song.bpm, arrange.total_bars(song))
        for song in songs
    ]


def complete(folder: Path, songs: Sequence[Song] = SONGS) -> bool:
    """Whether `folder` contains all tracks, made by this version of the code.

    After a power failure, files may be empty that were written just before.
    """
    files = (folder / song.folder / f"{stem}.wav" for song in songs for stem in STEMS)
    try:
        marker = (folder / MARKER).read_text(encoding="utf-8").strip()
        return marker == fingerprint(songs) and all(file.stat().st_size for file in files)
    except (OSError, UnicodeDecodeError):
        return False


def write_tracks(
    folder: Path, songs: Sequence[Song] = SONGS, progress: Progress | None = None
) -> list[Track]:
    """Make the tracks in `folder` unless they exist; return them in mixing order.

    They are made in a temporary folder beside it, which is then renamed, so an incomplete set is
    never used. An unfinished or outdated `folder` is replaced.

    Raises `TracksError` if the disk is full or the folder can't be written.
    """
    if complete(folder, songs):
        return tracks_in(folder, songs)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _clear_remains(folder)
        making = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise TracksError(_write_error(folder, error)) from error
    try:
        for done, song in enumerate(songs):
            if progress:
                progress(done, len(songs), song.title)
            _write_song(song, making / song.folder)
        (making / MARKER).write_text(fingerprint(songs) + "\n", encoding="utf-8")
        making.chmod(0o755)
        _install(making, folder, songs)
        if progress:
            progress(len(songs), len(songs), "")
    except (OSError, soundfile.LibsndfileError) as error:
        raise TracksError(_write_error(folder, error)) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return tracks_in(folder, songs)


def _write_error(folder: Path, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return (
        f"the demo's tracks can't be written to {folder}: {reason}; "
        "choose a folder with 300 MB free with --cache"
    )


def _clear_remains(folder: Path) -> None:
    """Remove the temporary folders of demos that were killed while writing."""
    for path in folder.parent.glob(f".{folder.name}-*"):
        # One hour: no demo takes that long to write its tracks.
        if time.time() - path.stat().st_mtime > 3600.0:
            shutil.rmtree(path, ignore_errors=True)


def _install(making: Path, folder: Path, songs: Sequence[Song]) -> None:
    if folder.exists() and not complete(folder, songs):
        # Moved away first: a rename is atomic, whereas a removal could be interrupted.
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
        os.replace(folder, old)
        shutil.rmtree(old, ignore_errors=True)
    try:
        os.replace(making, folder)
    except OSError:
        # Another demo may have finished the same tracks in the meantime, which is fine.
        if not complete(folder, songs):
            raise


def _write_song(song: Song, folder: Path) -> None:
    folder.mkdir()
    for name, samples in mixdown.stems(song).items():
        with soundfile.SoundFile(folder / f"{name}.wav", "w", RATE, 2, "PCM_16") as file:
            file.title, file.artist = song.title, ARTIST
            file.write(samples)
    (folder / "track.toml").write_text(_toml(song), encoding="utf-8")
    grid = f"[grid]\nbpm = {song.bpm}\nfirst_downbeat = 0.0\n"
    (folder / "crowdstream.toml").write_text(grid, encoding="utf-8")


def _toml(song: Song) -> str:
    sections = ", ".join(f'["{part.name}", {part.bars}]' for part in song.sections)
    return (
        f'title = "{song.title}"\n'
        f'artist = "{ARTIST}"\n'
        f"bpm = {song.bpm}\n"
        f'key = "{song.key}"\n'
        f'camelot = "{song.camelot}"\n'
        f"tuning = {440.0 * song.bpm / TUNED_TEMPO:.2f}  # hertz of A; see demo/songs.py\n"
        "downbeat = 0.0  # seconds from the first frame to the first beat of a bar\n"
        f"bars = {arrange.total_bars(song)}\n"
        f"sections = [{sections}]  # name, bars\n"
    )
