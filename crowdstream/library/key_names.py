"""Parse the names of musical keys, as people and DJ software write them."""

from __future__ import annotations

import re

_NOTES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11, "h": 11}
_SIGNS = {"#": 1, "♯": 1, "b": -1, "♭": -1, "": 0}
_CAMELOT = re.compile(r"0?([1-9]|1[0-2])([ab])")
_OPEN_KEY = re.compile(r"0?([1-9]|1[0-2])([md])")
_NAME = re.compile(r"([a-h])(#|♯|♭|b|)(minor|min|moll|m|major|maj|dur|)")


def parse_key(text: str) -> tuple[str, int, bool] | None:
    """Parse a key name into its Camelot name, its tonic (0 is C) and whether it is minor.

    Accepts "8A" and "08a" (Camelot notation), "1m" (Open Key), "Am", "A minor", "F#", "Gb major"
    and "h-moll". Returns None for any other text.
    """
    plain = text.strip().lower().replace(" ", "").replace("-", "")
    if found := _CAMELOT.fullmatch(plain):
        return _of_number(int(found[1]), found[2] == "a")
    if found := _OPEN_KEY.fullmatch(plain):
        return _of_number((int(found[1]) + 6) % 12 + 1, found[2] == "m")
    if found := _NAME.fullmatch(plain):
        # A lone capital M means major, as in chord symbols: AM.
        minor = found[3] in ("minor", "min", "moll") or text.strip().endswith("m")
        return _of_tonic((_NOTES[found[1]] + _SIGNS[found[2]]) % 12, minor)
    return None


def _of_number(number: int, minor: bool) -> tuple[str, int, bool]:
    # 8B is C major, each step up is a fifth, and 8A is the relative minor of 8B.
    tonic = (number - 8) * 7 % 12
    return f"{number}{'A' if minor else 'B'}", (tonic - 3) % 12 if minor else tonic, minor


def _of_tonic(tonic: int, minor: bool) -> tuple[str, int, bool]:
    major = (tonic + 3) % 12 if minor else tonic
    return f"{(major * 7 + 7) % 12 + 1}{'A' if minor else 'B'}", tonic, minor
