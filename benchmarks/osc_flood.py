"""Twenty thousand OSC messages per second for ten seconds: is each of them accounted for?

    python benchmarks/osc_flood.py

Sixteen stems play meanwhile. A separate process sends the messages of a busy sequencer, and one bad
message in twenty. Afterwards every message must have been carried out, answered with a failure,
refused and counted, or dropped by the kernel and counted. Before and after, for half the time
each, the same is measured without the flood, to show the deadlines that the machine misses anyway.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common, material
from benchmarks.cards import add_card_arguments, open_card
from benchmarks.live import ERRORS, live_server
from benchmarks.mix import RATES, Window, play_decks, wait_loaded
from benchmarks.sender import Sender
from tests.support.server import Running

DRAIN_SECONDS = 60.0
BUCKETS = ("messages", "malformed", "refused_packets", "dropped")


def quiet(server: Running, seconds: float, bar: common.Progress) -> dict[str, Any]:
    """Measure without a flood."""
    window = Window(server)
    window.begin()
    bar.wait(seconds, "without the flood")
    return window.end()


def accounted(server: Running) -> dict[str, int]:
    """Return the messages since the server's start by what became of them."""
    status = server.client.status()
    return {name: int(status[name]) for name in BUCKETS}


def settle(server: Running, before: dict[str, int], sent: int) -> tuple[dict[str, int], int]:
    """Wait for the backlog; return the counts since `before`, and the number of missing messages.

    The status requests sent meanwhile are messages, too, and are subtracted.
    """
    deadline = time.monotonic() + DRAIN_SECONDS
    requests = 0
    while True:
        requests += 1
        # Each status counts itself.
        now = accounted(server)
        counts = {name: now[name] - before[name] for name in BUCKETS}
        counts["messages"] -= requests
        missing = sent - sum(counts.values())
        if missing <= 0 or time.monotonic() > deadline:
            return counts, missing
        time.sleep(0.05)


def flood(
    server: Running, rate: float, seconds: float, bar: common.Progress
) -> dict[str, Any]:
    """Measure during the flood, including its counts."""
    before = accounted(server)
    window = Window(server)
    with Sender(server.port, rate, seconds, wrong=True) as sender:
        sender.wait_begun()
        window.begin()
        bar.wait(seconds, f"{rate:g} messages a second")
        while not sender.finished():
            time.sleep(0.01)
        sent = sender.result()
        begin = time.monotonic()
        reading = window.end()
        counts, missing = settle(server, before, int(sent["sent"]) + 2)
        # Senders are served in turn, so a reply does not wait for another sender's backlog.
        backlog = time.monotonic() - begin
    counts["messages"] -= 2  # sent by the window
    return {**reading, **sent, "counts": counts, "missing": missing, "backlog_seconds": backlog}


def run(server: Running, options: argparse.Namespace, bar: common.Progress) -> dict[str, Any]:
    """Run the measurement; return the result for the JSON file."""
    first = quiet(server, options.seconds / 2, bar)
    during = flood(server, options.rate, options.seconds, bar)
    second = quiet(server, options.seconds / 2, bar)
    counts = during["counts"]
    return {
        "rate": options.rate,
        "seconds": round(during["seconds"], 2),
        "sent": during["sent"],
        "handled": counts["messages"],
        "of_these_failed": during["failed"],
        "malformed": counts["malformed"],
        "refused": counts["refused_packets"],
        "dropped_by_kernel": counts["dropped"],
        "unaccounted": during["missing"],
        "backlog_seconds": round(during["backlog_seconds"], 2),
        "missed_deadlines": during["underruns"],
        "missed_deadlines_without": first["underruns"] + second["underruns"],
        "extra_missed_deadlines": during["underruns"] - first["underruns"] - second["underruns"],
        "missing_pages": during["missing_pages"],
        "control_cpu_percent": round(during["cpu_control"], 1),
        "engine_cpu_percent": round(during["cpu_engine"], 1),
        "render_p99_ms": round(during["render_p99_ms"], 3),
        "budget_ms": round(during["budget_ms"], 3),
    }


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    made = argparse.ArgumentParser(description="A flood of OSC messages.")
    made.add_argument("--rate", type=float, default=20_000.0, help="messages per second")
    made.add_argument("--seconds", type=float, default=10.0)
    made.add_argument("--buffer-size", type=int, default=128)
    made.add_argument("--stem-seconds", type=float, default=60.0)
    made.add_argument("--json", type=Path, metavar="FILE")
    add_card_arguments(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if a message is not accounted for."""
    options = parser().parse_args(argv)
    common.print_heading("A flood of OSC messages while 16 stems play")
    bar = common.Progress(2 * options.seconds)
    try:
        data = round(options.stem_seconds * material.RATE) * material.FRAME_BYTES
        folders = material.deck_folders(data)
        with (
            open_card(options, options.buffer_size) as card,
            live_server(*card.flags(options.buffer_size), env=card.env) as server,
        ):
            play_decks(server, folders, RATES)
            wait_loaded(server)
            result = run(server, options, bar)
    except ERRORS as error:
        bar.close()
        print(f"osc_flood: {error}", file=sys.stderr)
        return 1
    bar.close()
    print(f"card: {card.name}\n")
    for name, value in result.items():
        print(f"{name:26} {value}")
    common.write_json(options.json, [result])
    return 0 if result["unaccounted"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
