"""The broadcasts on the page: shown while there are any, with their states and a button to stop."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.page_server import music_server, ready_page
from tests.support.server import Running


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with music_server(tmp_path_factory.mktemp("broadcasts")) as running:
        yield running


@pytest.fixture
def page(browser: Browser, music: Running) -> Iterator[Page]:
    with ready_page(browser, music) as made:
        made.click("#dock [data-tab=health]")
        yield made


def test_broadcasts_appear_change_and_stop(page: Page, music: Running) -> None:
    row = page.locator(".broadcasts li")
    expect(row).to_have_count(0)
    with socket.create_server(("127.0.0.1", 0)) as receiver:
        place = f"snapcast://127.0.0.1:{receiver.getsockname()[1]}"
        music.client.request("/broadcast/start", place, answer="/done")
        expect(row).to_have_attribute("data-state", "live")
        expect(row).to_contain_text(place)
        expect(page.locator(".broadcast-state")).to_have_text("Live")
    other = "icecast://source:geheim@127.0.0.1:1/live.mp3"
    music.client.request("/broadcast/start", other, answer="/done")
    expect(row).to_have_count(2)
    expect(row.nth(1)).to_contain_text("Connection refused")
    assert "geheim" not in page.content()
    page.click("[data-action=broadcast-stop-2]")
    expect(row).to_have_count(1)
    music.client.request("/broadcast/stop", answer="/done")
    expect(row).to_have_count(0)
    expect(page.get_by_role("heading", name="Broadcasts")).to_be_hidden()
