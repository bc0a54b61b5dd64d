"""The DJ panel: current track, next track with reasons; its buttons reach the DJ."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import Browser, expect

from tests.support.chromium import PHONE, WIDE
from tests.support.page_server import NASTY, ready_page
from tests.support.server import Running

STATE: dict[str, Any] = {
    "note": "morning comes in by bass swap", "hold": 0, "energy": None, "persons": [],
    "queue": ["late wish"], "plan": [], "history": ["first", "night drive"], "movement": 0.31,
    "crowd": 1, "memory": {"played": []},
    "now": {"deck": "A", "name": "night drive", "key": "8A", "bpm": 124.0,
            "why": "begins the set: energy 0.20, wanted 0.25"},
    "next": {"deck": "B", "name": NASTY, "key": "9A", "bpm": 126.5, "stage": "ready",
             "why": "energy 0.43, wanted 0.45; keys next to each other", "kind": "bass swap",
             "bars": 16, "how": "calm parts, keys that agree"},
}  # fmt: skip


def publish_state(running: Running, **changed: Any) -> None:
    """Publish a state as the DJ."""
    text = json.dumps({**STATE, **changed})
    parts = [text[at : at + 900] for at in range(0, len(text), 900)]
    for number, part in enumerate(parts, 1):
        running.client.send("/dj/state", number, len(parts), part)


def next_command(running: Running) -> list[Any]:
    """Receive a command for the DJ, and confirm it."""
    while True:
        address, values = running.client.receive()
        if address == "/dj/do":
            running.client.send("/dj/answer", values[0])
            return values[1:]


def test_the_panel_shows_the_dj_and_sends_commands(browser: Browser, running: Running) -> None:
    with ready_page(browser, running, WIDE) as page:
        page.click("[data-tab=dj]")
        panel = page.locator(".dj")
        expect(panel).to_contain_text("No DJ is running")
        expect(page.locator("[data-action=dj-next]")).to_be_hidden()
        running.client.request("/dj/register", "begin", answer="/done")
        publish_state(running)
        expect(panel).to_contain_text("begins the set: energy 0.20")
        expect(panel).to_contain_text(NASTY)
        expect(panel).to_contain_text("bass swap over 16 bars: calm parts")
        expect(panel).to_contain_text("late wish")
        expect(panel).to_contain_text("31 % moving, crowd leads")
        expect(page.locator("[data-action=dj-give]")).to_be_disabled()
        page.click("[data-action=dj-next]")
        assert next_command(running) == ["next"]
        page.click("[data-action=dj-hold]")
        assert next_command(running) == ["hold", 1]
        page.select_option("[data-action=dj-energy]", "0.8")
        word, energy = next_command(running)
        assert word == "energy" and abs(energy - 0.8) < 1e-6
        publish_state(running, hold=1, persons=["A"], energy=0.8)
        expect(page.locator("[data-action=dj-hold]")).to_have_attribute("aria-pressed", "true")
        page.click("[data-action=dj-give]")
        assert next_command(running) == ["give", "all"]
    with ready_page(browser, running, PHONE) as page:
        page.click("[data-view=dj]")
        expect(page.locator(".dj")).to_contain_text("night drive")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.click("[data-action=dj-skip]")
        assert next_command(running) == ["skip"]
