"""Long run of the autopilot on a simulated clock, with a simulated crowd.

    python -m benchmarks.dj_live FOLDER [--hours 8] [--tracks 16] [--crowd] [--plot FILE.png]

Generates missing tracks below FOLDER. DJ, control, loader and engine are those of a running
server, but rendering advances the clock. Measured from the rendered sound and the decks: silences
over 50 ms, the beat of both tracks' grids at which each transition starts, the DJ's CPU time and
memory per hour; with a crowd, also how the tempo follows it.

The crowd reacts to the master level. For twenty minutes in the middle it sends no reports.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from benchmarks.common import machine
from benchmarks.dj_tracks import known_tracks
from crowdstream.dj.autopilot.crowd import CrowdInput
from crowdstream.dj.autopilot.simulate_crowd import LOUD_LUFS, QUIET_LUFS, Crowd
from crowdstream.dj.autopilot.track_selector import EndlessSelector
from crowdstream.dj.planning.candidates import of_analyses
from crowdstream.dj.planning.energy_curve import NAMED
from crowdstream.dj.planning.planner import Planner, PlanOptions
from crowdstream.movement.map_file import read_map
from crowdstream.settings.files import PRESETS
from tests.support.offline_server import RATE
from tests.support.simulated_dj import SimulatedDj

BLOCK = 1024
EXACT = 1e-3  # beats: half a millisecond
REPORT_SECONDS = 0.1  # between two reports of movement
SILENT_SECONDS = 1200.0  # in the middle, without reports
AVERAGE_SECONDS = 3.0  # time constant of the level that the crowd reacts to
POINT_SECONDS = 5.0  # between two points of the plot


@dataclass
class Observations:
    """Observations. `points`: hour, movement, tempo of map, of plan, of clock, energy."""

    starts: int = 0
    off: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    hours: list[tuple[float, float, int]] = field(default_factory=list)
    points: list[tuple[float, ...]] = field(default_factory=list)


class Observer:
    """Observes a simulation block by block."""

    def __init__(self, simulation: SimulatedDj, phrases: dict[str, set[int]]) -> None:
        self.observations = Observations()
        self._simulation = simulation
        self._phrases = phrases
        self._playing: set[str] = set()

    def observe(self) -> None:
        """Look for started decks. Call it after each block."""
        simulation = self._simulation
        moving = {
            letter for letter, deck in zip("ABCD", range(4), strict=True)
            if (track := simulation.core.status.track_of(deck)) is not None and track.sounding
        }  # fmt: skip
        for letter in moving - self._playing:
            self._started(letter, self._playing & moving)
        self._playing = moving

    def _started(self, letter: str, before: set[str]) -> None:
        status, player = self._simulation.status(), self._simulation.djs[0].player
        if player.state.stage != "going" or player.state.mix is None:
            return
        self.observations.starts += 1
        number = len(player.state.mix.entries) - 1 if player.state.index >= 0 else 0
        into = player.state.mix.entries[number]
        since = float(status[f"deck.{letter}.beat"]) - into.enter
        begin = {letter: into.enter}
        if number:
            # A track that leaves with loops or echoes has no beats of its own by then.
            transition = player.state.mix.entries[number - 1].transition
            self.observations.kinds[transition.kind if transition else "cut"] += 1
            for other in (
                before if transition is None or transition.bars or transition.kind == "cut" else ()
            ):
                out = player.state.mix.entries[number - 1]
                ratio = out.ratio / into.ratio
                begin[other] = float(status[f"deck.{other}.beat"]) - since * ratio
        paths = {letter: into.path} | (
            {other: player.state.mix.entries[number - 1].path for other in before} if number else {}
        )
        for deck, beat in begin.items():
            known = self._phrases[paths[deck]]
            nearest = min(known, key=lambda phrase: abs(phrase - beat))
            if abs(nearest - beat) > EXACT or abs(float(status[f"deck.{deck}.phase"])) > EXACT:
                phase = status[f"deck.{deck}.phase"]
                self.observations.off.append(
                    f"{paths[deck][-9:]} at beat {beat:.3f}, phase {phase:.4f}"
                )


def main() -> None:
    """Run the benchmark and print the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--tracks", type=int, default=16)
    parser.add_argument("--crowd", action="store_true")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    known = known_tracks(options.folder, options.tracks)
    candidates = of_analyses(known)
    phrases = {path: set(candidates.features(path).phrases) | {
        beat - 4 * bars for beat in candidates.features(path).starts("drop") for bars in (4, 8, 16)
    } | set(candidates.features(path).starts("drop")) for path in known}  # fmt: skip
    movement_map = read_map(PRESETS / "crowd.toml", 120.0)
    begun, cpu = time.monotonic(), 0.0
    end = 3600.0 * options.hours
    with SimulatedDj(256, BLOCK, RATE) as simulation:

        def energy() -> float:
            return NAMED["wave"](simulation.desk.frame / RATE / 3600.0 % 1.0)

        selector = EndlessSelector(
            lambda cards: Planner(cards, PlanOptions(seed=1)), lambda: candidates, energy
        )
        crowd_input = CrowdInput(movement_map if options.crowd else None)
        dj = simulation.start_dj(selector, crowd_input)
        observer, crowd = Observer(simulation, phrases), Crowd(1)
        reported_at = plotted_at = loud = movement = 0.0
        hour = 1
        last = 0.0
        tick = dj.tick

        def timed() -> None:
            nonlocal cpu
            before = time.process_time()
            tick()
            cpu += time.process_time() - before

        dj.tick = timed  # type: ignore[method-assign]
        while (now := simulation.desk.frame / RATE) < end:
            simulation.step()
            observer.observe()
            power = float(np.mean(np.square(simulation.block_out)))
            loud += (power - loud) * BLOCK / RATE / AVERAGE_SECONDS
            if options.crowd and now >= reported_at + REPORT_SECONDS:
                lufs = 10 * math.log10(2 * loud + 1e-9)
                heard_energy = min(1.0, max(0.0, (lufs - QUIET_LUFS) / (LOUD_LUFS - QUIET_LUFS)))
                movement = crowd.step(heard_energy, now - reported_at)
                reported_at = now
                if abs(now - end / 2) > SILENT_SECONDS / 2:
                    simulation.send("/dance/total_movement", movement)
            if now >= plotted_at + POINT_SECONDS:
                plotted_at = now
                wanted = crowd_input.wanted_bpm(simulation.time)
                entry = dj.player.state.mix.entries[0] if dj.player.state.mix else None
                observer.observations.points.append((
                    now / 3600, movement if wanted else math.nan, wanted or math.nan,
                    entry.bpm / entry.ratio if entry else math.nan, simulation.core.beat_clock.bpm,
                    crowd_input.energy(simulation.time) or math.nan,
                ))  # fmt: skip
            if now >= 3600 * hour:
                resident = psutil.Process().memory_info().rss >> 20
                observer.observations.hours.append((hour, (cpu - last) / 36.0, resident))
                hour, last = hour + 1, cpu
        report(
            options, observer.observations, simulation, cpu / end * 100, time.monotonic() - begun
        )
        if options.plot:
            plot(options.plot, observer.observations)


