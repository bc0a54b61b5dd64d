"""Read a movement map, which maps the crowd's movement to tempo; see `configs/crowd.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from crowdstream.desk.constants import MAX_RATE, MIN_RATE
from crowdstream.movement.follower import MovementMap, Pairs, Sender
from crowdstream.settings import SettingError
from crowdstream.settings.files import read_bytes
from crowdstream.settings.toml import parse
from crowdstream.system.text import MAX_SIDECAR_BYTES

MAX_SECONDS = 3600.0
MAX_SENDERS = 32
MIN_BPM, MAX_BPM = 20.0, 400.0
SECONDS = {
    "attack_seconds": 10.0, "release_seconds": 20.0, "silent_seconds": None,
    "energy_attack_seconds": 10.0, "energy_release_seconds": 30.0,
}  # fmt: skip
LISTS = ("below", "steps", "energy")
LIMITS = ("lowest_bpm", "highest_bpm")
KEYS = (*LISTS, *SECONDS, *LIMITS, "senders")
SENDER_KEYS = ("address", "argument", "low", "high")


class _Wrong(ValueError):
    """An error in the file, in words."""


def read_map(path: Path, base_bpm: float) -> MovementMap:
    """Read a movement map from a TOML file.

    `base_bpm`: tempo, in beats per minute, at which tracks play at rate 1. Raise `SettingError`,
    with a message of one line, if the file cannot be read or is invalid.
    """
    values = parse(read_bytes(path, "setting movement_map"), path, MAX_SIDECAR_BYTES)
    try:
        return _map(values, base_bpm)
    except _Wrong as error:
        raise SettingError(f"movement_map: {path}: {error}") from None


def _map(values: Mapping[str, Any], base_bpm: float) -> MovementMap:
    for key in values:
        if key not in KEYS:
            raise _Wrong(f"unknown key {key}; known: {', '.join(KEYS)}")
    seconds = {key: _seconds(values, key, default) for key, default in SECONDS.items()}
    below = _pairs(values, "below", "[movement, beats per minute], such as [[0.02, 105]]")
    steps = _pairs(values, "steps", "[movement, beats per minute], such as [[0, 118]]")
    if not steps:
        raise _Wrong("steps must be a list of [movement, beats per minute], such as [[0, 118]]")
    if below and below[-1][0] > steps[0][0]:
        raise _Wrong(f"below: {below[-1][0]:g} is above {steps[0][0]:g}, where steps start")
    for key, pairs in (("below", below), ("steps", steps)):
        for _, bpm in pairs:
            _check_tempo(key, bpm, base_bpm)
    limits = []
    for key, outermost in zip(LIMITS, (MIN_BPM, MAX_BPM), strict=True):
        limit = _number(values.get(key, outermost))
        if limit is None or not MIN_BPM <= limit <= MAX_BPM:
            raise _Wrong(f"{key} must be a tempo from {MIN_BPM:g} to {MAX_BPM:g}")
        limits.append(limit)
    for key, bpm in zip(LIMITS, limits, strict=True):
        if key in values:
            _check_tempo(key, bpm, base_bpm)
    lowest, highest = (bpm or 0.0 for bpm in limits)
    if highest < lowest:
        raise _Wrong(f"highest_bpm, {highest:g}, is below lowest_bpm, {lowest:g}")
    energy = _pairs(values, "energy", "[movement, energy], such as [[0, 0.2], [0.6, 1]]")
    for _, value in energy:
        if not 0 <= value <= 1:
            raise _Wrong(f"energy: {value:g} is not from 0 to 1")
    return MovementMap(
        steps, seconds["attack_seconds"] or 10.0, seconds["release_seconds"] or 20.0,
        below=below, lowest_bpm=lowest, highest_bpm=highest,
        silent_seconds=seconds["silent_seconds"],
        energy=energy or MovementMap.energy,
        energy_attack_seconds=seconds["energy_attack_seconds"] or 10.0,
        energy_release_seconds=seconds["energy_release_seconds"] or 30.0,
        senders=_senders(values.get("senders", [])),
    )


def _check_tempo(key: str, bpm: float, base_bpm: float) -> None:
    if not MIN_BPM <= bpm <= MAX_BPM or not MIN_RATE <= bpm / base_bpm <= MAX_RATE:
        raise _Wrong(
            f"{key}: a base tempo of {base_bpm:g} does not allow {bpm:g} beats per minute"
        )


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e9 else None  # excludes NaN and infinity


def _seconds(values: Mapping[str, object], key: str, default: float | None) -> float | None:
    if key not in values:
        return default
    number = _number(values[key])
    if number is None or not 0 < number <= MAX_SECONDS:
        raise _Wrong(f"{key} must be a number above 0 and at most {MAX_SECONDS:g}")
    return number


def _pairs(values: Mapping[str, object], key: str, like: str) -> Pairs:
    # Pairs of an ascending movement and its value.
    value = values.get(key, [])
    pairs = []
    entries = value if isinstance(value, list) else [None]
    for entry in entries:
        numbers = [_number(one) for one in entry] if isinstance(entry, list) else []
        if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
            raise _Wrong(f"{key} must be a list of {like}")
        pairs.append((numbers[0], numbers[1]))
    for (low, _), (high, _) in pairwise(pairs):
        if high <= low:
            raise _Wrong(f"{key}: movement {high:g} is not above the preceding {low:g}")
    for movement, _ in pairs:
        if not 0 <= movement <= 1:
            raise _Wrong(f"{key}: movement {movement:g} is not from 0 to 1")
    return tuple(pairs)


def _senders(value: object) -> dict[str, Sender]:
    if not isinstance(value, list) or len(value) > MAX_SENDERS:
        raise _Wrong(f"senders must be a list of up to {MAX_SENDERS} [[senders]] tables")
    found: dict[str, Sender] = {}
    for number, entry in enumerate(value, 1):
        place = f"sender {number}"
        if not isinstance(entry, dict) or set(entry) - set(SENDER_KEYS):
            raise _Wrong(f"{place}: unknown key; known: {', '.join(SENDER_KEYS)}")
        address = entry.get("address")
        if not isinstance(address, str) or not address.startswith("/") or not address.isprintable():
            raise _Wrong(f"{place}: address must be an OSC address, such as '/camera/motion'")
        argument = entry.get("argument", 1)
        if isinstance(argument, bool) or not isinstance(argument, int) or not 1 <= argument <= 256:
            raise _Wrong(f"{place}: argument must be a number from 1 to 256")
        low, high = _number(entry.get("low", 0.0)), _number(entry.get("high", 1.0))
        if low is None or high is None or low == high:
            raise _Wrong(f"{place}: low and high must be two different numbers")
        found[address] = Sender(argument - 1, low, high)
    return found
