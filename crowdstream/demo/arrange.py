"""From a song's data to its four stems, with every note at its frame.

The frame of a beat is ``round(beat * 60 / bpm * 44100)``, always counted from the first frame of
the file, so that nothing drifts. Only swung sixteenths deviate from the straight grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from crowdstream.demo.drums import hit, riser
from crowdstream.demo.dsp import RATE, Array, add_at, add_echo, chances, frames_of
from crowdstream.demo.songs import TUNED_TEMPO, Section, Song
from crowdstream.demo.voices import TIMBRES, bass_note, chord, sing

BEATS_PER_BAR = 4
STEPS_PER_BAR = 16
EDGE = 64
"""Frames over which a stem fades in and out at the ends of its file."""

DUCK_SECONDS = 0.24
"""Time for which the kick ducks the other stems: about half a beat."""

Notes = dict[tuple[object, ...], Array]


def beat_frame(bpm: float, beat: float) -> int:
    """Return the frame of a beat, counted from 0 at the start of the file."""
    return round(beat * 60.0 / bpm * RATE)


def total_bars(song: Song) -> int:
    """Return the length of the song in bars."""
    return sum(section.bars for section in song.sections)


def length(song: Song) -> int:
    """Return the length of the song's stems in frames."""
    return beat_frame(song.bpm, total_bars(song) * BEATS_PER_BAR)


def pitch(song: Song, midi: int) -> float:
    """Return the frequency of a note in Hz, in the song's own tuning (see `songs`)."""
    return float(440.0 * 2.0 ** ((midi - 69) / 12.0) * song.bpm / TUNED_TEMPO)


def step_frame(song: Song, bar: int, step: float) -> int:
    """Return the frame of a sixteenth of a bar; the song's swing delays odd sixteenths."""
    beat = bar * BEATS_PER_BAR + step / 4.0
    if step % 2 == 1:
        beat += (song.swing - 0.5) / 2.0
    return beat_frame(song.bpm, beat)


def sections_by_bar(song: Song) -> Iterator[tuple[int, int, Section]]:
    """Yield (bar of the song, bar of the section, section) for every bar."""
    first = 0
    for section in song.sections:
        for bar in range(section.bars):
            yield first + bar, bar, section
        first += section.bars


def hits_of_bar(pattern: str, bar: int) -> Iterator[tuple[int, float]]:
    """Yield (sixteenth, velocity 0..1) of a pattern's hits in a bar."""
    start = bar * STEPS_PER_BAR % len(pattern)
    for step, mark in enumerate(pattern[start : start + STEPS_PER_BAR]):
        if mark != ".":
            yield step, int(mark) / 9.0


def active(part: str, bar: int) -> Iterator[str]:
    """Yield the names in `part` (``name`` or ``name@bar``) that play in a section's `bar`."""
    for word in part.split():
        name, _, first = word.partition("@")
        if bar >= int(first or 0):
            yield name


def drum_hits(song: Song) -> Iterator[tuple[str, int, float]]:
    """Yield (lane, frame, gain) of every hit, in order of bars."""
    luck = chances(int(song.bpm), 4096)
    for bar, inner, section in sections_by_bar(song):
        last = inner == section.bars - 1
        for name in active(section.lanes, inner):
            lane = song.lanes[name]
            for step, force in hits_of_bar(lane.pattern, bar):
                # A gap before the next section: the kick rests for the fill's last beat.
                if last and section.fill and name == "kick" and step >= 12:
                    continue
                vary = 1.0 - lane.human * luck[(bar * 67 + step * 13 + len(name)) % 4096]
                yield name, step_frame(song, bar, step), lane.gain * force**1.3 * vary


def drums(song: Song) -> Array:
    """Return the drum stem, with its fills, crashes and risers."""
    out = np.zeros((length(song), 2))
    for name, frame, gain in drum_hits(song):
        add_at(out, hit(song.lanes[name].sound), frame, gain)
    for bar, inner, section in sections_by_bar(song):
        if inner == 0 and section.crash:
            add_at(out, hit("crash"), step_frame(song, bar, 0), 0.32)
        if inner == section.bars - 1 and section.fill:
            for step in (0, 4, 8, 10, 12, 13, 14, 15):
                add_at(out, hit("snare"), step_frame(song, bar, step), 0.12 + 0.02 * step)
        if section.rise and inner == max(section.bars - 4, 0):
            first = step_frame(song, bar, 0)
            last = step_frame(song, bar + section.bars - inner, 0)
            add_at(out, riser(last - first), first, 0.22)
    return out


def _note(cache: Notes, key: tuple[object, ...], make: Callable[[], Array]) -> Array:
    if key not in cache:
        cache[key] = make()
    return cache[key]


