"""Do 20 open pages and 20 listeners affect the engine?

    python benchmarks/pages.py --jack

Four decks of four stems play, synced, with keylock, EQ, filter and two effects each. Within one
run, phases without clients alternate with phases in which 20 pages are open (each shows everything
and reads it; four of them are used for mixing) and 20 clients listen to the master. Compared are
the engine's own ledgers: missed deadlines, render times, and the longest time between two
callbacks. The goals: no more missed deadlines than without clients, and at most 10 percent of a
core for the control process.

Some misses are the machine's own. More misses with clients than without count only if their
probability by chance is less than one in 20.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common
from benchmarks.audience import AudienceProcess
from benchmarks.cards import add_card_arguments, open_card
from benchmarks.everything import EFFECTS
from benchmarks.live import ERRORS, live_server
from benchmarks.material import cache_folder
from benchmarks.mix import Window, wait_loaded
from crowdstream.demo.tracks import Track, write_tracks
from crowdstream.web.page_socket import LEAVING_SECONDS
from tests.support.server import Running, until

FRAMES = 256
CONTROL_PERCENT = 10.0
CHANCE = 0.05
SETTLE_SECONDS = 2.0  # after all clients have connected
GONE_SECONDS = LEAVING_SECONDS + 1.0  # after all have left, until the server stops serving them
WITHOUT, WITH = "without", "with"
MISSES = ("underruns", "over_budget")


def play(server: Running, tracks: Sequence[Track]) -> None:
    """Play four tracks, synced and looped, with all processing that a deck offers."""
    for deck, track in zip("ABCD", tracks, strict=True):
        server.client.send(f"/deck/{deck}/load", str(track.folder))
    for _ in tracks:
        server.client.receive_until("/done", 60.0)
    for deck, track in zip("ABCD", tracks, strict=True):
        base = f"/deck/{deck}"
        server.client.send(f"{base}/grid", track.bpm, 0.0)
        server.client.send(f"{base}/sync", 1)
        server.client.send(f"{base}/keylock", 1)
        server.client.send(f"{base}/level", 0.5)
        server.client.send(f"{base}/eq/low", 0.8)
        server.client.send(f"{base}/filter", 0.2)
        for slot, (module, parameter, value) in enumerate(EFFECTS, 1):
            server.client.send(f"{base}/fx/insert", slot, module, parameter, value)
        server.client.send("/clock/next", 4.0, f"{base}/play", 0.0, 1)
    server.client.request("/sync", 1, answer="/synced")
    until(lambda: server.client.status()["voices"] == len(tracks), 30.0, "all four decks play")
    wait_loaded(server)


def one_phase(
    server: Running, what: str, options: argparse.Namespace, wait: Callable[[float, str], None]
) -> dict[str, Any]:
    """Measure one phase, with or without clients."""
    window = Window(server)
    if what == WITHOUT:
        wait(GONE_SECONDS, "nobody there")
        window.begin()
        wait(options.seconds, "nobody there")
        return window.end()
    there = f"{options.pages} pages, {options.listeners} listeners"
    with AudienceProcess(
        f"127.0.0.1:{server.http_port}", options.pages, options.listeners
    ) as audience:
        wait(SETTLE_SECONDS, there)
        audience.begin()
        window.begin()
        wait(options.seconds, there)
        reading = window.end()
        reading["audience"] = audience.end()
    return reading


def summed(what: str, readings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Combine the readings of all phases of a kind."""

    def total(name: str) -> int:
        return sum(int(reading[name]) for reading in readings)

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    result: dict[str, Any] = {
        "what": what,
        "seconds": round(sum(reading["seconds"] for reading in readings), 1),
        "missed": sum(total(name) for name in MISSES),
        **{name: total(name) for name in (*MISSES, "underruns_late_callback",
           "underruns_slow_render", "underruns_device", "missing_pages", "late_commands")},
        **{name: round(max(reading[name] for reading in readings), 4)
           for name in ("render_max_ms", "interval_max_ms")},
        **{name: round(common.median([reading[name] for reading in readings]), 4)
           for name in ("render_p50_ms", "render_p99_ms", "budget_ms")},
    }  # fmt: skip
    for name in ("engine", "control", "web", "loader"):
        used = [reading.get(f"cpu_{name}", 0.0) for reading in readings]
        result[f"cpu_{name}"] = round(mean(used), 2)
    audiences = [reading["audience"] for reading in readings if "audience" in reading]
    if audiences:
        for name in sorted(audiences[0]):
            result[name] = round(mean([float(one.get(name, 0)) for one in audiences]), 2)
    return result


def chance(without: int, with_them: int) -> float:
    """Return the probability of at least this many misses if the clients make no difference.

    Each miss then falls into either kind of phase with equal probability: upper tail of the
    binomial distribution.
    """
    count = without + with_them
    ways = sum(math.comb(count, number) for number in range(with_them, count + 1))
    return ways / 2.0**count


