"""What a person types into the search: words, tempos and keys, all of which have to fit.

    night drive        names with both words
    124   120-126      a tempo, or from one to another; also bpm:124, 124bpm, >120, <=126
    8A   Am   F#m      a key, in any notation that `catalog.keys` knows; also key:C, key:"A minor"

A number or a key may also stand in a name: `124` finds "Track 124", too, where it is a whole word.
With `bpm:` and `key:` only tempo and key count. A word is anything else, as `am` in small letters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from crowdstream.library.key_names import read_key
from crowdstream.system.text import composed

MIN_BPM, MAX_BPM = 30.0, 300.0  # what a bare number has to be for a tempo
SHOWN = 0.05  # BPM: lists show a decimal, and what is shown as 120 is 120
NEAR = 0.5  # BPM: 124 is what rounds to it

_NUMBER = r"(\d{1,3}(?:[.,]\d{1,2})?)"
_ONE = re.compile(rf"{_NUMBER}(bpm)?", re.IGNORECASE)
_SPAN = re.compile(rf"{_NUMBER}(?:-|–|—|\.\.)(?:{_NUMBER})(bpm)?", re.IGNORECASE)
_BOUND = re.compile(rf"(<|>|<=|>=|≤|≥){_NUMBER}(bpm)?", re.IGNORECASE)
_TERM = re.compile(r'(?:(bpm|tempo|key):\s*)?("[^"]*"|\S+)', re.IGNORECASE)
# "A minor" without quotes, which would be two words.
_MODE = re.compile(r'(?<![\w"])([A-H][#♯♭b]?[ -](?:minor|major|min|maj|moll|dur))(?!\w)')
# A key without a word before it: with its number, or a capital, so that "am" and "b" stay words.
_BARE_KEY = re.compile(
    r"0?(?:[1-9]|1[0-2])[abdmABDM]|[A-H](?:#|♯|♭|b)?(?:m|min|minor|maj|major|dur|moll)|[A-G][#♯♭b]"
)


@dataclass(frozen=True)
class Term:
    """One thing that has to fit: the word, or the tempo, or the key; at least one of them.

    `word` is in small letters; a `whole` one must not be a part of a longer one. `bpm`: from, to,
    both included. `key`: Camelot's name.
    """

    word: str = ""
    whole: bool = False
    bpm: tuple[float, float] | None = None
    key: str = ""

    @property
    def plain(self) -> bool:
        """Whether names alone decide."""
        return self.bpm is None and not self.key

    def in_text(self, text: str) -> bool:
        """Whether its word is in a text in small letters."""
        if not self.word:
            return False
        if not self.whole:
            return self.word in text
        return re.search(rf"(?<!\w){re.escape(self.word)}(?!\w)", text) is not None

    def of_track(self, bpm: float | None, key: str) -> bool:
        """Whether a track of that tempo and key (of any notation) has it."""
        if self.bpm is not None and bpm and self.bpm[0] <= bpm <= self.bpm[1]:
            return True
        named = read_key(key) if self.key and key else None
        return named is not None and named[0] == self.key


def parse(text: str) -> list[Term]:
    """The terms of a query, in their order."""
    terms: list[Term] = []
    words = [
        ((found[1] or "").lower(), found[2].strip('"'))
        for found in _TERM.finditer(_MODE.sub(r'"\1"', composed(text)))
    ]
    for kind, word in words:
        if not word:
            continue
        if not kind and word.lower() == "bpm" and terms and terms[-1].bpm is not None:
            # "124 bpm" is said of tempos only.
            terms[-1] = Term(bpm=terms[-1].bpm)
            continue
        terms.append(_term(kind, word))
    return terms


def _term(kind: str, word: str) -> Term:
    small = word.casefold()
    if kind == "key":
        key = read_key(word)
        return Term(key=key[0]) if key else Term(f"key:{small}")
    span = _span(word, bool(kind))
    if span is not None:
        stated = bool(kind) or small.endswith("bpm") or word[0] in "<>≤≥"
        return Term("" if stated else small, True, span)
    if kind:
        return Term(f"{kind}:{small}")
    if _BARE_KEY.fullmatch(word) or _MODE.fullmatch(word):
        key = read_key(word)
        if key is not None:
            return Term(small, True, key=key[0])
    return Term(small)


def _span(word: str, stated: bool) -> tuple[float, float] | None:
    if found := _BOUND.fullmatch(word):
        bound = _number(found[2])
        # 124 is what rounds to it, so above 124 begins where that ends.
        if found[1] == "<":
            return 0.0, bound - NEAR
        if found[1] == ">":
            return bound + NEAR, float("inf")
        return (0.0, bound + NEAR) if found[1] in ("<=", "≤") else (bound - NEAR, float("inf"))
    if found := _SPAN.fullmatch(word):
        low, high = sorted((_number(found[1]), _number(found[2])))
        fits = stated or found[3] or (low >= MIN_BPM and high <= MAX_BPM)
        return (low - SHOWN, high + SHOWN) if fits else None
    if found := _ONE.fullmatch(word):
        bpm = _number(found[1])
        if not (stated or found[2] or MIN_BPM <= bpm <= MAX_BPM):
            return None
        # With a decimal it is meant exactly, give or take what is shown.
        near = SHOWN if re.search("[.,]", found[1]) else NEAR
        return bpm - near, bpm + near
    return None


def _number(text: str) -> float:
    return float(text.replace(",", "."))
