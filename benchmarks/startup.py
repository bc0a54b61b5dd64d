"""Start times: of the server, of a file and of the page.

    python benchmarks/startup.py server [--starts 5]
    python benchmarks/startup.py boot [--starts 5] [--tracks 24]
    python benchmarks/startup.py sound [--trials 50] [--sizes 128 512]
    python benchmarks/startup.py page [--visits 10] [--commands 400]

`server`: from the command to the first sound, with kernels compiled by an earlier start. The clock
starts before the process is created. Packets sent before the port is bound are lost, so the version
is requested every 10 ms; the server is ready at its first reply, and `/play` of a 140 MB file
follows immediately. The first sound is detected when the master's peak meter in the shared memory
is above 0: the first block that is not silent has been handed to the device. One period and the
device's own latency, both printed, have to be added.

`boot`: from the start of the server's service to the first sound of its DJ, as the two units of
`--install-service` do it on an analysed folder. A socket takes the place of the service manager:
the DJ is started, at its niceness of 5, when the server has reported that it is ready. Library and
kernels exist; nothing else is kept between two starts. A start is cold if the kernel's page cache,
with Python, the libraries, the kernels and the music, was dropped before; only root may do that, so
other users measure warm starts alone.

`sound`: from `/cue` and `/start_group` of a file that is not in memory to its first audible frame.
The clock starts before the two messages are sent. The first frame is found in the shared memory:
once the voice plays at rate 1, it started at the engine's frame minus the frames that the voice has
played. That frame is handed to the device in the callback that renders it, and becomes audible when
the previous block has been played: one period later. Times are given to that moment, and also to
the callback alone. A 140 MB file and one of three hours are each started `--trials` times with the
file in the kernel's page cache (warm) and as often after it was dropped from there (cold).

`page`: in headless Chromium over loopback, each time with an empty cache, from the navigation to
the first paint that shows all four decks, with the number of bytes transferred. Then, without a
browser, from a page's command until another page and a subscribed OSC client are notified.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from websockets.sync.client import connect
from websockets.sync.connection import Connection

from benchmarks import common, material
from benchmarks.cards import Card, add_card_arguments, open_card
from benchmarks.live import ERRORS, live_server
from crowdstream.desk.block import Desk
from crowdstream.desk.opcodes import FREE, PLAYING
from crowdstream.system.port_holders import free_port
from tests.support.analysed_folder import analyse
from tests.support.chromium import WIDE, launch_chromium
from tests.support.osc_client import OscClient, until
from tests.support.server import (
    PROJECT,
    START_SECONDS,
    Running,
    ServerError,
    launched,
    open_desk,
)
from tests.support.service_manager import Manager
from tests.support.simulated_dj import tone_set

# The server's start

SERVER_GOAL_SECONDS = 3.0
FIRST_SOUND_SECONDS = 30.0  # limit for the first sound after the server is ready
VERSION_SECONDS = 0.01  # between two requests for the version


def start_server(card: Card, frames: int, path: Path) -> dict[str, float]:
    """Start a server, play, end it; return seconds to `ready` and to `sound`, and `latency`.

    `cpu`: seconds of CPU time that its processes used altogether.
    """
    before = _children_cpu_seconds()
    port = free_port()
    options = [*card.flags(frames), "--port", str(port), "--stats-interval", "0"]
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        with launched(Path(folder), options, card.env, own_session=True) as (process, log):
            client = OscClient(port, strict=True)
            while not _replies(client):
                if process.poll() is not None:
                    raise ServerError(f"the server has ended: {log.read_text().strip()}")
                if time.monotonic() > begin + START_SECONDS:
                    raise common.BenchmarkError(f"not ready within {START_SECONDS:g} s")
            ready = time.monotonic()
            client.send("/play", "A", str(path))
            client.close()
            with open_desk(process.pid) as desk:
                while float(desk.master["peak"]) <= 0.0:
                    if time.monotonic() - ready > FIRST_SOUND_SECONDS:
                        raise common.BenchmarkError(f"no sound within {FIRST_SOUND_SECONDS:g} s")
                    time.sleep(0.0005)
                sound = time.monotonic()
                latency = float(desk.clock["latency"])
    cpu = _children_cpu_seconds() - before
    return {"ready": ready - begin, "sound": sound - begin, "latency": latency, "cpu": cpu}


def _children_cpu_seconds() -> float:
    # Of processes that have ended, and of their children.
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _replies(client: OscClient) -> bool:
    try:
        client.request("/version", answer="/version.reply", seconds=VERSION_SECONDS)
    except TimeoutError:
        return False
    return True


def measure_server(options: argparse.Namespace) -> bool:
    """Start the server repeatedly; return whether every start reached the goal."""
    common.print_heading("Server start: from the command to the first sound")
    starts = []
    path = material.big_file(options.bytes)
    with (
        contextlib.closing(common.Progress(options.starts + 1)) as bar,
        open_card(options, options.buffer_size) as card,
    ):
        for number in range(options.starts + 1):
            start = start_server(card, options.buffer_size, path)
            if number:  # the first start may include compiling
                starts.append(start)
            bar.add(1, "starting")
    sound = [start["sound"] for start in starts]
    result: dict[str, Any] = {
        "starts": len(starts),
        "buffer_size": options.buffer_size,
        "median_ready_s": round(common.median([start["ready"] for start in starts]), 3),
        "median_sound_s": round(common.median(sound), 3),
        "max_sound_s": round(max(sound), 3),
        "median_cpu_s": round(common.median([start["cpu"] for start in starts]), 3),
        "latency_s": round(starts[0]["latency"], 4),
        "period_s": round(options.buffer_size / 44100, 4),
        "goal_s": SERVER_GOAL_SECONDS,
        "reached": max(sound) <= SERVER_GOAL_SECONDS,
    }
    print(f"card: {card.name}\n")
    for name, value in result.items():
        print(f"{name:16} {value}")
    common.write_json(options.json, [result])
    return bool(result["reached"])


# Server and DJ at boot

BOOT_GOAL_SECONDS = 15.0
TRACK_BEATS = 384  # three minutes at the tempo of the tracks
DROP_CACHES = Path("/proc/sys/vm/drop_caches")
CROWD = PROJECT / "configs" / "crowd.toml"


def drop_page_cache() -> bool:
    """Write everything to the disks and drop the page cache; False if this user may not."""
    os.sync()
    try:
        DROP_CACHES.write_text("3\n", encoding="ascii")
    except OSError:
        return False
    return True


def analysed_folder(folder: Path, tracks: int) -> Path:
    """Make a folder of three-minute tracks, and the analysis of all in `folder`'s own library."""
    music = folder / "music"
    music.mkdir()
    names = [f"{number:03}" for number in range(tracks)]
    tone_set(music, names, TRACK_BEATS, rate=44100)
    analyse(folder / "data" / "crowdstream" / "library.db", music, TRACK_BEATS // 4)
    return music


@contextlib.contextmanager
def service_of_the_dj(folder: Path, music: Path, port: int, env: dict[str, str]) -> Iterator[None]:
    """Run the DJ as its unit does, for a `with` block; its log is `dj.log` in `folder`."""
    command = [
        "nice", "-n", "5", sys.executable, "-P", "-m", "crowdstream", "dj", str(music),
        "--port", str(port), "--crowd", str(CROWD),
    ]  # fmt: skip
    with (folder / "dj.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **env},
            cwd=PROJECT, start_new_session=True,
        )  # fmt: skip
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def boot(card: Card, frames: int, folder: Path, music: Path) -> dict[str, float]:
    """Start server and DJ; return seconds to `ready`, to the DJ's start and to `sound`."""
    port = free_port()
    options = [
        *card.flags(frames), "--port", str(port), "--http", "--movement-map", str(CROWD),
    ]  # fmt: skip
    manager = Manager(str(folder / "notify"))
    env = {
        **card.env, "NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "20000000",
        "XDG_DATA_HOME": str(folder / "data"), "XDG_STATE_HOME": str(folder / "state"),
    }  # fmt: skip
    try:
        begin = time.monotonic()
        with launched(folder, options, env, own_session=True) as (process, log):
            while not any("READY=1" in one for one in manager.heard()):
                if process.poll() is not None:
                    raise ServerError(f"the server has ended: {log.read_text().strip()}")
                if time.monotonic() > begin + START_SECONDS:
                    raise common.BenchmarkError(f"not ready within {START_SECONDS:g} s")
                time.sleep(0.002)
            ready = time.monotonic()
            with service_of_the_dj(folder, music, port, env), open_desk(process.pid) as desk:
                while float(desk.master["peak"]) <= 0.0:
                    if time.monotonic() - ready > START_SECONDS:
                        said = (folder / "dj.log").read_text(errors="replace").strip()
                        raise common.BenchmarkError(f"no sound; the DJ's log: {said}")
                    time.sleep(0.002)
                sound = time.monotonic()
    finally:
        manager.close()
        (folder / "notify").unlink()
    return {"ready": ready - begin, "sound": sound - begin}


def measure_boot(options: argparse.Namespace) -> bool:
    """Start server and DJ repeatedly; return whether every start reached the goal."""
    common.print_heading("Boot: from the start of the service to the first sound of the DJ")
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="crowdstream-bench-") as place,
        open_card(options, options.buffer_size) as card,
    ):
        folder = Path(place)
        music = analysed_folder(folder, options.tracks)
        kinds = ("warm", "cold") if drop_page_cache() else ("warm",)
        with contextlib.closing(common.Progress(1 + options.starts * len(kinds))) as bar:
            boot(card, options.buffer_size, folder, music)  # which may have to compile
            bar.add(1, "starting")
            for kind in kinds:
                starts = []
                for _ in range(options.starts):
                    if kind == "cold":
                        drop_page_cache()
                    starts.append(boot(card, options.buffer_size, folder, music))
                    bar.add(1, kind)
                rows.append({
                    "page_cache": kind, "starts": len(starts), "tracks": options.tracks,
                    "median_ready_s": round(common.median([one["ready"] for one in starts]), 2),
                    "median_sound_s": round(common.median([one["sound"] for one in starts]), 2),
                    "max_sound_s": round(max(one["sound"] for one in starts), 2),
                    "goal_s": BOOT_GOAL_SECONDS,
                })  # fmt: skip
    print(f"card: {card.name}\n")
    print(common.table(rows))
    if "cold" not in kinds:
        print("\nnot measured cold: only root may drop the page cache")
    common.write_json(options.json, rows)
    return all(row["max_sound_s"] <= BOOT_GOAL_SECONDS for row in rows)


