"""Evaluate what `dj_watch` has observed of a set, and the rendered file."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.dj_watch import PARTS, RATE, Watched
from crowdstream.audiofile.loudness import LoudnessMeter
from crowdstream.dj.setfile.timed_commands import DECKS
from crowdstream.dj.track_features import TrackFeatures

ALONE = ("vocals", "bass")  # parts of which only one should be audible
NOTICED = 10 ** (-20 / 20)  # relative to its usual level; a softer part goes unnoticed
BEFORE_SECONDS = 20.0  # length of the parts before and after a transition to compare
LONG_GAP_SECONDS = 0.05
DIP_SECONDS = 3.0  # window of the short-term loudness for the softest part of a transition
BUILD_BEATS = (0, 16, 32, 64)  # mix-in points before a drop


def report(seen: Watched, out: Path) -> None:
    """Print all figures."""
    paths = [entry.path for entry in seen.mix.entries]
    print(f"tracks that come twice: {len(paths) - len(set(paths))}")
    _kinds(seen)
    _beats(seen)
    _clashes(seen)
    _tempo(seen)
    _gaps(seen)
    tenths = [seen.memory[n * len(seen.memory) // 10] >> 20 for n in range(10)]
    print(f"resident memory, MB, by tenths: {tenths}, at the end {seen.memory[-1] >> 20}")
    _loudness(seen, out)


def _kinds(seen: Watched) -> None:
    counts: dict[str, int] = defaultdict(int)
    for entry in seen.mix.entries[:-1]:
        assert entry.transition is not None
        counts[f"{entry.transition.kind}, {entry.transition.bars:g} bars"] += 1
    for kind, count in sorted(counts.items()):
        print(f"  {count:3} {kind}")


def _beats(seen: Watched) -> None:
    heard = off_phrase = both = 0
    clock: list[int] = []
    apart: list[int] = []
    missing: list[str] = []
    for number, join in enumerate(seen.joins):
        before, after = seen.mix.entries[number : number + 2]
        truths = seen.truths[before.path], seen.truths[after.path]
        clock += [beat.off for beat in join.out + join.into]
        if not join.out or not join.into:
            missing.append(f"{number + 1}")
            continue
        heard += 1
        beats = before.transition.beats if before.transition else 0.0
        # The beats at the start of the transition, calculated back from the first beat found.
        out_at = join.out[0].file_beat - join.out[0].at * before.ratio
        into_at = join.into[0].file_beat - join.into[0].at * after.ratio
        good = out_at in truths[0].phrases and _is_entry(truths[1], into_at, beats * after.ratio)
        off_phrase += not good
        if not good:
            print(f"  transition {number + 1} is off the phrase: beats {out_at:g}, {into_at:g}")
        others = {beat.at: beat.off for beat in join.into}
        pairs = [beat.off - others[beat.at] for beat in join.out if beat.at in others]
        if beats and pairs:
            both += 1
        # For a cut, compare the beats before it and after it by way of the clock.
        apart += pairs if pairs else [join.out[-1].off - join.into[0].off]
    print(
        f"transitions: {len(seen.joins)}; heard with drums on both sides {heard}, "
        f"{both} of them with both at once; begun off a phrase {off_phrase}"
    )
    if missing:
        print(f"  without drums on one side, not compared: {', '.join(missing)}")
    print(
        f"beats of both sides beside each other: {len(apart)}, the furthest "
        f"{max(map(abs, apart), default=0)} frames apart; {len(clock)} beats beside the clock, "
        f"the furthest {max(map(abs, clock), default=0)} frames off it"
    )
    within = sum(abs(each) <= 1 for each in apart)
    print(f"  within one frame of each other: {within} of {len(apart)}")


def _is_entry(truth: TrackFeatures, beat: float, length: float) -> bool:
    if beat in truth.phrases or beat == truth.begin:
        return True
    return any(drop - beat in BUILD_BEATS or drop - beat == length for drop in truth.starts("drop"))


def _clashes(seen: Watched) -> None:
    tracks, levels = seen.tracks[: seen.count], seen.levels[: seen.count]
    usual = np.full((len(seen.mix.entries), len(PARTS)), 1e-3)
    for index in range(len(seen.mix.entries)):
        mine = tracks[:, index % len(DECKS)] == index
        for part in range(len(PARTS)):
            line = levels[mine, index % len(DECKS), part]
            if len(line):
                usual[index, part] = max(1e-3, float(np.percentile(line, 90)))
    frames = np.diff(seen.frames[: seen.count], prepend=0)
    for name in ALONE:
        part = PARTS.index(name)
        beside = np.where(tracks >= 0, usual[np.maximum(tracks, 0), part], np.inf)
        two = (levels[:, :, part] > NOTICED * beside).sum(axis=1) > 1
        # A single block may contain both, when one part is replaced by the other.
        edges = np.flatnonzero(np.diff(two.astype(np.int8), prepend=0, append=0))
        runs = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > 1]
        seconds = sum(int(frames[a:b].sum()) for a, b in runs) / RATE
        both = (tracks >= 0).sum(axis=1) > 1
        one = both & (levels[:, :, part] > NOTICED * beside).any(axis=1)
        print(f"two {name} at once: {len(runs)} times, {seconds:.2f} s in all; two tracks were on "
              f"decks for {int(frames[both].sum()) / RATE:.0f} s, and {name} of one or the other "
              f"heard in {int(frames[one].sum()) / RATE:.0f} s of them")
        for a, b in runs[:20]:
            places = sorted(int(index) + 1 for index in tracks[a] if index >= 0)
            print(f"  at {_clock(seen, a)}, tracks {places}, {int(frames[a:b].sum()) / RATE:.2f} s")


def _clock(seen: Watched, block: int) -> str:
    second = (int(seen.frames[block]) - int(seen.frames[0])) / RATE
    return f"{int(second // 60)}:{second % 60:04.1f}"


def _tempo(seen: Watched) -> None:
    tempi, beats = seen.tempi[: seen.count], seen.beats[: seen.count]
    jumps = [before.end for before, entry in zip(seen.placements, seen.mix.entries, strict=True)
             if entry.transition and not entry.transition.bars]  # fmt: skip
    near = np.zeros(seen.count, bool)
    for jump in jumps:
        near |= np.abs(beats - jump) < 0.25  # the clock takes 20 ms to jump
    steps = np.abs(np.diff(tempi, prepend=tempi[0]) / tempi)
    steps[near] = 0
    worst = int(np.argmax(steps))
    print(
        f"clock from {tempi.min():.1f} to {tempi.max():.1f} bpm; it moves by at most "
        f"{100 * steps[worst]:.4f} % from block to block (46 ms), at {_clock(seen, worst)}"
    )
    # From beat to beat: half a beat on either side of each block.
    ahead = np.interp(beats + 0.5, beats, tempi) / np.interp(beats - 0.5, beats, tempi) - 1
    for jump in jumps:
        ahead[np.abs(beats - jump) < 1.0] = 0
    worst = int(np.argmax(np.abs(ahead)))
    print(
        f"  and by at most {100 * abs(ahead[worst]):.3f} % from beat to beat, at "
        f"{_clock(seen, worst)}"
    )
    rates, tracks = seen.rates[: seen.count], seen.tracks[: seen.count]
    same = (np.diff(tracks, axis=0, prepend=-1) == 0) & (rates > 0)
    same[1:] &= rates[:-1] > 0
    moved = np.zeros_like(rates)
    moved[1:] = np.abs(rates[1:] / np.maximum(rates[:-1], 1e-9) - 1)
    moved[~same] = 0
    moved[near] = 0
    steady = rates[~near]
    worst, deck = divmod(int(np.argmax(moved)), len(DECKS))
    print(
        f"playback rates of the decks move by at most {100 * moved[worst, deck]:.4f} % from "
        f"block to block, at {_clock(seen, worst)}; they are from "
        f"{steady[steady > 0].min():.3f} to {steady.max():.3f}"
    )
    big = [tempi[np.searchsorted(beats, jump + 1)] / tempi[np.searchsorted(beats, jump - 1)] - 1
           for jump in jumps]  # fmt: skip
    print(
        f"jumps of tempo between two tracks, where neither plays through: "
        f"{sum(abs(size) > 1e-3 for size in big)}, the largest "
        f"{100 * max(map(abs, big), default=0):.1f} %"
    )


def _gaps(seen: Watched) -> None:
    # Silence before the first sound belongs to the first track.
    gaps = [(count, after) for count, after in seen.gaps if after - count > int(seen.frames[0])]
    longest = max((count for count, _ in gaps), default=0)
    long = [(count, after) for count, after in gaps if count > LONG_GAP_SECONDS * RATE]
    print(f"longest silence: {longest / RATE * 1000:.1f} ms; over 50 ms: {len(long)}")
    for count, after in long[:20]:
        second = (after - count - int(seen.frames[0])) / RATE
        print(f"  {count / RATE * 1000:.0f} ms at {int(second // 60)}:{second % 60:04.1f}")


def _loudness(seen: Watched, out: Path) -> None:
    steps: list[tuple[float, int]] = []
    dips: list[float] = []
    swells: list[float] = []
    starts = seen.frames[0] - (seen.frames[1] - seen.frames[0])
    with soundfile.SoundFile(out) as file:
        for number, (before, after) in enumerate(pairwise(seen.placements)):
            begin, end = (
                (seen.frame_of(beat) - starts) / RATE for beat in (after.begin, before.end)
            )
            early = _lufs(file, begin - BEFORE_SECONDS, begin)
            late = _lufs(file, end, end + BEFORE_SECONDS)
            steps.append((late - early, number))
            half = DIP_SECONDS / 2
            inner = [_lufs(file, at - half, at + half) for at in np.arange(begin, end + 0.1, 1.0)]
            dips.append(min(early, late) - min(inner))
            swells.append(max(inner) - max(early, late))
            kind = seen.mix.entries[number].transition
            print(
                f"  {number + 1:3} {kind.kind if kind else '':12} {early:6.1f} LUFS before, "
                f"{late - early:+.1f} after, softest in it {-dips[-1]:+.1f}, "
                f"loudest {swells[-1]:+.1f}"
            )
    sizes = np.abs([step for step, _ in steps])
    print(
        f"loudness, {BEFORE_SECONDS:g} s after beside {BEFORE_SECONDS:g} s before: median "
        f"{np.median(sizes):.1f} LU, largest {sizes.max():.1f} LU (transition "
        f"{steps[int(np.argmax(sizes))][1] + 1}), within 2 LU {int((sizes <= 2).sum())} "
        f"of {len(steps)}"
    )
    print(
        f"softest 3 s in a transition, below the softer of both sides: median "
        f"{np.median(dips):.1f} LU, most {max(dips):.1f} LU; loudest, above the louder one: "
        f"median {np.median(swells):.1f} LU, most {max(swells):.1f} LU"
    )


def _lufs(file: soundfile.SoundFile, begin: float, end: float) -> float:
    file.seek(max(0, min(file.frames, round(begin * RATE))))
    meter = LoudnessMeter(RATE)
    meter.feed(file.read(max(0, round((end - max(0.0, begin)) * RATE)), always_2d=True))
    return meter.integrated()
