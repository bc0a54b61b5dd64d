"""Make a corpus of music from MIDI data, rendered with a sound font of recorded instruments.

    apt install fluidsynth fluid-soundfont-gm
    pip install -r requirements-bench.txt
    python benchmarks/midi_corpus.py files FOLDER [--packages NAME ...] [--seconds 150] [--rate R]
    python benchmarks/midi_corpus.py bands FOLDER [--count 116] [--first 0] [--moving] [--rate R]

`files` renders the MIDI files of the Debian packages in `PACKAGES`, as far as these are installed:
the music of games and collections of tunes, by many authors. A file's tempo and time signature are
the truth. Left out are files whose tempo or meter changes, whose notes do not lie on sixteenths or
triplets (played freely), that are shorter than 30 s, and meters whose beat is ambiguous. `bands`
renders the accompaniments of `benchmarks/bands.py`; `--first` is the seed of the first one, and
`--moving` lets their tempo wander, as without a click. `--rate 22050` halves the time of rendering;
the analysis uses nothing above 11 kHz.

The format is that of `benchmarks/corpus.py`; tracks that exist already are kept. FluidSynth renders
them with the sound font FluidR3 (MIT licence).
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import math
import os
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import mido
import numpy as np
import numpy.typing as npt
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.bands import BANDS, make_moving_song, make_song
from benchmarks.common import Progress

PACKAGES = (
    "simutrans-data", "openttd-openmsx", "planetblupi-music-midi", "freedink-data", "pianobooster",
    "kobodeluxe-data", "freedoom", "abcmidi", "abcm2ps",
)  # fmt: skip
SOUND_FONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
RATE = 44100  # Hz
MIN_SECONDS = 30.0
METERS = ((4, 4), (3, 4), (2, 4), (6, 8), (9, 8), (12, 8))
SAME_TEMPO = 0.002  # relative difference of tempi that count as one
ONE_TEMPO = 0.97  # share of a file's length at its main tempo
NEAR = 1 / 24  # of a beat: a note this near to a sixteenth or a triplet is on it
ON_GRID = 0.85  # minimum share of such notes

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """What is known of MIDI data. Beat 0 is at the beginning; `meter` is a time signature.

    beats: the times of the beats in seconds, if the tempo wanders.
    key: 0 to 11 for major keys from C; None if unknown.
    """

    name: str
    bpm: float
    meter: tuple[int, int]
    seconds: float
    data: bytes
    beats: tuple[float, ...] = ()
    key: int | None = None


class Unusable(Exception):
    """The file has no truth that could be relied on."""


def midi_files(packages: Iterable[str] = PACKAGES) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each MIDI file of these packages, if they are installed."""
    for package in packages:
        command = ["dpkg", "-L", package]
        listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        for path in map(Path, sorted(listed.splitlines())):
            name = f"{package.partition('-')[0]}-{path.name.partition('.')[0]}"
            if path.name.endswith((".mid", ".midi")):
                yield name, path.read_bytes()
            elif path.name.endswith((".mid.gz", ".midi.gz")):
                yield name, gzip.decompress(path.read_bytes())
            elif path.suffix == ".wad":
                yield from _of_wad(path)
            elif path.suffix == ".abc":
                yield from _of_abc(name, path)


def _of_wad(path: Path) -> Iterator[tuple[str, bytes]]:
    # The music of a game in the format of Doom: a directory of lumps.
    data = path.read_bytes()
    count, at = struct.unpack_from("<ii", data, 4)
    for number in range(count):
        begin, size, name = struct.unpack_from("<ii8s", data, at + 16 * number)
        if data[begin : begin + 4] == b"MThd":
            yield f"{path.stem}-{name.rstrip(bytes(1)).decode('ascii')}", data[begin : begin + size]


def _of_abc(name: str, path: Path) -> Iterator[tuple[str, bytes]]:
    with tempfile.TemporaryDirectory() as folder:
        for number in re.findall(r"^X: *(\d+)", path.read_text(errors="replace"), re.MULTILINE):
            out = Path(folder) / f"{number}.mid"
            subprocess.run(
                ["abc2midi", str(path), number, "-o", str(out)], capture_output=True, check=False
            )
            if out.exists():
                yield f"{name}-{number}", out.read_bytes()


def read_score(name: str, data: bytes) -> Score:
    """Return what a MIDI file says of its beats. Raises `Unusable`."""
    try:
        file = mido.MidiFile(file=io.BytesIO(data), clip=True)
    except Exception as error:  # files in the wild: mido raises many kinds
        raise Unusable(f"unreadable: {error}") from error
    if file.ticks_per_beat <= 0 or file.type == 2:
        raise Unusable("not in quarter notes")
    tempi: list[tuple[int, int]] = []  # ticks, microseconds per quarter
    meters: set[tuple[int, int]] = set()
    notes: list[int] = []
    ticks = 0
    for message in mido.merge_tracks(file.tracks):
        ticks += message.time
        if message.type == "set_tempo":
            tempi.append((ticks, message.tempo))
        elif message.type == "time_signature":
            meters.add((message.numerator, message.denominator))
        elif message.type == "note_on" and message.velocity > 0:
            notes.append(ticks)
    if not notes or ticks <= 0:
        raise Unusable("no notes")
    meter = meters.pop() if len(meters) == 1 else (4, 4) if not meters else None
    if meter not in METERS:
        raise Unusable(f"meters {meter or sorted(meters)}")
    assert meter is not None
    tempo = _one_tempo([entry for entry in tempi if entry[0] < ticks] or [(0, 500000)], ticks)
    quarter = file.ticks_per_beat
    beat = quarter if meter[1] == 4 else 1.5 * quarter
    places = np.array(notes) / beat
    off = np.min([np.abs(places * n - np.rint(places * n)) / n for n in (3, 4)], axis=0)
    if float((off < NEAR).mean()) < ON_GRID:
        raise Unusable("played freely")
    seconds = ticks / quarter * tempo / 1e6
    bpm = 6e7 / tempo * quarter / beat
    if seconds < MIN_SECONDS:
        raise Unusable("too short")
    return Score(f"midi/{name}", bpm, meter, seconds, data)


