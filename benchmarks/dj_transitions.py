"""Render and plot one transition of each kind, bar by bar.

    python benchmarks/dj_transitions.py FOLDER OUT.svg

FOLDER is the one of `dj_set`; each kind uses the two tracks that it suits best. The plot shows the
levels of drums, bass, vocals and the rest on both sides, as they enter the mix, and the mix's
short-term loudness. The figures are also printed, one line per bar.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common
from benchmarks.dj_tracks import known_tracks
from benchmarks.dj_watch import BLOCK, PARTS, RATE, Watched
from crowdstream.audiofile.loudness import LoudnessMeter
from crowdstream.dj.key_compatibility import key_fit
from crowdstream.dj.planning.cost_model import COMFORT
from crowdstream.dj.planning.planner import entry_of
from crowdstream.dj.planning.plot import Svg
from crowdstream.dj.planning.transition_search import (
    Goal,
    TransitionCandidate,
    find_transition,
    match_tempo_ratio,
)
from crowdstream.dj.setfile.model import Set, SetEntry
from crowdstream.dj.track_features import TrackFeatures
from crowdstream.dj.transitions import KINDS
from crowdstream.dj.transitions.base import TransitionKind
from crowdstream.offline import renderer
from crowdstream.offline.dj_set import cues_of
from crowdstream.settings import Settings

MEMORY = 256 << 20
BEFORE, AFTER = 16, 12  # bars to plot on either side of the transition
COLOURS = {"drums": "#d9822b", "bass": "#2f6fb0", "vocals": "#b83a6b", "other": "#4b9560"}
FLOOR_DB = -60.0
WIDTH, HEIGHT, LANE = 1180.0, 1500.0, 66.0
BAR = 18.0


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tracks", type=int, default=48)
    options = parser.parse_args()
    common.print_heading("One transition of each kind, by bars: levels in dB, short-term LUFS")
    known = known_tracks(options.folder, options.tracks)
    features = [
        TrackFeatures(path, path.rpartition("/")[2], analysis) for path, analysis in known.items()
    ]
    renderer.BLOCK = BLOCK
    svg = Svg(WIDTH, 60 + len(KINDS) * (2 * LANE + 50), "svg{background:#fff;font:12px sans-serif}")
    for number, (name, colour) in enumerate(COLOURS.items()):
        svg.rect(70 + 90 * number, 14, 12, 12, fill=colour)
        svg.text(86 + 90 * number, 24, name)
    svg.text(450, 24, "height: 0 to -60 dB; black: loudness of the mix, 3 s")
    for row, kind in enumerate(KINDS):
        mix, candidate = _best(kind, features)
        table, loud = _rendered(mix, {each.path: each for each in features}, options.folder)
        _print(kind, mix, candidate, table, loud)
        _draw(svg, 50 + row * (2 * LANE + 50), kind, candidate, table, loud)
    options.out.write_text(svg.whole())


def _best(kind: TransitionKind, features: list[TrackFeatures]) -> tuple[Set, TransitionCandidate]:
    # Of all pairs of tracks, the one with the best transition of this kind.
    found: list[tuple[float, int, Set, TransitionCandidate]] = []
    for out in features:
        entry = entry_of(out, float(out.begin), 1.0, "")
        wanted = out.begin + 0.6 * (out.end - out.begin)
        for into in features:
            if into is out:
                continue
            ratio, target = match_tempo_ratio(into.bpm, out.bpm)
            key = key_fit(out.analysis.key.name, into.analysis.key.name)
            goal = Goal(out.bpm, target, ratio, key, wanted, COMFORT)
            candidate = find_transition(out, entry, 0.0, into, goal, (kind,))
            if candidate is not None:
                mix = _set(out, entry, into, candidate)
                found.append((candidate.score, len(found), mix, candidate))
    _, _, mix, candidate = max(found, key=lambda each: (each[0], -each[1]))
    return mix, candidate


def _set(
    out: TrackFeatures, entry: SetEntry, into: TrackFeatures, candidate: TransitionCandidate
) -> Set:
    made = candidate.proposal.transition
    begin = candidate.leave - made.beats - 4 * BEFORE * 2
    first = replace(
        entry, enter=max(float(out.begin), begin), leave=candidate.leave, transition=made
    )
    ratio = candidate.proposal.context.into.ratio
    last = entry_of(into, candidate.enter, ratio, "")
    leave = min(last.leave, candidate.enter + (made.beats + 4 * AFTER * 2) * ratio)
    return Set(out.bpm, (first, replace(last, leave=leave)))


def _rendered(
    mix: Set, truths: dict[str, TrackFeatures], folder: Path
) -> tuple[dict[int, dict[tuple[int, str], float]], dict[int, float]]:
    # By bar of the transition: levels in dB of both sides' stems, and loudness around the middle.
    blocks: list[np.ndarray] = []
    with Watched(Settings(), MEMORY, RATE, whole=False) as session:
        work = renderer.Renderer(
            session, cues_of(mix, folder / "set.toml"), lambda block: blocks.append(block.copy())
        )
        session.watch(mix, truths, 600.0)
        work.run()
        session.finish()
    sound = np.concatenate(blocks)
    origin = session.frames[0] - (session.frames[1] - session.frames[0])
    coming = session.placements[1].begin
    bars = int(mix.entries[0].overlap) // 4
    table: dict[int, dict[tuple[int, str], float]] = {}
    loud: dict[int, float] = {}
    for bar in range(-BEFORE, bars + AFTER):
        edges = [session.frame_of(coming + 4 * bar + beat) for beat in (0.0, 4.0)]
        low, high = np.searchsorted(session.frames[: session.count], edges)
        for deck in range(2):
            for part, name in enumerate(PARTS):
                levels = session.levels[low + 1 : high + 1, deck, part]
                power = float(np.mean(np.square(levels))) if len(levels) else 0.0
                table.setdefault(bar, {})[deck, name] = 10 * math.log10(max(power, 1e-6))
        middle = (sum(edges) / 2 - origin) / RATE
        piece = sound[max(0, round((middle - 1.5) * RATE)) : round((middle + 1.5) * RATE)]
        meter = LoudnessMeter(RATE)
        meter.feed(piece)
        loud[bar] = meter.integrated()
    return table, loud


def _print(
    kind: TransitionKind,
    mix: Set,
    candidate: TransitionCandidate,
    table: dict[int, dict[tuple[int, str], float]],
    loud: dict[int, float],
) -> None:  # fmt: skip
    made = candidate.proposal
    print(f"{kind.KIND}, {made.context.bars:g} bars, {made.context.tempo:.2f} to "
          f"{made.context.target:.2f} bpm: {made.transition.why}")  # fmt: skip
    for row in made.transition.rows:
        print(f"    {row.at:6g} {row.target:5} {row.control} {row.value:g} over {row.over:g}")
    print("   bar   out: drums  bass  voice  other   in: drums  bass  voice  other    LUFS")
    for bar, levels in table.items():
        if -5 <= bar <= made.context.bars + 4:
            cells = ["".join(f"{levels[deck, name]:7.0f}" if levels[deck, name] > FLOOR_DB else
                             "      -" for name in PARTS) for deck in range(2)]  # fmt: skip
            print(f"  {bar:4}    {cells[0]}   {cells[1]}  {loud[bar]:7.1f}")


def _draw(
    svg: Svg, top: float, kind: TransitionKind, candidate: TransitionCandidate,
    table: dict[int, dict[tuple[int, str], float]], loud: dict[int, float],
) -> None:  # fmt: skip
    def x(bar: float) -> float:
        return 70 + (bar + BEFORE) * BAR

    def height(level: float) -> float:
        return LANE * max(0.0, 1 - level / FLOOR_DB)

    bars = candidate.proposal.context.bars
    svg.text(70, top - 4, f"{kind.KIND}, {bars:g} bars: {candidate.proposal.transition.why}")
    last = x(max(table) + 1)
    svg.rect(x(0), top, max(2.0, x(bars) - x(0)), 2 * LANE, fill="#111827", fill_opacity=0.08)
    for deck, name in ((0, "goes"), (1, "comes")):
        y = top + deck * LANE
        svg.text(12, y + LANE / 2, name)
        svg.rect(70, y, last - 70, LANE, fill="none", stroke="#d1d5db")
        for bar, levels in table.items():
            for part, stem in enumerate(PARTS):
                tall = height(levels[deck, stem])
                svg.rect(x(bar) + part * BAR / 4, y + LANE - tall, BAR / 4, tall,
                         fill=COLOURS[stem])  # fmt: skip
    points = [(x(bar + 0.5), top + 2 * LANE * (-value / 40)) for bar, value in loud.items()]
    for (left, y), (right, below) in pairwise(points):
        svg.line(left, y, right, below, stroke="#000", stroke_width=1.5)


if __name__ == "__main__":
    main()
