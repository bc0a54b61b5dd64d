"""The search language: words, tempos and keys, all of which must match.

    night drive        names with both words
    124   120-126      a tempo or a range of tempos; also bpm:124, 124bpm, >120, <=126
    8A   Am   F#m      a key in any notation of `library.key_names`; also key:C, key:"A minor"

A number or a key may also be part of a name: `124` also finds "Track 124", where it is a whole
word. After `bpm:` and `key:` only the tempo and the key count. Everything else is a word, `am` in
lower case included.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from crowdstream.library.key_names import parse_key
from crowdstream.system.text import normalize_accents

MIN_BPM, MAX_BPM = 30.0, 300.0  # a bare number within this range may be a tempo
SHOWN = 0.05  # BPM: listings show one decimal; 120 must match everything that is shown as 120.0
NEAR = 0.5  # BPM: 124 matches every tempo that rounds to it

_NUMBER = r"(\d{1,3}(?:[.,]\d{1,2})?)"
_ONE = re.compile(rf"{_NUMBER}(bpm)?", re.IGNORECASE)
_SPAN = re.compile(rf"{_NUMBER}(?:-|–|—|\.\.)(?:{_NUMBER})(bpm)?", re.IGNORECASE)
_BOUND = re.compile(rf"(<|>|<=|>=|≤|≥){_NUMBER}(bpm)?", re.IGNORECASE)
_TERM = re.compile(r'(?:(bpm|tempo|key):\s*)?("[^"]*"|\S+)', re.IGNORECASE)
# "A minor" without quotes, which would otherwise be two words.
_MODE = re.compile(r'(?<![\w"])([A-H][#♯♭b]?[ -](?:minor|major|min|maj|moll|dur))(?!\w)')
# A key without a prefix needs a Camelot number or a capital letter: "am" and "b" stay words.
_BARE_KEY = re.compile(
    r"0?(?:[1-9]|1[0-2])[abdmABDM]|[A-H](?:#|♯|♭|b)?(?:m|min|minor|maj|major|dur|moll)|[A-G][#♯♭b]"
)


@dataclass(frozen=True)
class Term:
    """One condition: a word, a tempo or a key, or a word that may also mean a tempo or a key.

    `word` is case-folded; with `whole` it must not be part of a longer word. `bpm`: lowest and
    highest tempo, both included. `key`: in Camelot notation.
    """

    word: str = ""
    whole: bool = False
    bpm: tuple[float, float] | None = None
    key: str = ""

    @property
    def plain(self) -> bool:
        """Whether only names can match."""
        return self.bpm is None and not self.key

    def in_text(self, text: str) -> bool:
        """Whether the word occurs in a case-folded text."""
        if not self.word:
            return False
        if not self.whole:
            return self.word in text
        return re.search(rf"(?<!\w){re.escape(self.word)}(?!\w)", text) is not None

    def of_track(self, bpm: float | None, key: str) -> bool:
        """Whether a track with this tempo and key (in any notation) matches."""
        if self.bpm is not None and bpm and self.bpm[0] <= bpm <= self.bpm[1]:
            return True
        named = parse_key(key) if self.key and key else None
        return named is not None and named[0] == self.key


def parse(text: str) -> list[Term]:
    """The terms of a query, in order."""
    terms: list[Term] = []
    words = [
        ((found[1] or "").lower(), found[2].strip('"'))
        for found in _TERM.finditer(_MODE.sub(r'"\1"', normalize_accents(text)))
    ]
    for kind, word in words:
        if not word:
            continue
        if not kind and word.lower() == "bpm" and terms and terms[-1].bpm is not None:
            # "bpm" after a number states that the number is a tempo and not a word.
            terms[-1] = Term(bpm=terms[-1].bpm)
            continue
        terms.append(_term(kind, word))
    return terms


def _term(kind: str, word: str) -> Term:
    small = word.casefold()
    if kind == "key":
        key = parse_key(word)
        return Term(key=key[0]) if key else Term(f"key:{small}")
    span = _span(word, bool(kind))
    if span is not None:
        stated = bool(kind) or small.endswith("bpm") or word[0] in "<>≤≥"
        return Term("" if stated else small, True, span)
    if kind:
        return Term(f"{kind}:{small}")
    if _BARE_KEY.fullmatch(word) or _MODE.fullmatch(word):
        key = parse_key(word)
        if key is not None:
            return Term(small, True, key=key[0])
    return Term(small)


def _span(word: str, stated: bool) -> tuple[float, float] | None:
    if found := _BOUND.fullmatch(word):
        bound = _number(found[2])
        # 124 covers everything that rounds to it, so "above 124" begins at its upper end.
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
        # A number with a decimal is exact, within the rounding of what listings show.
        near = SHOWN if re.search("[.,]", found[1]) else NEAR
        return bpm - near, bpm + near
    return None


def _number(text: str) -> float:
    return float(text.replace(",", "."))