def _one_tempo(tempi: list[tuple[int, int]], ticks: int) -> float:
    # Of the whole file; it must begin with it, so that beat 0 is at frame 0.
    held: dict[int, int] = {}
    for (begin, tempo), (end, _next) in zip(tempi, [*tempi[1:], (ticks, 0)], strict=True):
        held[tempo] = held.get(tempo, 0) + end - begin
    main = max(held, key=lambda tempo: held[tempo])
    near = sum(length for tempo, length in held.items() if abs(tempo / main - 1) < SAME_TEMPO)
    first = next((tempo for begin, tempo in tempi if begin == 0), tempi[0][1])
    exact = held[main] / ticks
    if near / ticks < ONE_TEMPO or exact < ONE_TEMPO or abs(first / main - 1) >= 1e-9:
        raise Unusable("its tempo changes")
    return float(main)


def render(data: bytes, out: Path, seconds: float, rate: int = RATE) -> None:
    """Render a MIDI file to a WAV file of at most `seconds`, 16 bits, never clipped."""
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "score.mid", Path(folder) / "score.wav"
        source.write_bytes(data)
        subprocess.run(
            ["fluidsynth", "-ni", "-q", "-g", "0.5", "-r", str(rate), "-T", "wav", "-O", "float",
             "-F", str(made), SOUND_FONT, str(source)],
            check=True, capture_output=True, timeout=600.0,
        )  # fmt: skip
        frames = -1 if math.isinf(seconds) else round(seconds * rate)
        sound, _rate = soundfile.read(made, frames=frames, dtype="float32")
    peak = float(np.abs(sound).max(initial=0.0))
    if peak < 1e-3:
        raise Unusable("silent")
    out.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(out, sound * (0.9 / peak), rate, subtype="PCM_16")


def make(folder: Path, score: Score, seconds: float, rate: int = RATE) -> None:
    """Make one track of at most `seconds`. Raises `Unusable`."""
    audio = folder / "corpus" / f"{score.name}.wav"
    if not audio.exists():
        try:
            render(score.data, audio, seconds, rate)
        except subprocess.SubprocessError as error:
            raise Unusable(str(error)) from error
    truth = {
        "name": score.name, "bpm": score.bpm, "meter": list(score.meter),
        "first": 0.0, "seconds": min(score.seconds, seconds),
    }  # fmt: skip
    if score.beats:
        bar = score.meter[0] // (3 if score.meter[1] == 8 else 1)
        truth |= {"beats": score.beats, "downbeats": score.beats[::bar]}
    if score.key is not None:
        truth["key"] = score.key
    path = folder / "truth" / f"{score.name.replace('/', '__')}.json"
    path.write_text(json.dumps(truth), encoding="utf-8")


def scores_of_files(packages: Iterable[str] = PACKAGES) -> Iterator[Score]:
    """Yield the scores of the packages' files; prints why others are left out."""
    known = set()
    for name, data in midi_files(packages):
        if data in known:
            continue
        known.add(data)
        try:
            yield read_score(re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-"), data)
        except Unusable as reason:
            print(f"left out: {name}: {reason}")


def scores_of_bands(first: int, count: int, moving: bool) -> Iterator[Score]:
    """Yield the scores of generated accompaniments."""
    for number in range(first, first + count):
        if moving:
            name, beats, meter, data = make_moving_song(number)
            bpm = 60 / float(np.median(np.diff(beats)))
            signature = (6, 8) if meter == 2 else (meter, 4)
            yield Score(f"moving/{name}", bpm, signature, beats[-1], data, tuple(beats))
            continue
        name, bpm, meter, bars, key, data = make_song(number)
        signature = (6, 8) if meter == 2 else (meter, 4)
        yield Score(f"bands/{name}", bpm, signature, bars * meter * 60 / bpm, data, key=key)


def main() -> None:
    """Make the corpus, and print which tracks were left out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    files = commands.add_parser("files", help="render the MIDI files of Debian packages")
    files.add_argument("--packages", nargs="+", choices=PACKAGES, default=PACKAGES, metavar="NAME")
    files.add_argument("--seconds", type=float, default=150.0, help="longest length of a track")
    bands = commands.add_parser("bands", help="render generated accompaniments")
    bands.add_argument("--count", type=int, default=4 * len(BANDS))
    bands.add_argument("--first", type=int, default=0, help="seed of the first one")
    bands.add_argument("--moving", action="store_true", help="without a constant tempo")
    for command in (files, bands):
        command.add_argument("folder", type=Path)
        command.add_argument("--rate", type=int, default=RATE, help="sample rate in Hz")
    options = parser.parse_args()
    (options.folder / "truth").mkdir(parents=True, exist_ok=True)
    if options.command == "files":
        scores, seconds = list(scores_of_files(options.packages)), float(options.seconds)
    else:
        bands_scores = scores_of_bands(options.first, options.count, options.moving)
        scores, seconds = list(bands_scores), math.inf
    progress = Progress(len(scores))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = {
            pool.submit(make, options.folder, score, seconds, options.rate): score
            for score in scores
        }
        for future in as_completed(made):
            progress.add(1, "rendering")
            if isinstance(reason := future.exception(), Unusable):
                print(f"left out: {made[future].name}: {reason}")
            elif reason is not None:
                raise reason
    progress.close()


if __name__ == "__main__":
    main()
