"""Recognise stems by their file names.

Separators and sequencers write the stem's name at the end of a file name, in brackets, or in the
middle: 'Song_(Vocals)_htdemucs_ft', 'Song_no_vocals_split_by_lalalai', 'Song 1-Drums',
'Song-bass-Amin-124bpm'. A word counts as a stem name if it is set off from its neighbours, or if
other files in the folder have another stem name in the same place.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

STEM_KINDS = frozenset(
    {"drums", "bass", "vocals", "guitar", "keys", "synth", "strings", "winds", "fx", "other"}
)
REST, MIX, A_CAPPELLA, CLICK, RELEASE = "rest", "mix", "a cappella", "click", "release"

# By kind: the name that a stem gets, and alternative spellings. `rest` is everything except one
# stem, `click` is for the musicians, `release` is another version of the whole track.
_WORDS = {
    "drums": """drums: drum, drum kit, drum bus, drum set, all drums | percussion: perc, percs |
        kick: kicks, kick drum, bass drum, kick in, kick out | snare: snares, snare top | rim |
        clap: claps | hats: hat, hi hat, hi hats, hihat, hihats, hh | cymbals: cymbal | toms: tom |
        ride | crash | overheads: overhead, oh | shaker: shakers | tambourine | congas: conga |
        bongos: bongo | tops: top loop | beats: beat, breakbeat""",
    "bass": """bass: bassline, bass line, bass guitar, bass di, bass amp, upright bass, basses |
        sub: sub bass | 808: 808s | synth bass: bass synth""",
    "vocals": """vocals: vocal, voice, voices, vox, voc, vocs, singing, singer |
        lead vocals: lead vocal, lead vox, lead voice, lead only, main vocals, main vocal,
        main vox, vocals lead | backing vocals: backing vocal, backing vox, backing only, backing,
        background vocals, background vocal, bg vocals, bg vocal, bg vox, bgv, bgvs, bv, bvs,
        back vocals, vocals backing | harmonies: harmony, vocal harmonies, harmony vocals |
        adlibs: adlib, ad lib, ad libs | choir | rap | vocal fx: vox fx | vocal returns |
        vocal chops: vocal chop | vocal doubles: vocal double, vox double | speech""",
    "guitar": """guitar: guitars, gtr, gtrs |
        electric guitar: electric guitars, e guitar, elec gtr |
        acoustic guitar: acoustic guitars, ac gtr | rhythm guitar: rhythm gtr |
        lead guitar: lead gtr | banjo | mandolin | ukulele""",
    "keys": """keys: keyboard, keyboards | piano: pianos, grand piano | rhodes | organ | wurli |
        electric piano: e piano, epiano | clav""",
    "synth": """synth: synths, synthesizer, synthesizers, synthesiser | pad: pads | lead: leads |
        arp: arps | pluck: plucks | chords | melody: melodies, melodic | stab: stabs |
        lead synth: synth lead | synth pad | bells""",
    "strings": "strings: string | violin: violins | viola | cello | orchestra | harp",
    "winds": """brass | horns: horn | sax: saxophone | trumpet: trumpets | trombone | flute |
        clarinet | wind: winds, wind inst | woodwinds: woodwind""",
    "fx": """fx: sfx, effects, effect | fx returns | riser: risers | sweep: sweeps | noise |
        impact: impacts | atmos: atmosphere, atmospheres | ambience | foley | crowd |
        returns: return | reverb | delay | echo""",
    "other": "other: others, residual, misc | music | instruments: instrument",
    REST: """instrumental: instrumentals, instrum, instr, inst, backing track, minus one, karaoke,
        instrumental only, instrum only, with backing vocals | accompaniment: accomp |
        dry: no reverb, no echo""",
    MIX: """mix: mixdown, mix down, full, full mix, fullmix, full track, full song, stereo mix,
        2mix, 2 mix, two mix, bounce, premaster, pre master, reference, ref, rough mix, final mix,
        stereo out, stereo, mastered, main mix, sum | master | main | mixture | original""",
    A_CAPPELLA: "a cappella: acappella, acapella, a capella, acapela, accapella, acap",
    CLICK: """click: click track, count in, countin, guide track |
        metronome: smart metronome""",
    RELEASE: """original mix | radio edit: radio mix, radio version | extended: extended mix,
        extended version | club mix: club edit | dub: dub mix | remix: remixed | edit: short edit,
        single edit, video edit, clean edit, dirty edit | vip: vip mix | vocal mix: vocal dub |
        instrumental mix: instrumental version | clean: clean version | explicit: dirty,
        explicit version | live: live version | remaster: remastered | demo |
        acoustic: acoustic version | bootleg | mashup | album version: single version,
        short version, long version, main version, alternate version | tv mix: tv track,
        tv version | intro | outro | reprise""",
}
_NEGATIONS = ("no", "without", "minus", "non", "all but", "no more")
# Words that may follow a stem name: the separator's name, tempo, key, a model.
_TRAILERS = frozenset({
    "split", "by", "lalalai", "lalal", "ai", "stem", "stems", "bip", "htdemucs", "demucs", "ft",
    "mdx", "extra", "q", "umx", "umxhq", "spleeter", "roformer", "mel", "band", "bs", "kara",
    "model", "uvr", "bpm", "hz", "min", "minor", "maj", "major", "sharp", "flat", "wav", "hq",
    "mono", "st", "l", "r", "bounced", "export", "exported", "render", "moises", "bandlab",
    "master", "mastered", "v",
})  # fmt: skip
_KEY = re.compile(r"[a-g](b|m|min|maj|minor|major)?$")
_WORD = re.compile(r"\d+[^\W\d_]*|[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])")
_OPENING, _CLOSING = "([{", ")]}"
_STRONG = re.compile(r"[^\s]")
MAX_WORDS = 60  # of one name; later words are ignored


@dataclass(frozen=True)
class StemName:
    """Role of a file within its track, according to its name.

    kind: one of `STEM_KINDS`, or `rest`, `mix`, `a cappella`, `click`, `release`; "" if the name
    gives no kind. name: of the stem. song: the words of the file name other than the stem's.
    """

    kind: str
    name: str
    song: tuple[str, ...] = ()

    @property
    def stem(self) -> bool:
        """Whether the name unambiguously denotes a stem."""
        return self.kind in STEM_KINDS


@dataclass(frozen=True)
class _Match:
    kind: str
    name: str
    first: int
    end: int
    bracketed: bool
    alone: bool  # set off from the words beside it
    frame: tuple[tuple[str, ...], tuple[str, ...]]


def _phrases() -> dict[tuple[str, ...], tuple[str, str]]:
    found: dict[tuple[str, ...], tuple[str, str]] = {}
    for kind, text in _WORDS.items():
        for entry in text.split("|"):
            name, _, others = entry.partition(":")
            own = "_".join(name.split())
            for phrase in (name, *others.split(",")):
                words = tuple(phrase.split())
                if not words:
                    continue
                found[words] = kind, own
                if kind in STEM_KINDS:
                    for negation in _NEGATIONS:
                        found[(*negation.split(), *words)] = REST, f"no_{own}"
    return found


_PHRASES = _phrases()
_MAX_PHRASE_WORDS = max(map(len, _PHRASES))
_KINDS = {name: kind for kind, name in _PHRASES.values()}


def kind_of(name: str) -> str:
    """Return the kind of a stem name, as in `Part.kind`; an unknown name is judged by its words."""
    plain = name.casefold()
    return _KINDS.get(plain) or read_name(name).kind


def read_name(stem: str) -> StemName:
    """Interpret one file name, without its extension, on its own."""
    return read_names([stem])[0]


def read_names(stems: Sequence[str]) -> list[StemName]:
    """Interpret the file names of one folder, without extensions, in comparison with each other."""
    words = [_words(stem) for stem in stems]
    matches = [_matches(*one) for one in words]
    names_at = defaultdict(set)
    for found in matches:
        for match in found:
            names_at[match.frame].add(match.name)
    parts = []
    for stem, (tokens, _seps), found in zip(stems, words, matches, strict=True):
        best: _Match | None = None
        for match in found:
            shared = len(names_at[match.frame]) > 1
            if not (match.alone or shared) or (match.kind == RELEASE and not any(match.frame)):
                continue
            rank = match.bracketed, shared, match.end
            if best is None or rank >= (best.bracketed, len(names_at[best.frame]) > 1, best.end):
                best = match
        if best is None:
            parts.append(StemName("", stem, _song(tokens)))
        else:
            parts.append(StemName(best.kind, best.name, (*best.frame[0], *best.frame[1])))
    return parts


def _words(stem: str) -> tuple[list[str], list[str]]:
    # The words of a name, and the separators before each of them and after the last one.
    text = _CAMEL.sub(" ", unicodedata.normalize("NFC", stem)).casefold()
    tokens: list[str] = []
    separators: list[str] = []
    at = 0
    for found in _WORD.finditer(text):
        if len(tokens) == MAX_WORDS:
            break
        tokens.append(found[0])
        separators.append(text[at : found.start()])
        at = found.end()
    return tokens, [*separators, text[at:]]


def _matches(tokens: list[str], seps: list[str]) -> list[_Match]:
    spans: list[tuple[int, int]] = []
    for first in range(len(tokens)):
        for end in range(min(len(tokens), first + _MAX_PHRASE_WORDS), first, -1):
            if tuple(tokens[first:end]) in _PHRASES:
                if not spans or end > spans[-1][1]:  # otherwise it is part of a longer phrase
                    spans.append((first, end))
                break
    return [_match(tokens, seps, first, end) for first, end in spans]


def _match(tokens: list[str], seps: list[str], first: int, end: int) -> _Match:
    kind, name = _PHRASES[tuple(tokens[first:end])]
    left, right = first, end
    while left > 0 and tokens[left - 1][0].isdigit() and seps[left].strip() in ("", "."):
        left -= 1
    while right < len(tokens) and (
        tokens[right][0].isdigit() or tokens[right] in ("stem", "stems")
    ) and not seps[right].strip(" #.-_"):
        right += 1
    opened, closed = seps[left].rstrip(), seps[right].lstrip()
    bracketed = bool(opened and closed) and opened[-1] in _OPENING and closed[0] in _CLOSING
    begins = left == 0 or bool(_STRONG.search(seps[left]))
    ends = right == len(tokens) or (
        bool(_STRONG.search(seps[right])) and all(map(_is_trailer, tokens[right:]))
    )
    frame = _song(tokens[:first]), _song(tokens[end:])
    return _Match(kind, name, first, end, bracketed, bracketed or (begins and ends), frame)


def _is_trailer(word: str) -> bool:
    return word in _TRAILERS or word[0].isdigit() or bool(_KEY.match(word))


def _song(tokens: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for word in tokens if not word.isdigit() and word not in ("stem", "stems"))


def plain_stem(name: str) -> str:
    """Return a file name without its extension."""
    return os.path.splitext(name)[0]
