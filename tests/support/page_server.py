"""Helpers for tests of the page: a server with music, and a page that is ready."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from playwright.sync_api import Browser, Page, expect

from tests.support.chromium import WIDE, open_page
from tests.support.server import Running, server, until

RATE = 44100
SECONDS = 40
STEMS = ("drums", "bass", "vocals", "other")
# A server with little work besides its page: large blocks and no second engine.
PAGE_SERVER = ("--http", "--driver", "null", "--buffer-size", "1024", "--standby", "off")
NASTY = "<img src=x onerror=alert(1)>"


def make_media(root: Path) -> Path:
    """Write a track of four stems with a beat grid, and a file whose name is markup."""
    quiet = 0.05 * np.sin(np.arange(SECONDS * RATE) * 0.05).astype("f4")
    (root / "Night").mkdir(parents=True)
    for stem in STEMS:
        soundfile.write(root / "Night" / f"{stem}.wav", quiet, RATE)
    (root / "Night" / "crowdstream.toml").write_text("[grid]\nbpm = 120.0\n")
    soundfile.write(root / f"{NASTY}.wav", quiet[: 10 * RATE], RATE)
    return root


@contextmanager
def music_server(
    folder: Path, *options: str, env: dict[str, str] | None = None
) -> Iterator[Running]:
    """Run a server on the built-in clock with that music and its page; `options` are added."""
    media = make_media(folder / "media")
    folders = ("--media-root", str(media), "--record-folder", str(folder))
    with server(folder, *PAGE_SERVER, *folders, *options, env=env) as running:
        yield running


@contextmanager
def ready_page(
    browser: Browser, running: Running, size: dict[str, int] | None = None, moving: bool = False
) -> Iterator[Page]:
    """Open a page that is connected and has drawn its decks; `moving`: see `new_context`."""
    with open_page(browser, running.page(), size or WIDE, moving) as page:
        page.wait_for_selector("body[data-link=open] .deck[data-state]", state="attached")
        expect(page.locator(".deck[data-state]")).to_have_count(4)
        yield page


def load(running: Running, track: Path, deck: str = "A") -> None:
    """Load a track and wait until it is playable."""
    running.client.request(f"/deck/{deck}/load", str(track), answer="/done", seconds=60)


def deck_is(running: Running, **values: Any) -> None:
    """Wait until the status of deck A has these values."""
    until(lambda: _holds(running.client.status(), values))


def _holds(status: dict[str, Any], values: dict[str, Any]) -> bool:
    for name, wanted in values.items():
        value = status[f"deck.A.{name}"]
        near = isinstance(wanted, float) and abs(float(value) - wanted) < 1e-3
        if not near and value != wanted:
            return False
    return True


def live(page: Page, expression: str) -> Any:
    """Return the value of a JavaScript expression with `live`, the page's connection."""
    return page.evaluate(
        "async () => { const { live } = await import('/page/live.js');"
        f" return {expression}; }}"
    )


def watch_orders(page: Page) -> None:
    """Record the commands that the page sends from now on; see `ordered`."""
    page.evaluate(
        "async () => { const { live } = await import('/page/live.js'); const send = live.send;"
        " if (window.sent) { window.sent = []; return; } window.sent = [];"
        " live.send = function (message) { if (message.do)"
        " window.sent.push([performance.now(), ...message.do.slice(1)]);"
        " return send.call(this, message); }; }"
    )


def ordered(page: Page) -> list[list[Any]]:
    """Return the commands sent since `watch_orders`: [address, arguments...]."""
    found: list[list[Any]] = json.loads(page.evaluate("JSON.stringify(window.sent)"))
    return [order[1:] for order in found]


def listen_to(page: Page) -> None:
    """Record the announcements to screen readers from now on; see `said`."""
    page.evaluate(
        "() => { window.said = []; const spoken = document.getElementById('spoken');"
        " window.reader ||= new MutationObserver((records) => window.said.push(...records.flatMap("
        "(record) => [...record.addedNodes].map((node) => node.textContent))));"
        " window.reader.observe(spoken, { childList: true }); }"
    )


def said(page: Page) -> list[str]:
    """Return the announcements since `listen_to`, including those about the server."""
    found: list[str] = page.evaluate("window.said")
    return found
