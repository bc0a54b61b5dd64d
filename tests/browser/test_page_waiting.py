"""The list of scheduled commands: time left, and cancelling."""

from __future__ import annotations

import re
import time

from playwright.sync_api import Browser, expect

from tests.support.chromium import WIDE
from tests.support.page_server import NASTY, ready_page
from tests.support.server import Running

ROWS = ".waiting-list li"


def test_scheduled_commands_are_listed_and_cancelled(
    browser: Browser, running: Running
) -> None:
    with ready_page(browser, running, WIDE) as page:
        page.click("[data-tab=health]")
        card = page.locator(".waiting-commands")
        expect(card).to_contain_text("No scheduled commands")
        expect(page.locator("[data-action=cancel-all]")).to_be_hidden()
        now = time.time()
        running.client.bundle(now + 3 * 3600 + 60, ("/deck/A/play",), ("/mix/level", 0.25))
        running.client.bundle(now + 86400 * 2.5, ("/deck/B/load", NASTY))
        running.client.bundle(now + 7200, ("/deck/*/level", 0.5))
        expect(page.locator(ROWS)).to_have_count(3)
        first, second, third = (page.locator(ROWS).nth(number) for number in range(3))
        expect(first).to_contain_text(re.compile(r"in (2 h|1 h 5\d min).*/deck/\*/level 0\.5"))
        expect(second).to_contain_text("/deck/A/play, /mix/level 0.25")
        expect(third).to_contain_text("in 2 d 1")
        expect(third).to_contain_text(NASTY)
        second.locator("[data-action=cancel-waiting]").click()
        expect(page.locator(ROWS)).to_have_count(2)
        assert running.client.status()["waiting"] == 2
        page.click("[data-action=cancel-all]")
        expect(card).to_contain_text("No scheduled commands")
        assert running.client.status()["waiting"] == 0
        for number in range(60):
            running.client.bundle(now + 1000 + number, ("/mix/level", 0.5))
        expect(card).to_contain_text("and 10 more")
        running.client.send("/cancel")
        expect(card).to_contain_text("No scheduled commands")
