"""Cost of listeners: CPU of each process, the engine's render times and missed deadlines.

    python benchmarks/listening.py [--listeners 20] [--seconds 20] [--page 60] [--hold 0.15]

Sixteen stems play. Stretches without and with listeners alternate, so that other load on the
machine affects both alike. The listeners are one more process on the same machine and use CPU, too.
One additional listener reads too slowly for 16 bits. With `--page`, a page in Chromium then listens
for that many seconds while its main thread is repeatedly blocked for half a second, and the output
of its audio graph is measured (this needs the tests' requirements).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
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
from crowdstream.web.streaming.encoding import HEAD
from tests.support.server import Running

CONTROL_GOAL = 10.0  # percent of a core, with all listeners
SLOW_BYTES = 110_000  # per second: more than stereo mu-law needs, less than 16-bit PCM
REPORT_SECONDS = 0.2


# The listeners' process


async def listen(url: str, seconds: float, bytes_a_second: float | None) -> dict[str, Any]:
    """Run one listener; return what it received."""
    from websockets.asyncio.client import connect

    got: dict[str, Any] = {"bytes": 0, "chunks": 0, "jumps": 0, "told": []}
    following = None
    queue = 1 if bytes_a_second else None
    async with connect(url, compression=None, max_queue=queue) as connection:
        begin = told_at = time.monotonic()
        while time.monotonic() < begin + seconds:
            message = await connection.recv()
            if isinstance(message, str):
                notice = json.loads(message)
                got["told"] += [notice["format"]] if "format" in notice else []
                continue
            _, _, count, rate, stream_rate, frame, _ = HEAD.unpack_from(message)
            got["bytes"] += len(message)
            got["chunks"] += 1
            got["jumps"] += following is not None and frame != following
            following = frame + round(count * stream_rate / rate)
            if time.monotonic() > told_at + REPORT_SECONDS:
                told_at = time.monotonic()
                await connection.send(json.dumps({"have": following}))
            if bytes_a_second:
                await asyncio.sleep(len(message) / bytes_a_second)
    got["seconds"] = seconds
    return got


async def listen_all(url: str, listeners: int, seconds: float, slow: bool) -> list[dict[str, Any]]:
    """Run many listeners at once; the slow one is the last."""
    print("ready", flush=True)
    tasks = [listen(url, seconds, None) for _ in range(listeners)]
    if slow:
        tasks.append(listen(url, seconds, SLOW_BYTES))
    return await asyncio.gather(*tasks)


class Audience:
    """Listeners in a separate process, for `seconds`."""

    def __init__(self, url: str, listeners: int, seconds: float, slow: bool) -> None:
        command = [sys.executable, __file__, "--audience", url, str(listeners), str(seconds)]
        self._process = subprocess.Popen(
            [*command, str(int(slow))], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def result(self) -> list[dict[str, Any]]:
        """Wait for the end; return what each listener received."""
        output, _ = self._process.communicate(timeout=120)
        if self._process.returncode != 0:
            raise common.BenchmarkError("the listeners failed; see above")
        found: list[dict[str, Any]] = json.loads(output)
        return found


# The measurement


def row(name: str, reading: dict[str, Any]) -> dict[str, Any]:
    """Return one stretch as a row of the table."""
    return {
        "stretch": name,
        "control_cpu": round(reading["cpu_control"], 1),
        "web_cpu": round(reading["cpu_web"], 1),
        "engine_cpu": round(reading["cpu_engine"], 1),
        "render_p50_ms": round(reading["render_p50_ms"], 4),
        "render_p99_ms": round(reading["render_p99_ms"], 4),
        "missed": reading["underruns"],
        "over_budget": reading["over_budget"],
    }


def measure(
    server: Running, url: str, options: argparse.Namespace, bar: common.Progress
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of all stretches, and what the listeners received in the last one."""
    rows, got = [], []
    for turn in (1, 2):
        window = Window(server)
        window.begin()
        bar.wait(options.seconds, f"nobody listens ({turn})")
        rows.append(row("nobody", window.end()))
        audience = Audience(url, options.listeners, options.seconds + 4.0, slow=False)
        time.sleep(2.0)
        window.begin()
        bar.wait(options.seconds - 1.0, f"{options.listeners} listen ({turn})")
        rows.append(row(f"{options.listeners} listen", window.end()))
        got = audience.result()
    return rows, got