def as_row(result: dict[str, Any]) -> dict[str, str]:
    """Return a row of the table."""
    return {
        "": result["what"],
        "underruns": str(result["underruns"]),
        "over budget": str(result["over_budget"]),
        "render p50 ms": f"{result['render_p50_ms']:.3f}",
        "p99 ms": f"{result['render_p99_ms']:.3f}",
        "max ms": f"{result['render_max_ms']:.2f}",
        "longest interval ms": f"{result['interval_max_ms']:.2f}",
        "engine CPU %": f"{result['cpu_engine']:.1f}",
        "control %": f"{result['cpu_control']:.1f}",
        "web %": f"{result['cpu_web']:.1f}",
    }


def audience_text(result: dict[str, Any], options: argparse.Namespace) -> str:
    """Describe what each client received."""
    pages, listeners = max(options.pages, 1), max(options.listeners, 1)
    return (
        f"each page: {result.get('page_bytes_per_second', 0) / pages / 1e3:.1f} kB/s, "
        f"{result.get('page_messages_per_second', 0) / pages:.0f} messages/s; "
        f"each listener: {result.get('sound_bytes_per_second', 0) / listeners / 1e3:.1f} kB/s, "
        f"{result['holes']:g} holes, {result['narrowed']:g} times fewer bits; "
        f"{result.get('commands_per_second', 0):.0f} commands/s; {result['lost']:g} lost"
    )


def verdicts(results: Sequence[dict[str, Any]], options: argparse.Namespace) -> list[str]:
    """Return the missed goals."""
    without, with_them = results
    found = []
    odds = chance(without["missed"], with_them["missed"])
    if with_them["missed"] > without["missed"] and odds < CHANCE:
        found.append(
            f"{with_them['missed']} deadlines missed with, {without['missed']} without "
            f"(by chance: {odds:.1%})"
        )
    if with_them["cpu_control"] > CONTROL_PERCENT:
        found.append(f"control takes {with_them['cpu_control']:.1f} % of a core")
    if with_them["lost"]:
        found.append(f"{with_them['lost']:g} of {options.pages + options.listeners} were cut off")
    return found


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--pages", type=int, default=20)
    made.add_argument("--listeners", type=int, default=20)
    made.add_argument("--seconds", type=float, default=20.0, help="length of each phase")
    made.add_argument("--rounds", type=int, default=3, help="phases of each kind")
    made.add_argument("--frames", type=int, default=FRAMES, help="frames per block")
    add_card_arguments(made)
    made.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")
    return made


def run(options: argparse.Namespace) -> tuple[list[dict[str, Any]], str]:
    """Return both results, and the name of the card. Raise `BenchmarkError`."""
    tracks = write_tracks(cache_folder() / "everything")
    phases: dict[str, list[dict[str, Any]]] = {WITHOUT: [], WITH: []}
    each = GONE_SECONDS + SETTLE_SECONDS + 2 * options.seconds
    bar = common.Progress(options.rounds * each)
    with open_card(options, options.frames) as card:
        flags = [*card.flags(options.frames), "--http", "--cache-mb", "512"]
        with live_server(*flags, env=card.env) as server:
            server.page()
            play(server, tracks)
            for number in range(options.rounds):
                # A drift over time affects both kinds alike.
                order = (WITHOUT, WITH) if number % 2 == 0 else (WITH, WITHOUT)
                for what in order:
                    phases[what].append(one_phase(server, what, options, bar.wait))
            begun = int(server.client.status()["voices"])
    bar.close()
    if begun < len(tracks):
        raise common.BenchmarkError(f"only {begun} decks play at the end")
    device = phases[WITH][0]
    name = f"{card.name} ({device['driver']}, {device['device']})"
    return [summed(what, readings) for what, readings in phases.items()], name


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if a goal is missed."""
    options = parser().parse_args(argv)
    if min(options.seconds, options.rounds, options.frames) <= 0:
        print("seconds, rounds and frames must be above 0", file=sys.stderr)
        return 2
    common.print_heading(
        f"{options.pages} pages and {options.listeners} listeners, blocks of {options.frames} "
        "frames: 16 stems with keylock, EQ, filter, 8 effects"
    )
    begin = time.monotonic()
    try:
        results, card = run(options)
    except ERRORS as error:
        print(f"pages: {error}", file=sys.stderr)
        return 1
    print(f"card: {card}")
    print(f"{options.rounds} phases of {options.seconds:g} s of each kind, by turns, "
          f"{time.monotonic() - begin:.0f} s in all\n")  # fmt: skip
    print(common.table([as_row(result) for result in results]))
    print(f"\n{audience_text(results[1], options)}")
    wrong = verdicts(results, options)
    goals = f"no more missed deadlines than without, control at most {CONTROL_PERCENT:g} %"
    print(f"goals: {goals}: {'; '.join(wrong) or 'reached'}")
    common.write_json(options.json, results)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