def report(
    options: argparse.Namespace,
    observations: Observations,
    simulation: SimulatedDj,
    cpu: float,
    took: float,
) -> None:
    """Print the report."""
    player = simulation.djs[0].player
    about = machine()
    print(f"python -m benchmarks.dj_live {' '.join(sys.argv[1:])}")
    print(f"{about['processor']}, {about['cores']} cores, shared; "
          f"{options.hours:g} h in {took:.0f} s\n")  # fmt: skip
    kinds = ", ".join(f"{kind} {count}" for kind, count in observations.kinds.most_common())
    print(f"tracks begun            {observations.starts}, of {options.tracks}; {kinds}")
    print(f"not on a phrase         {len(observations.off)}")
    for line in observations.off[:10]:
        print(f"    {line}")
    print(
        f"silences over 50 ms     {len(simulation.gaps) - 1}"
        f"{''.join(f', {length:.2f} s at {at:.0f} s' for at, length in simulation.gaps[1:11])}"
    )
    played = player.state.history
    repeats = [
        number - max(at for at in range(number) if played[at] == path)
        for number, path in enumerate(played) if path in played[:number]
    ]  # fmt: skip
    print(f"played again after      {min(repeats) if repeats else 'never'} others at the earliest")
    print(f"failed commands         {int(simulation.status()['failed'])}")
    print(
        f"the DJ's CPU            {cpu:.2f} % of a core; hour by hour "
        f"{', '.join(f'{share:.2f}' for _, share, _ in observations.hours)}"
    )
    print(
        "memory of all in one, MB "
        f"{', '.join(str(resident) for *_, resident in observations.hours)}"
    )
    if options.crowd:
        tempos = np.array([point[4] for point in observations.points])
        steps = np.diff(tempos) / POINT_SECONDS
        print(f"tempo                   {tempos.min():.1f} to {tempos.max():.1f} BPM; fastest "
              f"{steps.max():+.2f} and {steps.min():+.2f} BPM/s")  # fmt: skip


def plot(path: Path, observations: Observations) -> None:
    """Plot movement, tempo and energy over the simulated time."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    hour, movement, wanted, own, bpm, energy = np.array(observations.points).T
    figure, (top, bottom) = pyplot.subplots(2, 1, figsize=(12, 7), sharex=True)
    top.plot(hour, 100 * movement, color="tab:green", linewidth=0.8, label="movement, %")
    top.plot(hour, 100 * energy, color="tab:orange", linewidth=0.8, label="energy asked for, %")
    bottom.fill_between(hour, own * 0.92, own * 1.08, color="0.9", label="comfort of the track")
    bottom.plot(hour, wanted, color="tab:green", linewidth=0.6, label="tempo of the map")
    bottom.plot(hour, own, color="0.6", linewidth=0.8, label="the track's own")
    bottom.plot(hour, bpm, color="tab:blue", linewidth=1.2, label="clock, BPM")
    bottom.set_xlabel("hours")
    for axes in (top, bottom):
        axes.legend(loc="upper right", fontsize=8)
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
