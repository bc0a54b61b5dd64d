"""The broadcasts on the page: their states, a button to stop each, and a field to start one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.page_server import PAGE_SERVER, live, music_server, ready_page
from tests.support.server import Running, server


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
    expect(page.locator(".broadcasts")).to_be_hidden()


def test_a_broadcast_is_started_from_the_page(page: Page, music: Running) -> None:
    page.click("[data-action=broadcast]")
    url = page.get_by_label("Target of the broadcast")
    expect(url).to_be_focused()
    url.fill("http://source:geheim@radio/live")
    url.press("Enter")
    expect(page.locator("#spoken")).to_contain_text("must begin with icecast://")
    assert "geheim" not in page.content()
    with socket.create_server(("127.0.0.1", 0)) as receiver:
        place = f"snapcast://127.0.0.1:{receiver.getsockname()[1]}"
        url.fill(place)
        page.click("[data-action=broadcast-start]")
        expect(page.locator(".broadcasts li")).to_have_attribute("data-state", "live")
        expect(url).to_have_value("")
        page.click("[data-action=broadcast-stop-1]")
        expect(page.locator(".broadcasts li")).to_have_count(0)
    assert music.client.status()["broadcasts"] == 0


def test_a_view_only_page_cannot_start_or_stop_a_broadcast(
    browser: Browser, tmp_path: Path
) -> None:
    with (
        server(tmp_path, *PAGE_SERVER, "--http-token", "a-token-of-this-test") as running,
        ready_page(browser, running) as made,
    ):
        made.click("#dock [data-tab=health]")
        expect(made.locator("[data-action=broadcast]")).to_have_attribute("aria-disabled", "true")
        running.client.request("/broadcast/start", "pipe:/tmp/none", answer="/done")
        expect(made.locator(".broadcasts li")).to_have_count(1)
        for action in ("broadcast-stop-1", "broadcast-start"):
            control = made.locator(f"[data-action={action}]")
            expect(control).to_have_attribute("aria-disabled", "true")
            control.click(force=True)
        forced = "(live.hello.write = true, live.do('/broadcast/stop').catch((e) => e.message))"
        assert live(made, f"await {forced}") == "the token is required to change anything"
        assert running.client.status()["broadcasts"] == 1
