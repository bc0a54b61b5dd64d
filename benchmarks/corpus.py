"""Music with known beats that this project did not make, in a folder.

    FOLDER/truth/NAME.json    what is known of a track, see `CorpusTrack`
    FOLDER/corpus/NAME.wav    its audio, where NAME is `source/track` (`source__track` in truth/)

A truth file holds `name`, `bpm` and `meter` ([3, 4] is three quarter notes per bar), and either the
times of `beats` and `downbeats` in seconds, or `first`, the time of the first downbeat of a track
with a constant tempo, and `seconds`, its length. `key` is optional: 0 to 11 for major keys from C,
12 to 23 for minor keys.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CorpusTrack:
    """A track: its audio file, and its true tempo, beats, downbeats and meter.

    bpm: beats per minute; the median of a variable tempo.
    beats, downbeats: seconds.
    meter: beats per bar.
    compound: each beat is divided in thirds, as in 6/8.
    key: 0 to 11 for major keys from C, 12 to 23 for minor keys; None if unknown.
    """

    name: str
    path: Path
    bpm: float
    beats: Doubles
    downbeats: Doubles
    meter: int
    compound: bool
    key: int | None

    @property
    def source(self) -> str:
        """The source of the track: the first part of its name."""
        return self.name.partition("/")[0]


def read_corpus(folder: Path) -> list[CorpusTrack]:
    """Return the tracks of a folder whose audio is there, sorted by name."""
    found = []
    for path in sorted((folder / "truth").glob("*.json")):
        known = json.loads(path.read_text(encoding="utf-8"))
        audio = folder / "corpus" / f"{known['name']}.wav"
        if audio.exists():
            found.append(_track(known, audio))
    return found


def _track(known: dict[str, Any], audio: Path) -> CorpusTrack:
    # A beat of 6/8 is a dotted quarter, of which a bar has two; a bar of 8/4 counts as two.
    upper, lower = known["meter"]
    meter = upper // 3 if lower == 8 else 4 if upper in (1, 8) else upper
    if isinstance(known.get("beats"), list):
        beats = np.array(known["beats"], np.float64)
        downbeats = np.array(known["downbeats"], np.float64)
    else:
        beats = np.arange(known["first"], known["seconds"], 60 / known["bpm"])
        downbeats = beats[::meter]
    return CorpusTrack(
        known["name"], audio, known["bpm"], beats, downbeats, meter, lower == 8, known.get("key")
    )
