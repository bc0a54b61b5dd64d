"""Analyse one track: combine feature extraction, beat tracking, key, structure and vocals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing

import numpy as np

from crowdstream.analysis import confidence, fingerprint, key, structure, tempo, vocals
from crowdstream.analysis.features import FRAME_RATE, Features, extract
from crowdstream.analysis.grid import Beats
from crowdstream.analysis.models import weights
from crowdstream.analysis.result import (
    VERSION,
    Analysis,
    Downbeat,
    Key,
    Loudness,
    Tempo,
    Vocals,
    phrase_beats,
)
from crowdstream.analysis.rhythm import Rhythm, track_beats
from crowdstream.analysis.source import Sound, StemFileSound
from crowdstream.analysis.structure import Bars, find_silences
from crowdstream.analysis.tempo import Doubles, Floats
from crowdstream.audiofile.loudness import SILENCE
from crowdstream.audiofile.stems.track_files import TrackFiles
from crowdstream.audiofile.tags import read_tags

NO_BEAT_BAR = 2.0  # s: length of a "bar" in a track without a beat
# Minimum coefficient of variation of the chroma vector from which a track has a key; noise has
# 0.08.
MIN_TONALITY = 0.095
ENERGY_LUFS = (-26.0, -7.0)  # loudness at which its share of the level is 0 and 1
MAX_ONSET_RATE = 9.0  # onsets per second at which their share of the level is 1
MAX_BRIGHTNESS = 0.12  # share of the power above 2 kHz at which its share of the level is 1
LEVEL_SHARES = (0.45, 0.35, 0.2)  # weights of loudness, onset rate and brightness


def analyse_track(
    track: TrackFiles, progress: Callable[[float], None] = lambda _share: None
) -> Analysis:
    """Analyse the files of a track.

    `progress` is called with the share that is done, 0 to 1. Raises an `AudioFileError` that names
    the file that cannot be read.
    """
    with ExitStack() as stack:
        sounds = [
            stack.enter_context(closing(StemFileSound(stem.name, stem.path)))
            for stem in track.stems
        ]
        return analyse(sounds, progress, read_tags(track.stems[0].path).bpm or 0.0)


def analyse(
    sounds: Sequence[Sound], progress: Callable[[float], None] = lambda _share: None,
    said: float = 0.0,
) -> Analysis:
    """Analyse a track of one or more stems.

    `progress` is called with the share that is done, 0 to 1. `said` is the tempo in the track's
    tags in beats per minute, 0 if there is none.

    Memory is needed for the features, 25 kB per second of music, not for the samples.
    """
    features = extract(sounds, progress)
    if features.lufs <= SILENCE or not len(features.bands):
        return _silent(features)
    lines = tempo.normalize_onsets(features.onsets)
    rhythm = track_beats(features, lines, said)
    beats = rhythm.beats if rhythm else Beats.even(structure.BAR / NO_BEAT_BAR)
    meter = rhythm.meter if rhythm else structure.BAR
    bass, treble = features.pitches.bass(), features.pitches.treble()
    cents = key.tuning((bass + treble).sum(axis=0).astype(np.float64))
    classes = key.classes(bass + treble, cents)
    bars = structure.measure_bars(features, lines, beats, classes, meter)
    voice = vocals.find_vocals(features)
    edges = beats.time(bars.begin)
    sung = vocals.sung(voice, edges)
    phrase_bars = structure.phrase_length(bars)
    sections = structure.sections(bars, sung, phrase_bars) if rhythm else []
    downbeat = confidence.downbeat_of(rhythm, features.seconds) if rhythm else Downbeat(0.0)
    phrases = phrase_beats(sections, meter, phrase_bars)
    return Analysis(
        version=VERSION,
        seconds=round(features.seconds, 6),
        sample_rate=features.sample_rate,
        stems=features.names,
        silent=False,
        tempo=_tempo(rhythm, features.seconds),
        downbeat=downbeat,
        key=_key(bass, treble, features, beats, phrases),
        loudness=_loudness(features),
        level=_level(features, lines),
        first_bar_beat=int(bars.begin[0]) if len(bars.loud) else 0,
        energy=_rounded(structure.bar_energy(bars)),
        bass=_rounded(structure.bar_bass(bars)),
        bar_loudness=tuple(np.round(structure.bar_loudness(features, edges), 1).tolist()),
        activity=_activity(features, bars),
        sections=tuple(sections),
        phrases=() if downbeat.uncertain else phrases,
        vocals=voice,
        fingerprint=fingerprint.fingerprint(features, classes),
        silences=find_silences(features),
        phrase_bars=phrase_bars,
    )


def _silent(features: Features) -> Analysis:
    return Analysis(
        version=VERSION, seconds=round(features.seconds, 6), sample_rate=features.sample_rate,
        stems=features.names, silent=True, tempo=Tempo(0.0, True, 0.0, ()), downbeat=Downbeat(0.0),
        key=key.NO_KEY, loudness=_loudness(features), level=0.0, first_bar_beat=0, energy=(),
        bass=(), bar_loudness=(), activity={}, sections=(), phrases=(),
        vocals=Vocals((), "none", 1.0), fingerprint="",
    )  # fmt: skip


def _tempo(rhythm: Rhythm | None, seconds: float) -> Tempo:
    if rhythm is None:
        return Tempo(0.0, True, 0.0, ())
    beats = rhythm.beats
    if rhythm.steady:
        numbers = np.array([0.0, max(1.0, float(np.floor(beats.beat(np.array([seconds]))[0])))])
    else:
        numbers = np.unique(np.concatenate([[0.0], beats.numbers[beats.numbers > 0]]))
        numbers = numbers if len(numbers) > 1 else np.array([0.0, 1.0])
    times = np.round(beats.time(numbers), 7) + 0.0  # no -0.0
    anchors = tuple((float(n), float(t)) for n, t in zip(numbers, times, strict=True))
    right, octave = confidence.tempo_of(rhythm, seconds)
    bpm = round(rhythm.bpm, 4)
    return Tempo(bpm, rhythm.steady, right, anchors, rhythm.doubt, octave)


def _key(
    bass: Floats, treble: Floats, features: Features, beats: Beats, phrases: Sequence[int]
) -> Key:
    if key.tonality(bass + treble) < MIN_TONALITY:
        return key.NO_KEY
    begins = beats.time(np.array(phrases, np.float64)) if phrases else np.zeros(0)
    traits, cents = key.track_traits(bass, treble, features.pitches.rate, begins)
    return confidence.key_of(key.choose_key(traits, weights.KEY.score(traits), cents))


def _loudness(features: Features) -> Loudness:
    peak = 20 * np.log10(max(features.peak, 1e-10))
    return Loudness(round(features.lufs, 2), round(float(peak), 2))


def _level(features: Features, lines: Floats) -> float:
    low, high = ENERGY_LUFS
    pulse = lines.sum(axis=1)
    is_attack = (pulse[1:-1] > pulse[:-2]) & (pulse[1:-1] >= pulse[2:]) & (pulse[1:-1] > 3.0)
    busy = float(is_attack.sum()) / max(len(pulse) / FRAME_RATE, 1.0) / MAX_ONSET_RATE
    power = features.bands.sum(axis=0)
    bright = float(power[6:].sum() / max(float(power.sum()), 1e-12)) / MAX_BRIGHTNESS
    parts = ((features.lufs - low) / (high - low), busy, bright**0.5)
    shares = zip(LEVEL_SHARES, parts, strict=True)
    return round(float(sum(share * min(1.0, max(0.0, part)) for share, part in shares)), 3)


def _activity(features: Features, bars: Bars) -> dict[str, tuple[float, ...]]:
    if len(features.names) < 2:
        return {}
    found = {}
    for number, name in enumerate(features.names):
        power = 10 * np.log10(bars.stems[:, number] + 1e-12)
        loud = np.clip((power - max(float(power.max(initial=-120.0)), -60.0)) / 40 + 1, 0, 1)
        found[name] = _rounded(loud)
    return found


def _rounded(line: Doubles) -> tuple[float, ...]:
    return tuple(round(float(value), 3) for value in line)