# A file's first sound

SOUND_GOAL_MS = 30.0
START_FILE_SECONDS = 8.0  # limit for a start
POLL_SECONDS = 0.0002


@dataclass(frozen=True)
class Sample:
    """One start: ms from sending to the callback of its first frame, and to its sound."""

    rendered_ms: float
    sounding_ms: float


def _reading(desk: Desk) -> tuple[int, int, int] | None:
    # (first frame of the voice, callback time, callback frame) at one instant; None while nothing
    # plays or the engine is rendering.
    clock = desk.clock
    epoch, stamp = int(clock["epoch"]), int(clock["stamp"])
    playing = desk.voices[desk.voices["state"] == PLAYING]
    if len(playing) != 1:
        return None
    voice = playing[0]
    first = int(clock["frame"]) - int(voice["play"])
    found = first, int(clock["callback_ns"]), int(clock["callback_frame"])
    busy = stamp % 2 or epoch != int(clock["epoch"]) or stamp != int(clock["stamp"])
    # Rendering is complete when the frame counter is one block after the callback's first frame.
    block = int(desk.header["block_frames"])
    return None if busy or int(clock["frame"]) != found[2] + block else found


def start_file(server: Running, desk: Desk, path: Path) -> Sample:
    """Cue and start the file on deck A; raise `BenchmarkError` if it is not audible in time."""
    begin_ns = time.monotonic_ns()
    server.client.send("/cue", "A", str(path))
    server.client.send("/start_group", 0.0, "A")
    deadline = begin_ns + int(START_FILE_SECONDS * 1e9)
    found = None
    while found is None:
        time.sleep(POLL_SECONDS)
        found = _reading(desk)
        if time.monotonic_ns() > deadline:
            raise common.BenchmarkError(
                f"{path.name} did not start within {START_FILE_SECONDS:g} s"
            )
    first, callback_ns, callback_frame = found
    period = int(desk.header["block_frames"])
    since = (callback_ns - begin_ns) / 1e6
    return place(first, callback_frame, since, period, desk.sample_rate)


