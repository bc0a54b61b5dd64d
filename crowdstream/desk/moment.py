"""Provisional."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from crowdstream.desk.block import Desk
from crowdstream.desk.codes import PLAYING
from crowdstream.desk.sizes import VOICES
from crowdstream.desk.stamp import read_callback


class Moment(NamedTuple):
    frame: int
    ns: int
    positions: np.ndarray
    speeds: np.ndarray
    playing: np.ndarray
    beat: float
    bpm: float


def read_moment(desk: Desk) -> Moment:
    ns, frame = read_callback(desk) or (0, 0)
    clock = desk.clock
    voices = desk.voices
    playing = voices["state"][:VOICES] == PLAYING
    rate = float(clock["tempo_rate"])
    beat = float(clock["tempo_beat"]) + (frame - int(clock["tempo_frame"])) * rate
    bpm = rate * desk.sample_rate * 60
    positions = voices["position"][:VOICES].copy()
    return Moment(frame, ns, positions, playing * 1.0, playing, beat, bpm)
