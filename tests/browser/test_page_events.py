"""The event log on the page: events from before it was opened, and new ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from crowdstream.control.publish.event_log import Event, line_of
from tests.support.chromium import WIDE
from tests.support.page_server import NASTY, PAGE_SERVER, ready_page
from tests.support.server import Running, free_port, server

EARLIER = Event(1.7e9, "error", "device_lost", f"the sound device {NASTY} is gone")


@pytest.fixture
def restarted(tmp_path: Path) -> Iterator[Running]:
    """A server whose event log contains an event of a predecessor."""
    port = free_port()
    file = tmp_path / "state" / "crowdstream" / "events.jsonl"
    file.parent.mkdir(parents=True)
    file.write_bytes(line_of(EARLIER, port))
    env = {"XDG_STATE_HOME": str(tmp_path / "state")}
    with server(tmp_path, *PAGE_SERVER, "--port", str(port), env=env) as running:
        yield running


def test_events_from_before_the_page_are_listed_below_new_ones(
    browser: Browser, restarted: Running
) -> None:
    with ready_page(browser, restarted, WIDE) as page:
        page.click("[data-tab=health]")
        lines = page.locator(".log .log-text")
        expect(lines.last).to_have_text(EARLIER.text)
        expect(page.locator(".log li.bad time").last).to_have_attribute(
            "datetime", "2023-11-14T22:13:20.000Z"
        )
        expect(page.locator(".log")).to_contain_text("the server has started")
        restarted.child_named("loader").kill()
        expect(page.locator("#notes")).to_contain_text("the loader process died")
        expect(page.locator(".log").get_by_text("the loader process died")).to_have_count(1)
        page.reload()
        page.click("[data-tab=health]")
        expect(page.locator(".log").get_by_text("the loader process died")).to_have_count(1)
        expect(lines.last).to_have_text(EARLIER.text)
