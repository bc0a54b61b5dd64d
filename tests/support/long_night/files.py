"""The sound files of a long night: pieces in several formats, and damaged or mislabelled files."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from tests.support.long_night.model import Piece
from tests.support.wav_header import wav_header

RATE = 44100
LEVEL = 0.08  # peak of a stem's tone; four decks with four stems reach about full scale
_BLOCK_BEATS = 8

# Extension, subtype, channels, sample rate relative to the sound card's.
FORMS: dict[str, tuple[str, str, int, float]] = {
    "16": (".wav", "PCM_16", 2, 1.0), "16 mono": (".wav", "PCM_16", 1, 1.0),
    "24": (".wav", "PCM_24", 2, 1.0), "24 mono": (".wav", "PCM_24", 1, 1.0),
    "float": (".wav", "FLOAT", 2, 1.0), "flac 16": (".flac", "PCM_16", 2, 1.0),
    "flac 24": (".flac", "PCM_24", 2, 1.0), "ogg": (".ogg", "VORBIS", 2, 1.0),
    "aiff": (".aiff", "PCM_16", 2, 1.0), "other rate": (".wav", "PCM_16", 2, 48000 / 44100),
}  # fmt: skip


def pieces(long_seconds: float) -> list[Piece]:
    """The pieces of a night. The longest one lasts `long_seconds`."""
    return [
        Piece("short", 8.0, 1, 120.0, "16"),
        Piece("blip", 2.0, 1, 120.0, "16 mono"),
        Piece("four stems", 60.0, 4, 124.0, "16"),
        Piece("mono stems", 45.0, 2, 96.0, "24 mono"),
        Piece("twenty-four", 40.0, 2, 128.0, "24"),
        Piece("float", 30.0, 1, 110.0, "float"),
        Piece("flac", 60.0, 4, 118.0, "flac 16"),
        Piece("flac 24", 40.0, 1, 132.0, "flac 24"),
        Piece("vorbis", 40.0, 1, 126.0, "ogg"),
        Piece("aiff", 30.0, 1, 105.0, "aiff"),
        Piece("other rate", 40.0, 2, 122.0, "other rate"),
        # Two and a half of these fill the smallest memory budget.
        Piece("big", 150.0, 4, 121.0, "16"),
        Piece("long", long_seconds, 1, 120.0, "16"),
        Piece("long stems", long_seconds / 2, 3, 125.0, "16"),
    ]


def stick_pieces(long_seconds: float) -> list[Piece]:
    """The pieces on a removable folder: one that is resident when it plays, one streamed."""
    return [
        Piece("stick stems", 60.0, 4, 116.0, "16"),
        Piece("stick long", long_seconds, 1, 122.0, "16"),
    ]


def path_of(folder: Path, piece: Piece) -> Path:
    """The path to load: the folder of a piece's stems, or its only file."""
    own = folder / piece.name
    return own if piece.stems > 1 else own / f"stem 1{FORMS[piece.form][0]}"


def write_pieces(folder: Path, wanted: Sequence[Piece], rate: int = RATE) -> dict[str, Path]:
    """Write the missing files, at `rate` Hz; return the path of each piece by name."""
    for number, piece in enumerate(wanted):
        for stem in range(piece.stems):
            path = folder / piece.name / f"stem {stem + 1}{FORMS[piece.form][0]}"
            frames = round(piece.seconds * rate * FORMS[piece.form][3])
            if not path.exists() or soundfile.info(path).frames != frames:
                _write(path, piece, rate, frames, 10 * number + stem)
    return {piece.name: path_of(folder, piece) for piece in wanted}


def _write(path: Path, piece: Piece, rate: int, frames: int, seed: int) -> None:
    _, subtype, channels, faster = FORMS[piece.form]
    rate = round(rate * faster)
    block = _music(piece.bpm, rate, channels, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"part-{path.name}")
    with soundfile.SoundFile(part, "w", rate, channels, subtype) as file:
        left = frames
        while left > 0:
            file.write(block[:left])
            left -= min(left, len(block))
    part.replace(path)


def _music(bpm: float, rate: int, channels: int, seed: int) -> np.ndarray:
    # Eight beats: a continuous tone, and a burst of noise on each beat.
    chance = np.random.default_rng(seed)
    frames = round(_BLOCK_BEATS * 60.0 / bpm * rate)
    time = np.arange(frames) / rate
    # A whole number of periods, so that repeated blocks join without a click.
    hertz = round((60.0 + 40.0 * (seed % 7)) * frames / rate) * rate / frames
    since = (time * bpm / 60.0) % 1.0
    burst = 2.0 * np.exp(-20.0 * since) * chance.uniform(-1.0, 1.0, frames)
    sound = LEVEL * (np.sin(2.0 * np.pi * hertz * time) + burst)
    return np.repeat(sound[:, None], channels, 1).astype(np.float32)


BAD_FILES = (
    "missing.wav", "empty.wav", "noise.flac", "text.wav", "cut.wav", "claims.wav", "cut.flac",
    "nothing.wav", "nan.wav", "folder", "noise.mp3", "cut.ogg", "no channels.wav",
)  # fmt: skip


def write_bad_files(folder: Path) -> dict[str, Path]:
    """Write the files of `BAD_FILES` except the missing one; return their paths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(1)
    noise = chance.integers(0, 256, 20000, np.uint8).tobytes()
    sound = _music(120.0, RATE, 2, 3)
    for name in ("noise.flac", "noise.mp3"):
        (folder / name).write_bytes(noise)
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("This is not a sound.\n" * 100)
    (folder / "nothing.wav").write_bytes(wav_header(0))
    # The header announces 4 GB, a few frames follow.
    (folder / "claims.wav").write_bytes(wav_header(2**32 - 100) + noise[:4000])
    form = struct.pack("<HHIIHH", 1, 0, RATE, 0, 0, 16)
    head = b"RIFF\xff\xff\xff\x7fWAVEfmt " + struct.pack("<I", 16) + form
    (folder / "no channels.wav").write_bytes(head + b"data\xff\xff\xff\x7f" + noise)
    (folder / "folder").mkdir(exist_ok=True)
    odd = sound.copy()
    odd[::1000], odd[500::1000] = np.nan, np.inf
    soundfile.write(folder / "nan.wav", odd, RATE, "FLOAT")
    for name in ("cut.wav", "cut.flac", "cut.ogg"):
        soundfile.write(folder / name, sound, RATE)
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
    return {name: folder / name for name in BAD_FILES}
