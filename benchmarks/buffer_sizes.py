"""Find the best buffer size: four decks of four stems at each size, beside an empty callback.

    python benchmarks/buffer_sizes.py [--storm] [--save]

At each size the server plays 16 stems of 140 MB (EQ on, rates other than 1) for `--seconds`.
Immediately before and after, for half that time each, the same device runs with an empty callback;
the underruns it counts are the machine's own. With `--storm`, the server also receives 1000 OSC
messages per second and loads another file of 140 MB every 5 s.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common, material
from benchmarks.cards import Card, add_card_arguments, open_card
from benchmarks.empty_callback import EmptyCallback
from benchmarks.live import ERRORS, live_server
from benchmarks.mix import RATES, SETTLE_SECONDS, Window, play_decks, wait_loaded
from benchmarks.sender import Sender
from crowdstream.settings import SettingError, save_user_setting

SIZES = (128, 256, 512, 1024, 2048)
STORM_RATE = 1000.0
STORM_LOAD_SECONDS = 5.0
SAFE_SHARE = 0.5  # of its budget that a render may take, to leave room for busy moments
SETUP_SHARE = 5.0  # share of the progress bar, in seconds, for starting and loading


def empty_run(
    card: Card, driver: str, frames: int, rate: float, seconds: float, bar: common.Progress
) -> tuple[int, float]:
    """Return underruns and CPU seconds of the empty callback on this card."""
    with EmptyCallback(driver, card.device, frames, rate, card.env) as empty:
        bar.wait(SETTLE_SECONDS, f"{frames}: empty callback", 0.0)
        empty.begin()
        bar.wait(seconds, f"{frames}: empty callback")
        counted = empty.end()
    return int(counted["underruns"]), float(counted["cpu_seconds"])


def full_run(
    card: Card, frames: int, options: argparse.Namespace, folders: list[Path],
    bar: common.Progress,
) -> dict[str, Any]:  # fmt: skip
    """Measure a server that plays everything for the requested time."""
    with contextlib.ExitStack() as stack:
        bar.add(0.0, f"{frames}: loading")
        server = stack.enter_context(live_server(*card.flags(frames), env=card.env))
        play_decks(server, folders, RATES)
        wait_loaded(server)
        bar.add(SETUP_SHARE, f"{frames}: 16 stems")
        sender = None
        if options.storm:
            extra = material.big_file(options.bytes)
            sender = stack.enter_context(
                Sender(server.port, STORM_RATE, 1e9, extra, STORM_LOAD_SECONDS)
            )
            sender.wait_begun()
        window = Window(server)
        window.begin()
        bar.wait(options.seconds, f"{frames}: 16 stems{', storm' if options.storm else ''}")
        reading = window.end()
        if reading["voices"] < len(folders):
            raise common.BenchmarkError(f"only {reading['voices']} decks play at the end")
        if sender:
            reading["storm"] = sender.result()
    return reading


def one_size(
    frames: int, options: argparse.Namespace, folders: list[Path], bar: common.Progress
) -> dict[str, Any]:
    """Measure one size; return its entry for the JSON file."""
    half = options.seconds / 2
    driver = "null" if options.driver == "null" else "pyaudio"
    with open_card(options, frames) as card:
        rate = 44100.0
        first = empty_run(card, driver, frames, rate, half, bar)
        reading = full_run(card, frames, options, folders, bar)
        second = empty_run(card, driver, frames, rate, half, bar)
    result: dict[str, Any] = {
        "buffer_size": frames,
        "latency_ms": round(reading["latency_ms"], 3),
        "underruns": reading["underruns"],
        "baseline_underruns": first[0] + second[0],
        "cpu_percent": round(reading["cpu_engine"], 2),
        "render_p99_ms": round(reading["render_p99_ms"], 4),
        "budget_ms": round(reading["budget_ms"], 4),
        "missing_pages": reading["missing_pages"],
        "underruns_late_callback": reading["underruns_late_callback"],
        "underruns_slow_render": reading["underruns_slow_render"],
        "underruns_device": reading["underruns_device"],
        "render_max_ms": round(reading["render_max_ms"], 4),
        "over_budget": reading["over_budget"],
        "baseline_cpu_percent": round(100.0 * (first[1] + second[1]) / options.seconds, 2),
        "control_cpu_percent": round(reading["cpu_control"], 2),
        "loader_cpu_percent": round(reading["cpu_loader"], 2),
        "seconds": round(reading["seconds"], 2),
        "card": card.name,
        "device": reading["device"],
        "driver": reading["driver"],
    }
    if "storm" in reading:
        result["storm"] = reading["storm"]
        for name in ("messages", "failed", "refused", "dropped", "late_commands"):
            result[name] = reading[name]
    return result


def causes(result: dict[str, Any]) -> str:
    """Return the underruns by cause, abbreviated."""
    names = {"late_callback": "callback", "slow_render": "render", "device": "device"}
    parts = [
        f"{result[f'underruns_{cause}']} {word}"
        for cause, word in names.items()
        if result[f"underruns_{cause}"]
    ]
    return ", ".join(parts) or "-"


def as_row(result: dict[str, Any]) -> dict[str, str]:
    """Return a row of the table."""
    return {
        "frames": str(result["buffer_size"]),
        "latency ms": f"{result['latency_ms']:.1f}",
        "underruns": str(result["underruns"]),
        "cause": causes(result),
        "empty callback": str(result["baseline_underruns"]),
        "engine CPU %": f"{result['cpu_percent']:.1f}",
        "(empty)": f"{result['baseline_cpu_percent']:.1f}",
        "control %": f"{result['control_cpu_percent']:.1f}",
        "loader %": f"{result['loader_cpu_percent']:.1f}",
        "render p99 ms": f"{result['render_p99_ms']:.3f}",
        "budget ms": f"{result['budget_ms']:.2f}",
        "missing pages": str(result["missing_pages"]),
    }


def recommend(results: Sequence[dict[str, Any]]) -> tuple[int, str]:
    """Return the recommended size and the reason: the smallest without gaps and with headroom."""
    ordered = sorted(results, key=lambda result: int(result["buffer_size"]))

    def calm(result: dict[str, Any]) -> bool:
        return bool(result["render_p99_ms"] <= SAFE_SHARE * result["budget_ms"])

    def gaps(result: dict[str, Any]) -> int:
        return int(result["underruns"]) + int(result["missing_pages"])

    def share(result: dict[str, Any]) -> str:
        return f"{result['render_p99_ms'] / result['budget_ms']:.0%} of the time there is"

    for result in ordered:
        if gaps(result) == 0 and calm(result):
            size = int(result["buffer_size"])
            smaller = "" if result is ordered[0] else "; every smaller one had gaps or little room"
            return size, (
                f"no gap in {result['seconds']:.0f} s, and a render takes {share(result)} "
                f"(99th percentile){smaller}"
            )
    best = min(ordered, key=lambda result: (not calm(result), gaps(result)))
    own = int(best["baseline_underruns"])
    why = (
        f"the machine or its device misses {own} by itself, with an empty callback: look for "
        "other programs, and allow real-time priority"
        if own >= int(best["underruns"]) > 0
        else f"render takes {share(best)}; causes: {causes(best)}"
    )
    return int(best["buffer_size"]), f"no size was free of gaps; here {gaps(best)}: {why}"


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    made = argparse.ArgumentParser(description="Find the best buffer size for this machine.")
    made.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), metavar="FRAMES")
    made.add_argument("--seconds", type=float, default=30.0, help="playing time at each size")
    made.add_argument(
        "--storm", action="store_true",
        help="also send 1000 OSC messages per second and load a file of 140 MB every 5 s",
    )  # fmt: skip
    add_card_arguments(made)
    made.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")
    made.add_argument("--save", action="store_true", help="save the size in the user configuration")
    made.add_argument(
        "--bytes", type=int, default=material.BIG_BYTES, help="size of each stem (default 140 MB)"
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    options = parser().parse_args(argv)
    if options.seconds <= 0 or options.bytes < 1000 or not all(
        16 <= size <= 8192 for size in options.sizes
    ):
        print("sizes must be 16 to 8192 frames, seconds and bytes above 0", file=sys.stderr)
        return 2
    common.print_heading("Buffer sizes: 16 stems on 4 decks, EQ on, rates " + str(RATES))
    results: list[dict[str, Any]] = []
    bar = common.Progress(len(options.sizes) * (2 * options.seconds + SETUP_SHARE))
    try:
        folders = material.deck_folders(options.bytes, lambda text: bar.add(0.0, text))
        for frames in options.sizes:
            results.append(one_size(frames, options, folders, bar))
    except ERRORS as error:
        bar.close()
        print(f"buffer_sizes: {error}", file=sys.stderr)
        return 1
    bar.close()
    print(f"card: {results[0]['card']} ({results[0]['driver']}, {results[0]['device']})")
    print(f"storm: {'on' if options.storm else 'off'}, {options.seconds:g} s at each size\n")
    print(common.table([as_row(result) for result in results]))
    size, why = recommend(results)
    print(f"\nrecommended: {size} frames: {why}")
    common.write_json(options.json, results)
    if options.save:
        try:
            path = save_user_setting("buffer_size", size, os.environ)
        except SettingError as error:
            print(f"buffer_sizes: {error}", file=sys.stderr)
            return 1
        print(f"saved in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
