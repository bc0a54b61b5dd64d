"""Plan a set of generated tracks, render it and measure the result.

    python benchmarks/dj_set.py FOLDER [--minutes 60] [--tracks 36]

Generates missing tracks below FOLDER, plans from their known properties (with --analysed, from
the results of `crowdstream analyze`), renders to FOLDER/set.wav and measures the rendered sound:

- the frames at which the drums on both sides of each transition play, by comparing the decks'
  input with the files, and whether these beats are phrases of the generated track,
- how long two vocals or two basses are audible at once, by the levels of their stems,
- the tempo and each deck's playback rate, block by block, and their largest steps,
- silences over 50 ms, and memory,
- the loudness before, during and after each transition.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common
from benchmarks.dj_measures import report
from benchmarks.dj_tracks import known_tracks
from benchmarks.dj_watch import BLOCK, RATE, Watched
from crowdstream.analysis.result import Analysis
from crowdstream.analysis.track import analyse_track
from crowdstream.audiofile.stems.track_files import find_stems
from crowdstream.dj.planning.candidates import of_analyses
from crowdstream.dj.planning.energy_curve import find_curve
from crowdstream.dj.planning.explain import explain
from crowdstream.dj.planning.planner import Planner, PlanOptions
from crowdstream.dj.planning.plot import plot_set
from crowdstream.dj.setfile.reader import read_set
from crowdstream.dj.setfile.timed_commands import placements, tempo_map
from crowdstream.dj.setfile.writer import write_set
from crowdstream.dj.track_features import TrackFeatures
from crowdstream.offline import renderer
from crowdstream.offline.dj_set import cues_of
from crowdstream.settings import Settings

MEMORY = 512 << 20


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--tracks", type=int, default=36)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--energy", default="wave")
    parser.add_argument("--copies", type=int, default=1, help="copies of each track, renamed")
    parser.add_argument("--analysed", action="store_true", help="plan from crowdstream analyze")
    parser.add_argument("--plan-only", action="store_true", help="only write the set and its plot")
    options = parser.parse_args()
    common.print_heading("A set of made tracks, planned, rendered and measured")
    truths = known_tracks(options.folder, options.tracks)
    known = _analysed(options.folder, truths) if options.analysed else truths
    known, truths = _copied(known, options.copies), _copied(truths, options.copies)
    candidates, curve = of_analyses(known), find_curve(options.energy)
    begin = time.process_time()
    made = Planner(candidates, PlanOptions(options.minutes, options.seed, curve)).plan()
    print(f"{len(known)} tracks{', as crowdstream analyze knows them' * options.analysed}; "
          f"planned in {time.process_time() - begin:.1f} s of processor time")  # fmt: skip
    for note in made.notes:
        print(note)
    path = options.folder / "set.toml"
    path.write_text(write_set(made.mix, options.folder.absolute()))
    (options.folder / "set.txt").write_text("\n".join(explain(made.mix, made.others)) + "\n")
    features = {entry.path: candidates.features(entry.path) for entry in made.mix.entries}
    energies = {track: candidates.energy(candidates.card(track)) for track in features}
    path.with_suffix(".svg").write_text(plot_set(made.mix, features, energies, curve.energy))
    if not options.plan_only:
        _render(
            path, {track: TrackFeatures(track, track, truth) for track, truth in truths.items()}
        )


def _render(path: Path, truths: Mapping[str, TrackFeatures]) -> None:
    mix = read_set(path)
    out = path.with_suffix(".wav")
    length = tempo_map(mix).second(placements(mix)[-1].end)
    renderer.BLOCK = BLOCK
    begin = time.process_time()
    with (
        soundfile.SoundFile(out, "w", RATE, 2, "PCM_16", format="RF64") as file,
        Watched(Settings(), MEMORY, RATE, whole=False) as session,
    ):
        work = renderer.Renderer(session, cues_of(mix, path), file.write)
        session.watch(mix, truths, length)
        frames = work.run().frames
        session.finish()
        took = time.process_time() - begin
        print(
            f"{len(mix.entries)} tracks, {frames / RATE / 60:.1f} minutes; rendered and looked "
            f"at in {took:.0f} s of processor time, {frames / RATE / took:.0f} times real time"
        )
    report(session, out)


def _analysed(folder: Path, truths: Mapping[str, Analysis]) -> dict[str, Analysis]:
    # The results of analyze for each track, cached beside it.
    found: dict[str, Analysis] = {}
    for path in truths:
        note = folder / f"{Path(path).name}.analysed.json"
        if not note.exists():
            note.write_text(json.dumps(analyse_track(find_stems(Path(path))).to_dict()))
        found[path] = Analysis.from_dict(json.loads(note.read_text()))
    return found


def _copied(known: Mapping[str, Analysis], copies: int) -> dict[str, Analysis]:
    found = dict(known)
    for path, analysis in known.items():
        for number in range(1, copies):
            copy = Path(f"{path}-copy{number}")
            if not copy.exists():
                copy.symlink_to(path)
            found[str(copy)] = analysis
    return found


if __name__ == "__main__":
    main()