def slow_one(url: str, options: argparse.Namespace, bar: common.Progress) -> dict[str, Any]:
    """Measure a slow listener beside others."""
    audience = Audience(url, options.listeners, options.seconds, slow=True)
    bar.wait(options.seconds, "a slow one beside them")
    *others, slow = audience.result()
    return {
        "told": slow["told"],
        "kbit_a_second": round(8e-3 * slow["bytes"] / slow["seconds"]),
        "jumps": slow["jumps"],
        "jumps_of_the_others": sum(one["jumps"] for one in others),
    }


def page(seconds: float, hold: float) -> dict[str, Any]:
    """Measure a page that listens to a tone while its main thread is repeatedly blocked."""
    from benchmarks.listening_page import listen_in_a_page

    return listen_in_a_page(seconds, hold)


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    made = argparse.ArgumentParser(description="Cost of listeners.")
    made.add_argument("--listeners", type=int, default=20)
    made.add_argument("--seconds", type=float, default=20.0, help="length of each stretch")
    made.add_argument("--buffer-size", type=int, default=256)
    made.add_argument("--stem-seconds", type=float, default=60.0)
    made.add_argument("--page", type=float, metavar="SECONDS", help="also listen in Chromium")
    made.add_argument("--hold", type=float, default=0.15, help="target latency of the page")
    made.add_argument("--json", type=Path, metavar="FILE")
    add_card_arguments(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if control exceeds `CONTROL_GOAL` or a listener missed sound."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["--audience"]:
        address, listeners, seconds, slowly = arguments[1:]
        found = asyncio.run(listen_all(address, int(listeners), float(seconds), slowly == "1"))
        print(json.dumps(found))
        return 0
    options = parser().parse_args(arguments)
    common.print_heading(f"{options.listeners} listeners while 16 stems play")
    bar = common.Progress(5 * options.seconds - 2.0)
    try:
        data = round(options.stem_seconds * material.RATE) * material.FRAME_BYTES
        folders = material.deck_folders(data)
        with open_card(options, options.buffer_size) as card, live_server(
            *card.flags(options.buffer_size), "--http", env=card.env
        ) as server:
            play_decks(server, folders, RATES)
            wait_loaded(server)
            url = f"ws://127.0.0.1:{server.http_port}/listen"
            rows, got = measure(server, url, options, bar)
            slow = slow_one(url, options, bar)
    except ERRORS as error:
        bar.close()
        print(f"listening: {error}", file=sys.stderr)
        return 1
    bar.close()
    print(f"card: {card.name}; CPU in percent of one core\n")
    print(common.table(rows))
    each = sum(one["bytes"] / one["seconds"] for one in got) / len(got)
    jumps = sum(one["jumps"] for one in got)
    print(f"\neach listener: {each / 1e3:.1f} kB a second; frames missing: {jumps} times")
    print(f"a listener with {SLOW_BYTES / 1e3:g} kB a second: {slow}")
    seen = page(options.page, options.hold) if options.page else None
    if seen is not None:
        print(f"in a page: {seen}")
    common.write_json(options.json, {
        "machine": common.machine(), "rows": rows, "bytes_a_second": each, "jumps": jumps,
        "slow": slow, "page": seen,
    })  # fmt: skip
    most = max(one["control_cpu"] for one in rows)
    met = most <= CONTROL_GOAL and jumps == 0
    verdict = "met" if met else "missed"
    print(f"goal: control at most {CONTROL_GOAL:g} %, nothing missing: {verdict}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
