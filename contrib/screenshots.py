"""Take the screenshots of the documentation: the page while the demo plays, and while a DJ plays.

    python contrib/screenshots.py [--folder docs/pictures] [--at 20]

Needs Chromium and the packages of tests/browser/requirements.txt. The programs play on the built-in
clock, so no sound card is needed. The DJ plays the demo's tracks. The
contents of a picture depend only on the time at which it is taken.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from playwright.sync_api import Browser, Page, expect, sync_playwright

from crowdstream.demo.runner import default_cache
from tests.support.chromium import PHONE, WIDE, launch_chromium
from tests.support.environment import PROJECT

AT_SECONDS = 20.0  # into the mix; then wait until two tracks are playing
START_SECONDS = 180.0  # the first run compiles the kernels and makes the tracks
PLAYING = ".deck[data-state=playing]"
MAX_BYTES = 400_000


@contextlib.contextmanager
def playing(command: Sequence[str]) -> Iterator[str]:
    """Run a command that serves the page, during the `with` block; yields the page's address."""
    with subprocess.Popen(
        [*command, "--driver", "null", "--http-port", "0"], cwd=PROJECT, text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        limit = threading.Timer(START_SECONDS, process.terminate)
        limit.start()
        try:
            yield _address(process)
        finally:
            limit.cancel()
            process.terminate()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    for line in process.stdout:
        served = re.search(r"page on (\S+)", line)
        if served:
            # Read the rest of the output, or the program would block on the full pipe.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return served.group(1)
    raise SystemExit("screenshots: the program ended before its page was served")


@contextlib.contextmanager
def page_of(browser: Browser, url: str, size: dict[str, int], touch: bool) -> Iterator[Page]:
    """Open the page and wait until its decks are drawn."""
    context = browser.new_context(viewport=size, has_touch=touch)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("body[data-link=open] .deck[data-state]", state="attached")
    yield page
    context.close()


def take(page: Page, path: Path, part: str = "body") -> None:
    """Take a screenshot of a part when it is drawn and no notification covers the page."""
    page.wait_for_timeout(1500)
    deadline = time.monotonic() + 12.0
    while page.locator(".note").count() and time.monotonic() < deadline:
        page.wait_for_timeout(200)
    if part == "body":
        page.screenshot(path=path)
    else:
        page.locator(part).screenshot(path=path)
    size = path.stat().st_size
    print(f"{path}: {size / 1000:.0f} kB")
    if size > MAX_BYTES:
        raise SystemExit(f"screenshots: {path} is larger than {MAX_BYTES} bytes")


def take_demo(browser: Browser, folder: Path, seconds: float) -> None:
    """Take the pictures of the whole page, `seconds` into the demo's mix."""
    with (
        playing([sys.executable, "-P", "-m", "crowdstream", "demo"]) as url,
        page_of(browser, url, WIDE, touch=False) as wide,
        page_of(browser, url, PHONE, touch=True) as phone,
    ):
        wide.wait_for_timeout(1000 * seconds)
        wide.wait_for_selector(f"{PLAYING} >> nth=1", timeout=120_000)
        deck = phone.locator(PLAYING).first.get_attribute("data-deck")
        phone.tap(f".view[data-view={deck or 'A'}]")
        take(wide, folder / "page-wide.png")
        take(phone, folder / "page-phone.png")
        wide.click("[data-tab=health]")
        take(wide, folder / "page-health.png")
        wide.click("[data-tab=library]")
        take(wide, folder / "page-library.png")


def take_dj(browser: Browser, folder: Path) -> None:
    """Take the picture of the DJ's panel, once the next track is chosen."""
    tracks = default_cache() / "tracks"
    with (
        playing([str(PROJECT / "start-crowdstream.sh"), str(tracks)]) as url,
        page_of(browser, url, WIDE, touch=False) as page,
    ):
        page.click("[data-tab=dj]")
        # The tracks are analysed first, if they are not in the library.
        following = page.locator(".dj .dj-name").nth(1)
        expect(following).to_contain_text(re.compile(r"\w"), timeout=60_000)
        expect(page.locator(".dj .analysis")).to_be_hidden(timeout=60_000)
        take(page, folder / "page-dj.png", "#dock")


def main(argv: Sequence[str] | None = None) -> int:
    """Take the screenshots and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=PROJECT / "docs" / "pictures")
    parser.add_argument("--at", type=float, default=AT_SECONDS, help="seconds into the mix")
    options = parser.parse_args(argv)
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright.chromium)
        take_demo(browser, options.folder, options.at)
        take_dj(browser, options.folder)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
