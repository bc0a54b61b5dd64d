"""The targets of lights on the page: their states, and the button that removes one."""

from __future__ import annotations

import socket
from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.support.page_server import music_server, ready_page
from tests.support.server import until


def test_targets_appear_with_their_state_and_can_be_removed(
    browser: Browser, tmp_path: Path
) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        music_server(tmp_path) as running,
        ready_page(browser, running) as page,
    ):
        receiver.bind(("127.0.0.1", 0))
        page.click("#dock [data-tab=buses]")
        expect(page.locator(".lights")).to_be_hidden()
        good, bad = f"sacn://127.0.0.1:{receiver.getsockname()[1]}/1", "os2l://127.0.0.1:9"
        running.client.send("/lights/add", good)
        running.client.send("/lights/add", bad)
        running.client.send("/lights/lead", 40.0)
        lines = page.locator(".lights li")
        expect(lines).to_have_count(2)
        expect(lines.nth(0)).to_have_attribute("data-state", "sending")
        expect(lines.nth(1)).to_contain_text("Receives nothing · nothing receives at 127.0.0.1")
        expect(page.locator(".lights .note")).to_have_text("40 ms ahead of the sound")
        page.get_by_role("button", name=f"Remove {bad}").click()
        expect(lines).to_have_count(1)
        until(lambda: running.client.status()["lights_outputs"] == 1)
        page.get_by_role("button", name=f"Remove {good}").click()
        expect(page.locator(".lights")).to_be_hidden()