def bass(song: Song) -> Array:
    """Return the bass stem: the line, transposed to each bar's root."""
    out = np.zeros((length(song), 2))
    cache: Notes = {}
    step_seconds = 15.0 / song.bpm
    for bar, inner, section in sections_by_bar(song):
        if not section.bass:
            continue
        root = song.chords[bar % len(song.chords)].root
        from_step = inner % song.bass_bars * STEPS_PER_BAR
        for step, steps, interval, accent in song.bass_line:
            if not from_step <= step < from_step + STEPS_PER_BAR:
                continue
            hertz, seconds = pitch(song, root + interval), steps * step_seconds
            make = partial(bass_note, song.bass, hertz, seconds, accent)
            sound = _note(cache, (hertz, seconds, accent), make)
            frame = step_frame(song, bar, step - from_step)
            add_at(out, sound, frame, song.bass_gain * (0.75 + 0.25 * accent))
    return out


def _brightness(section: Section, bar: int) -> float:
    """Return the opening of the filters in a bar of a section, in steps of an eighth."""
    start, end = section.bright
    place = bar / max(section.bars - 1, 1)
    return round((start + (end - start) * place) * 8.0) / 8.0


def other(song: Song) -> Array:
    """Return the stem of chords, stabs, pads and plucks."""
    out = np.zeros((length(song), 2))
    cache: Notes = {}
    step_seconds = 15.0 / song.bpm
    for bar, inner, section in sections_by_bar(song):
        harmony = song.chords[bar % len(song.chords)]
        bright = _brightness(section, inner)
        if bright < 0.0:
            continue
        for name in active(section.layers, inner):
            layer = song.layers[name]
            timbre = TIMBRES[layer.timbre]
            for count, (step, force) in enumerate(hits_of_bar(layer.pattern, bar)):
                notes = harmony.notes
                if layer.arp:
                    turn = layer.arp[(count + bar * 5) % len(layer.arp)]
                    notes = (notes[turn % len(notes)],)
                pitches = tuple(pitch(song, note + 12 * layer.octave) for note in notes)
                make = partial(chord, timbre, pitches, layer.gate * step_seconds, bright)
                sound = _note(cache, (name, pitches, bright), make)
                loud = layer.gain * force * (0.5 + 0.5 * min(bright * 2.0, 1.0))
                add_at(out, sound, step_frame(song, bar, step), loud * song.other_gain)
    add_echo(out, beat_frame(song.bpm, 0.75), 0.32)
    return out


def vocals(song: Song) -> Array:
    """Return the vocal stem: a hook of chopped syllables, and a choir that follows the chords."""
    out = np.zeros((length(song), 2))
    cache: Notes = {}
    step_seconds = 15.0 / song.bpm
    for bar, inner, section in sections_by_bar(song):
        parts = section.vocal.split()
        if "choir" in parts:
            for midi in song.chords[bar % len(song.chords)].notes[-3:]:
                hertz = pitch(song, midi)
                seconds = 15.6 * step_seconds
                make = partial(sing, "ooah", hertz, seconds, voices=3, opening=seconds * 0.8)
                sound = _note(cache, ("choir", hertz), make)
                add_at(out, sound, step_frame(song, bar, 0), song.choir_gain)
        # A tease is only the last bar of the hook, before the middle and the end of each phrase.
        if "hook" not in parts and not ("tease" in parts and inner % 4 == 3):
            continue
        from_step = inner % song.hook_bars * STEPS_PER_BAR
        for step, steps, midi, syllable in song.hook:
            if not from_step <= step < from_step + STEPS_PER_BAR:
                continue
            hertz, seconds = pitch(song, midi), steps * step_seconds
            make = partial(sing, syllable, hertz, seconds)
            sound = _note(cache, (syllable, hertz, seconds), make)
            add_at(out, sound, step_frame(song, bar, step - from_step), song.hook_gain)
    add_echo(out, beat_frame(song.bpm, 0.75), 0.28)
    return out


def ducking(song: Song) -> Array:
    """Return gains ``(frames,)`` that dip at every kick, like a sidechain compressor."""
    gains = np.ones(length(song))
    count = frames_of(DUCK_SECONDS)
    place = np.arange(count) / count
    # Down within 3 ms (no click), then back along a curve that is slow at first.
    dip = 1.0 - song.duck * np.minimum(place * count / frames_of(0.003), 1.0) * (1 - place**1.5)
    for name, frame, _ in drum_hits(song):
        if name == "kick":
            part = gains[frame : frame + count]
            np.minimum(part, dip[: len(part)], out=part)
    return gains