def place(
    first: int, callback_frame: int, callback_ms: float, period: int, sample_rate: float
) -> Sample:
    """Return when a voice's first frame was rendered and when it is audible.

    `callback_frame`: first frame of the same callback or a later one, `callback_ms` after
    sending; blocks have `period` frames.
    """
    # The block with the first frame was requested a whole number of periods earlier.
    blocks = max(0, -(-(callback_frame - first) // period))
    block = callback_frame - blocks * period
    rendered = callback_ms - blocks * period / sample_rate * 1e3
    return Sample(rendered, rendered + (period + first - block) / sample_rate * 1e3)


def unload(server: Running, desk: Desk) -> None:
    """Unload deck A and wait until all voices are free."""
    server.client.receive_until("/done", START_FILE_SECONDS)
    server.client.request("/deck/A/unload", answer="/done")
    until(
        lambda: not bool((desk.voices["state"] != FREE).any()), START_FILE_SECONDS, "deck A stops"
    )


def series(
    server: Running, path: Path, trials: int, cold: bool, bar: common.Progress
) -> list[Sample]:
    """Start one file `trials` times, each time after it was unloaded."""
    samples = []
    with server.desk() as desk:
        for number in range(trials + 1):
            if cold:
                material.forget_cached(path)
            else:
                with path.open("rb") as file:
                    file.read(1 << 20)  # the part that is read first
            # Starts fall anywhere within a period and within the server's own ticks.
            time.sleep(0.05 + (number * 0.6180339887 % 1.0) * 0.05)
            sample = start_file(server, desk, path)
            unload(server, desk)
            if number:  # the first start also loads code
                samples.append(sample)
            bar.add(1, f"{path.name} {'cold' if cold else 'warm'}")
    return samples


def summary(path: Path, frames: int, cold: bool, samples: Sequence[Sample]) -> dict[str, Any]:
    """Return the figures of one series for the JSON list."""
    sounding = [sample.sounding_ms for sample in samples]
    return {
        "file": path.name,
        "megabytes": round(path.stat().st_size / 1e6),
        "buffer_size": frames,
        "page_cache": "cold" if cold else "warm",
        "trials": len(samples),
        "median_ms": round(common.median(sounding), 2),
        "p90_ms": round(common.percentile(sounding, 90), 2),
        "max_ms": round(max(sounding), 2),
        "median_rendered_ms": round(common.median([s.rendered_ms for s in samples]), 2),
        "goal_ms": SOUND_GOAL_MS,
        "reached": common.median(sounding) <= SOUND_GOAL_MS,
    }


def measure_sound(options: argparse.Namespace) -> bool:
    """Start files repeatedly; return whether every median reached the goal."""
    common.print_heading("First sound: /cue + /start_group of a file that is not in memory")
    results = []
    steps = 4 * len(options.sizes) * (options.trials + 1)
    memory = [] if options.cache_mb is None else ["--cache-mb", str(options.cache_mb)]
    gc.disable()
    files = [material.big_file(options.bytes), material.long_file(options.long_seconds)]
    with contextlib.closing(common.Progress(steps)) as bar:
        for frames in options.sizes:
            with (
                open_card(options, frames) as card,
                live_server(*card.flags(frames), *memory, env=card.env) as server,
            ):
                for path, cold in itertools.product(files, (False, True)):
                    samples = series(server, path, options.trials, cold, bar)
                    results.append(summary(path, frames, cold, samples))
    print(f"card: {card.name}\n")
    print(common.table(results))
    common.write_json(options.json, results)
    return all(result["reached"] for result in results)


# The page

PAINT_GOAL_SECONDS, PAGE_GOAL_KB, NOTIFY_GOAL_MS = 1.0, 300.0, 50.0
PAUSE_SECONDS = (0.02, 0.08)  # between commands, to spread them over the interval of updates
NOTIFY_SECONDS = 10.0  # limit for a notification

# Runs before the page's own scripts: records the time of the frame that shows all decks.
WATCH = """new MutationObserver((_changes, observer) => {
  if (document.querySelectorAll(".deck[data-state]").length < 4) return;
  observer.disconnect();
  requestAnimationFrame(() => setTimeout(() => { window.decksShown = performance.now(); }));
}).observe(document, { childList: true, subtree: true, attributes: true });"""


def first_paints(url: str, times: int, bar: common.Progress) -> list[dict[str, float]]:
    """Return seconds until the decks are shown, and kilobytes over HTTP, of `times` visits."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise common.BenchmarkError(
            "playwright is missing: see tests/browser/requirements.txt"
        ) from None
    found = []
    with sync_playwright() as playwright:
        try:
            browser = launch_chromium(playwright.chromium)
        except Error as error:
            raise common.BenchmarkError(f"no Chromium: {error.message}") from None
        for _ in range(times):
            context = browser.new_context(viewport=WIDE)  # type: ignore[arg-type]
            page = context.new_page()
            page.add_init_script(WATCH)
            took = {"bytes": 0.0}
            session = context.new_cdp_session(page)
            session.send("Network.enable")

            def count(event: dict[str, Any], took: dict[str, float] = took) -> None:
                took["bytes"] += event["encodedDataLength"]

            session.on("Network.loadingFinished", count)
            page.goto(url, wait_until="load")
            shown = None
            while shown is None:
                page.wait_for_timeout(20)
                shown = page.evaluate("window.decksShown ?? null")
            page.wait_for_timeout(500)  # for later requests: waveforms, library
            found.append({"seconds": float(shown) / 1e3, "kilobytes": took["bytes"] / 1e3})
            context.close()
            bar.add(1, "first paint")
        browser.close()
    return found


def notified_osc(client: OscClient, address: str, value: float) -> float:
    """Return when an OSC client was notified of a value (monotonic seconds)."""
    while True:
        received, values = client.receive(NOTIFY_SECONDS)
        if received == "/changed" and values and values[0] == address:
            values = values[1:]
        elif received != address:
            continue
        if values and abs(float(values[-1]) - value) < 1e-6:
            return time.monotonic()


def notified_page(page: Connection, value: float) -> float:
    """Return when a page was notified of that level of deck B (monotonic seconds)."""
    while True:
        message = json.loads(page.recv(NOTIFY_SECONDS))
        level = message.get("picture", {}).get("deck.B", {}).get("level")
        if level is not None and abs(float(level) - value) < 1e-6:
            return time.monotonic()


def notifications(server: Running, times: int, bar: common.Progress) -> dict[str, list[float]]:
    """Return milliseconds from a page's command to another page, and to an OSC client."""
    address = f"ws://127.0.0.1:{server.http_port}/live"
    found: dict[str, list[float]] = {"page": [], "osc": []}
    with connect(address, compression=None) as one, connect(address, compression=None) as other:
        for page in (one, other):
            notified_page(page, 1.0)
        watcher = OscClient(server.port)
        watcher.request("/changes/subscribe", 1, answer="/done")
        for number in range(times):
            time.sleep(random.uniform(*PAUSE_SECONDS))
            # Alternately: only one of them can be awaited at a time, the second would seem late.
            value = 0.25 + (number + 1) / 4096
            begin = time.monotonic()
            one.send(json.dumps({"do": [number, "/deck/B/level", value]}))
            if number % 2:
                found["page"].append(1e3 * (notified_page(other, value) - begin))
                notified_osc(watcher, "/deck/B/level", value)
            else:
                found["osc"].append(1e3 * (notified_osc(watcher, "/deck/B/level", value) - begin))
                notified_page(other, value)
            notified_page(one, value)
            bar.add(1, "commands")
        watcher.close()
    return found


def row(what: str, values: Sequence[float], digits: int) -> dict[str, Any]:
    """Return median, 95th percentile and maximum as a row."""
    return {
        "what": what, "number": len(values),
        "p50": round(common.median(values), digits),
        "p95": round(common.percentile(values, 95), digits),
        "worst": round(max(values), digits),
    }  # fmt: skip


def measure_page(options: argparse.Namespace) -> bool:
    """Visit the page and send commands; return whether all goals were reached."""
    common.print_heading("First paint of the page, and notification of changes")
    rows = []
    with (
        contextlib.closing(common.Progress(options.visits + options.commands)) as bar,
        live_server("--driver", "null", "--http") as server,
    ):
        if options.commands:
            for to, values in notifications(server, options.commands, bar).items():
                rows.append(row(f"command to {to}, ms", values, 1))
        if options.visits:
            paints = first_paints(server.page(), options.visits, bar)
            rows.append(row("decks on the screen, s", [one["seconds"] for one in paints], 3))
            rows.append(row("over HTTP, kB", [one["kilobytes"] for one in paints], 1))
    print(common.table(rows))
    goals = {"ms": NOTIFY_GOAL_MS, "s": PAINT_GOAL_SECONDS, "kB": PAGE_GOAL_KB}
    missed = [one["what"] for one in rows if one["p95"] > goals[one["what"].rpartition(" ")[2]]]
    words = ", ".join(f"{goal:g} {unit}" for unit, goal in goals.items())
    print(f"goals: {words} (95 of 100): {'missed: ' + '; '.join(missed) if missed else 'reached'}")
    common.write_json(options.json, {"machine": common.machine(), "rows": rows})
    return not missed


# The command line


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    modes = made.add_subparsers(dest="mode", required=True)
    mode = modes.add_parser("server", help="from the command to the first sound")
    mode.set_defaults(measure=measure_server)
    mode.add_argument("--starts", type=int, default=5)
    mode.add_argument("--buffer-size", type=int, default=512)
    mode.add_argument("--bytes", type=int, default=material.BIG_BYTES)
    add_card_arguments(mode)
    mode.add_argument("--json", type=Path, metavar="FILE")
    mode = modes.add_parser("boot", help="from the start of the service to the DJ's first sound")
    mode.set_defaults(measure=measure_boot)
    mode.add_argument("--starts", type=int, default=5)
    mode.add_argument("--tracks", type=int, default=24)
    mode.add_argument("--buffer-size", type=int, default=512)
    add_card_arguments(mode)
    mode.add_argument("--json", type=Path, metavar="FILE")
    mode = modes.add_parser("sound", help="from a file's cue to its first sounding frame")
    mode.set_defaults(measure=measure_sound)
    mode.add_argument("--trials", type=int, default=50)
    mode.add_argument("--sizes", type=int, nargs="+", default=[512], metavar="FRAMES")
    mode.add_argument(
        "--cache-mb", "--memory", type=int, help="cache in MB; a larger file is streamed"
    )
    mode.add_argument("--bytes", type=int, default=material.BIG_BYTES)
    mode.add_argument("--long-seconds", type=int, default=material.LONG_SECONDS)
    add_card_arguments(mode)
    mode.add_argument("--json", type=Path, metavar="FILE")
    mode = modes.add_parser("page", help="from the navigation to the first paint of the decks")
    mode.set_defaults(measure=measure_page)
    mode.add_argument("--visits", type=int, default=10)
    mode.add_argument("--commands", type=int, default=400)
    mode.add_argument("--json", type=Path, metavar="FILE")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run one mode; return 1 if a goal is missed."""
    options = parser().parse_args(argv)
    try:
        return 0 if options.measure(options) else 1
    except ERRORS as error:
        print(f"startup {options.mode}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
