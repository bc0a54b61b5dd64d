"""Take the screenshots of the documentation: the page while the demo plays.

    python contrib/screenshots.py [--folder docs/pictures] [--at 20]

Needs Chromium and the packages of tests/browser/requirements.txt. The demo plays on the built-in
clock, so no sound card is needed. The contents of a picture depend only on the time at which it is
taken.
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

from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.chromium import PHONE, WIDE, launch_chromium
from tests.support.environment import PROJECT

AT_SECONDS = 20.0  # into the mix; then wait until two tracks are playing
START_SECONDS = 180.0  # the first run compiles the kernels and makes the tracks
PLAYING = ".deck[data-state=playing]"
MAX_BYTES = 400_000


@contextlib.contextmanager
def demo() -> Iterator[str]:
    """Run the demo during the `with` block; yields the page's address."""
    command = [
        sys.executable, "-P", "-m", "crowdstream", "demo", "--driver", "null", "--http-port", "0",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(
        command, cwd=PROJECT, env=environment, text=True, stdout=subprocess.PIPE
    ) as process:
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
            # Read the rest of the output, or the demo would block on the full pipe.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return served.group(1)
    raise SystemExit("screenshots: the demo ended before its page was served")


@contextlib.contextmanager
def page_of(browser: Browser, url: str, size: dict[str, int], touch: bool) -> Iterator[Page]:
    """Open the page and wait until its decks are drawn."""
    context = browser.new_context(viewport=size, has_touch=touch)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("body[data-link=open] .deck[data-state]", state="attached")
    yield page
    context.close()


def take(page: Page, path: Path) -> None:
    """Take a screenshot when everything is drawn and no notification covers the page."""
    page.wait_for_timeout(1500)
    deadline = time.monotonic() + 12.0
    while page.locator(".note").count() and time.monotonic() < deadline:
        page.wait_for_timeout(200)
    page.screenshot(path=path)
    size = path.stat().st_size
    print(f"{path}: {size / 1000:.0f} kB")
    if size > MAX_BYTES:
        raise SystemExit(f"screenshots: {path} is larger than {MAX_BYTES} bytes")


def main(argv: Sequence[str] | None = None) -> int:
    """Take the screenshots and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=PROJECT / "docs" / "pictures")
    parser.add_argument("--at", type=float, default=AT_SECONDS, help="seconds into the mix")
    options = parser.parse_args(argv)
    with demo() as url, sync_playwright() as playwright:
        browser = launch_chromium(playwright.chromium)
        with (
            page_of(browser, url, WIDE, touch=False) as wide,
            page_of(browser, url, PHONE, touch=True) as phone,
        ):
            wide.wait_for_timeout(1000 * options.at)
            wide.wait_for_selector(f"{PLAYING} >> nth=1", timeout=120_000)
            playing = phone.locator(PLAYING).first.get_attribute("data-deck")
            phone.tap(f".view[data-view={playing or 'A'}]")
            take(wide, options.folder / "page-wide.png")
            take(phone, options.folder / "page-phone.png")
            wide.click("[data-tab=health]")
            take(wide, options.folder / "page-health.png")
            wide.click("[data-tab=library]")
            take(wide, options.folder / "page-library.png")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
