"""How soon the page is there, and how soon what is done at one is seen at another.

    python benchmarks/first_sight.py

In headless Chromium over loopback, each time with an empty cache: from the navigation to the first
paint in which all four decks are on the screen, and all bytes that this takes. Then, without a
browser: from a page's command until another page and an OSC client that watches have been told of
it. Goals: the decks within 1 s and 300 kB, everybody told within 50 ms.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from websockets.sync.client import ClientConnection, connect

from benchmarks import common
from benchmarks.live import LiveServer
from crowdstream.control.osc import build, parse

PAINT_SECONDS, KILOBYTES, TOLD_MS = 1.0, 300.0, 50.0
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)
PAUSE = (0.02, 0.08)  # between commands: they fall anywhere between two pictures
SEEN_SECONDS = 10.0

# Runs before the page's own scripts: keeps when the frame with all decks was shown.
WATCH = """new MutationObserver((_changes, observer) => {
  if (document.querySelectorAll(".deck[data-state]").length < 4) return;
  observer.disconnect();
  requestAnimationFrame(() => setTimeout(() => { window.decksShown = performance.now(); }));
}).observe(document, { childList: true, subtree: true, attributes: true });"""


def sights(address: str, times: int, bar: common.Progress) -> list[dict[str, float]]:
    """Seconds to the decks, and bytes over HTTP, of so many first visits."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise common.BenchmarkError(
            "playwright is missing: see tests/browser/requirements.txt"
        ) from None
    found = []
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        except Error as error:
            raise common.BenchmarkError(f"no Chromium: {error.message}") from None
        for _ in range(times):
            context = browser.new_context(viewport={"width": 1600, "height": 900})
            page = context.new_page()
            page.add_init_script(WATCH)
            took = {"bytes": 0.0}
            wire = context.new_cdp_session(page)
            wire.send("Network.enable")

            def count(event: dict[str, Any], took: dict[str, float] = took) -> None:
                took["bytes"] += event["encodedDataLength"]

            wire.on("Network.loadingFinished", count)
            page.goto(f"http://{address}/", wait_until="load")
            shown = None
            while shown is None:
                page.wait_for_timeout(20)
                shown = page.evaluate("window.decksShown ?? null")
            page.wait_for_timeout(500)  # what it fetches when it is there: waveforms, library
            found.append({"seconds": float(shown) / 1e3, "kilobytes": took["bytes"] / 1e3})
            context.close()
            bar.add(1, "first sight")
        browser.close()
    return found


class Watcher:
    """An OSC client that is told what anybody does."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._socket.settimeout(SEEN_SECONDS)
        self._socket.send(build("/watch", (1,)))
        while self._hear()[0] != "/done":
            pass

    def _hear(self) -> tuple[str, list[Any]]:
        ((_, message), *_rest) = parse(self._socket.recv(65536))
        return message.address, list(message.params)

    def told(self, address: str, value: float) -> float:
        """When it was told so (monotonic seconds)."""
        while True:
            heard, values = self._hear()
            if heard == "/changed" and values and values[0] == address:
                values = values[1:]
            elif heard != address:
                continue
            if values and abs(float(values[-1]) - value) < 1e-6:
                return time.monotonic()

    def close(self) -> None:
        """Close its socket."""
        self._socket.close()


def shown(page: ClientConnection, value: float) -> float:
    """When a page was shown that level of deck B (monotonic seconds)."""
    while True:
        message = json.loads(page.recv(SEEN_SECONDS))
        level = message.get("picture", {}).get("deck.B", {}).get("level")
        if level is not None and abs(float(level) - value) < 1e-6:
            return time.monotonic()


def told(server: LiveServer, times: int, bar: common.Progress) -> dict[str, list[float]]:
    """Milliseconds from a page's command to another page, and to an OSC client."""
    address = f"ws://{server.page()}/live"
    found: dict[str, list[float]] = {"page": [], "osc": []}
    with connect(address, compression=None) as one, connect(address, compression=None) as other:
        for page in (one, other):
            shown(page, 1.0)
        watcher = Watcher(server.port)
        for number in range(times):
            time.sleep(random.uniform(*PAUSE))
            # By turns, as each waits alone: what is waited for second would seem late.
            value = 0.25 + (number + 1) / 4096
            begin = time.monotonic()
            one.send(json.dumps({"do": [number, "/deck/B/level", value]}))
            if number % 2:
                found["page"].append(1e3 * (shown(other, value) - begin))
                watcher.told("/deck/B/level", value)
            else:
                found["osc"].append(1e3 * (watcher.told("/deck/B/level", value) - begin))
                shown(other, value)
            shown(one, value)
            bar.add(1, "commands")
        watcher.close()
    return found


def row(what: str, values: Sequence[float], digits: int) -> dict[str, Any]:
    """Median, 95th percentile and the worst."""
    return {
        "what": what, "number": len(values),
        "p50": round(common.median(values), digits),
        "p95": round(common.percentile(values, 95), digits),
        "worst": round(max(values), digits),
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; the exit status is 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--visits", type=int, default=10)
    parser.add_argument("--commands", type=int, default=400)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    common.print_heading("First sight of the page, and what is done seen by others")
    bar = common.Progress(options.visits + options.commands)
    rows = []
    try:
        with LiveServer("--driver", "null", "--http") as server:
            if options.commands:
                for who, values in told(server, options.commands, bar).items():
                    rows.append(row(f"command to {who}, ms", values, 1))
            if options.visits:
                seen = sights(server.page(), options.visits, bar)
                rows.append(row("decks on the screen, s", [one["seconds"] for one in seen], 3))
                rows.append(row("over HTTP, kB", [one["kilobytes"] for one in seen], 1))
    except (common.BenchmarkError, OSError) as error:
        print(f"first_sight: {error}", file=sys.stderr)
        return 1
    bar.close()
    print(common.table(rows))
    goals = {"ms": TOLD_MS, "s": PAINT_SECONDS, "kB": KILOBYTES}
    missed = [one["what"] for one in rows if one["p95"] > goals[one["what"].rpartition(" ")[2]]]
    words = f"{PAINT_SECONDS:g} s, {KILOBYTES:g} kB, {TOLD_MS:g} ms (95 of 100)"
    print(f"goals: {words}: {'missed: ' + '; '.join(missed) if missed else 'reached'}")
    common.write_json(options.json, {"machine": common.machine(), "rows": rows})
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
