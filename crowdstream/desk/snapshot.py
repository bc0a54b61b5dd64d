"""A consistent snapshot of the desk: frame, tempo and playheads of the same moment.

A process that reads a playhead and then the frame while the engine renders may get values from two
different blocks. `read_snapshot` avoids this without waiting. Between two turns it copies the
contents of the desk. While a turn is rendered it copies the undo log's record of the beginning of
the turn (see `engine/undo_log.py`). It checks the state of the undo log and the number of turns
before and after copying, to decide whether the copy is consistent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from crowdstream.desk.atomics import fence, load_acquire
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import MAX_RATE, MIN_RATE, SLOTS, VOICES
from crowdstream.desk.dtypes import CLOCK, RAMP, UNDO_LOG, VOICE
from crowdstream.desk.layout import REGIONS
from crowdstream.desk.opcodes import FREE, PLAYING, WORK_IDLE, WORK_RENDERS
from crowdstream.desk.ramps import RAMP_VOICE, VOICE_RATE, VOICE_ROWS, VOICE_SPIN

_CLOCK, _VOICES = REGIONS["clock"].offset, REGIONS["voices"].offset
_RATES = REGIONS["ramps"].offset + RAMP.itemsize * RAMP_VOICE
_CLOCK_FIELDS, _UNDO_LOG_FIELDS = CLOCK.fields, UNDO_LOG.fields
assert _CLOCK_FIELDS is not None and _UNDO_LOG_FIELDS is not None
_EPOCH = _CLOCK + _CLOCK_FIELDS["epoch"][1]
_STAMP = _CLOCK + _CLOCK_FIELDS["stamp"][1]
_CALLBACK_NS = _CLOCK + _CLOCK_FIELDS["callback_ns"][1]
_CALLBACK_FRAME = _CLOCK + _CLOCK_FIELDS["callback_frame"][1]
_STATE = REGIONS["undo_log"].offset + _UNDO_LOG_FIELDS["state"][1]
_ROWS = (VOICE_RATE, VOICE_SPIN)

ATTEMPTS = 64  # reading takes a fraction of the shortest turn


@dataclass(frozen=True)
class DeskSnapshot:
    """The state of the desk when everything before `frame` has been rendered, and nothing after it.

    `callback_ns` is the time at which the latest block was requested (monotonic ns, 0 if none was),
    and `callback_frame` its first frame. `beat` and `bpm` are the clock's values at `frame`.

    The other fields are indexed by voice, each of length `VOICES`: `playing`; `positions`, the file
    frame under the playhead; `speeds`, file frames per frame at `frame`, negative when playing
    backward, 0 when at rest; `heard`, the audible file frame including its fraction. `heard`
    differs from the playhead only with keylock, by some hundredths of a second (see
    `engine/voice/keylock.py`).
    """

    frame: int
    callback_ns: int
    callback_frame: int
    beat: float
    bpm: float
    playing: tuple[bool, ...]
    positions: tuple[int, ...]
    speeds: tuple[float, ...]
    audible_positions: tuple[float, ...]


_latest: WeakKeyDictionary[Desk, DeskSnapshot] = WeakKeyDictionary()


def read_snapshot(desk: Desk) -> DeskSnapshot:
    """Return the desk's state at the latest known moment. Use it in one thread per process.

    It never waits. If an engine has died while publishing a turn, it returns the previous snapshot
    for the fraction of a millisecond that a successor needs to complete the publication. A desk
    that is rendered without an undo log, as in offline rendering, must be read by the rendering
    thread.
    """
    for _attempt in range(ATTEMPTS):
        copied = _copy(desk)
        if copied is not None:
            moment = _latest[desk] = _moment(desk, *copied)
            return moment
    known = _latest.get(desk)
    return known if known is not None else _moment(desk, *_copy_idle(desk))


def _marks(desk: Desk) -> tuple[int, ...]:
    return tuple(load_acquire(desk.address + at) for at in (_STATE, _EPOCH, _STAMP))


def _copy(desk: Desk) -> tuple[Any, np.ndarray, np.ndarray] | None:
    # Clock, voices, and their rates and spins; None if an engine changed them meanwhile.
    marks = _marks(desk)
    if marks[0] == WORK_IDLE and marks[2] % 2 == 0:
        copied = _copy_idle(desk)
    elif marks[0] == WORK_RENDERS:
        copied = _copy_kept(desk)
    else:
        return None
    fence()  # the copy is complete before the marks are read again
    return copied if _marks(desk) == marks else None


def _copy_idle(desk: Desk) -> tuple[Any, np.ndarray, np.ndarray]:
    rows = desk.ramps["value"][RAMP_VOICE:].reshape(SLOTS, VOICE_ROWS)
    return desk.clock.copy(), desk.voices[:VOICES].copy(), rows[:VOICES, _ROWS]


def _copy_kept(desk: Desk) -> tuple[Any, np.ndarray, np.ndarray]:
    # From the undo log. A voice that is not in it was free at the beginning of the turn.
    entries = min(int(desk.undo_log["entries"]), len(desk.undo_pieces))
    offsets, words = desk.undo_pieces[:entries].T
    places = dict(zip(offsets.tolist(), (np.cumsum(words) - words).tolist(), strict=True))
    clock: np.ndarray = np.zeros(1, CLOCK)
    voices = desk.voices[:VOICES].copy()
    voices["state"] = FREE
    rates = np.ones((VOICES, len(_ROWS)))
    kept = desk.undo.view(np.uint8)

    def fetch(offset: int, into: np.ndarray) -> bool:
        place = places.get(offset, -1)
        if not 0 <= 4 * place <= len(kept) - into.nbytes:
            return False
        into.view(np.uint8)[:] = kept[4 * place : 4 * place + into.nbytes]
        return True

    fetch(_CLOCK, clock)
    rows: np.ndarray = np.zeros(VOICE_ROWS, RAMP)
    for slot in range(VOICES):
        if fetch(_VOICES + VOICE.itemsize * slot, voices[slot : slot + 1]):
            fetch(_RATES + rows.nbytes * slot, rows)
            rates[slot] = rows["value"][list(_ROWS)]
    return clock[0], voices, rates


def _moment(desk: Desk, clock: Any, voices: np.ndarray, rates: np.ndarray) -> DeskSnapshot:
    frame = int(clock["frame"])
    beat, per_frame = _beat(clock, frame)
    tempo = per_frame / float(clock["tempo_base"])
    playing, speeds, heard = [False] * VOICES, [0.0] * VOICES, [0.0] * VOICES
    for slot in np.flatnonzero(voices["state"] == PLAYING).tolist():
        voice = voices[slot]
        playing[slot] = True
        speeds[slot] = _speed(voice, tempo, *rates[slot].tolist())
        heard[slot] = _audible_position(voice)
    return DeskSnapshot(
        frame, int(clock["callback_ns"]), int(clock["callback_frame"]),
        beat, 60.0 * desk.sample_rate * per_frame,
        tuple(playing), tuple(voices["position"].tolist()), tuple(speeds), tuple(heard),
    )  # fmt: skip


def _beat(clock: Any, frame: int) -> tuple[float, float]:
    # The beat at a frame, and the beats per frame there, as in engine/schedule/beat_clock.py.
    passed, left = frame - int(clock["tempo_frame"]), int(clock["tempo_left"])
    rate, slope, end = (float(clock[f"tempo_{name}"]) for name in ("rate", "slope", "end"))
    ramp, before = min(max(0, passed), left), min(0, passed)
    beat = float(clock["tempo_beat"]) + rate * (before + ramp) + 0.5 * slope * ramp * ramp
    per_frame = end if passed >= left else rate + slope * max(0, passed)
    return beat + end * (passed - ramp - before), per_frame


def _speed(voice: Any, tempo: float, rate: float, spin: float) -> float:
    # File frames per frame, as in engine/voice/voice.py and engine/voice/sync.py.
    if 0 <= int(voice["ended"]) <= int(voice["play"]):
        return 0.0
    if voice["synced"]:
        return int(voice["direction"]) * min(float(voice["sync_rate"]) * tempo, MAX_RATE)
    return int(voice["direction"]) * min(max(rate * tempo, MIN_RATE), MAX_RATE) * spin


def _audible_position(voice: Any) -> float:
    # Position of the audible playhead, as `file_position` of engine/voice/tape.py computes it.
    head = "lock_" if voice["locked"] else ""
    names = ("play", "fed", "cursor", "ended", "wraps", "wrap_at", "wrap_length")
    play, fed, cursor, ended, wraps, wrap_at, lap = (int(voice[head + name]) for name in names)
    if 0 <= ended <= play:
        return float(cursor)
    direction, loop_in = int(voice["direction"]), int(voice["loop_in"])
    fed = min(fed, ended) if ended >= 0 else fed
    place = cursor - direction * (fed - play)
    length = int(voice["loop_out"]) - loop_in
    if voice["loop_exact"] > 0.0:
        rest = float(voice[head + "loop_rest"])
        length = math.floor(float(voice["loop_exact"]) + rest + 0.5)
    border = loop_in + max(1, length) if direction > 0 else loop_in - 1
    if voice["loop"] and play >= fed and cursor == border:
        place -= direction * max(1, length)
    elif wraps and play < wrap_at:
        place += direction * lap
        if wraps > 1 and direction > 0 and place < loop_in:
            place += -(-(loop_in - place) // lap) * lap
        elif wraps > 1 and direction < 0 and place >= loop_in + lap:
            place -= (place - loop_in) // lap * lap
    place_now = place + direction * float(voice[head + "fraction"])
    return min(max(0.0, place_now), float(voice["length"]))


def read_callback(desk: Desk) -> tuple[int, int] | None:
    """Return the time of the latest block request (monotonic ns) and the block's first frame.

    The engine makes the stamp odd, writes both numbers, and makes the stamp even again (a seqlock,
    see `engine.schedule.ledger`). If the stamp is odd, or has changed after reading, this function
    reads again.

    Returns None before the first block, and if an engine died while writing the two numbers.
    """
    for _attempt in range(ATTEMPTS):
        before = load_acquire(desk.address + _STAMP)
        # Acquired too, so that the second read of the stamp cannot be reordered before them.
        now_ns = load_acquire(desk.address + _CALLBACK_NS)
        frame = load_acquire(desk.address + _CALLBACK_FRAME)
        if before % 2 == 0 and load_acquire(desk.address + _STAMP) == before:
            return (now_ns, frame) if now_ns > 0 else None
    return None
