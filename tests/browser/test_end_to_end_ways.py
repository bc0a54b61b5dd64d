"""Operation by keyboard, by touch, and after a restart of the server."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, expect

from tests.support.chromium import PHONE, WAIT_MS, WIDE, open_page
from tests.support.page_server import ready_page
from tests.support.server import Running, until
from tests.support.stem_music import TONES, MasterCapture, deck, make_media, tone_server

ALL = tuple(TONES.values())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("ways")
    make_media(made / "media", 1)
    return made


@pytest.fixture(scope="module")
def stage(folder: Path) -> Iterator[Running]:
    with tone_server(folder, folder / "media") as running:
        yield running


@pytest.fixture(scope="module")
def capture(stage: Running) -> Iterator[MasterCapture]:
    with MasterCapture(stage.page()) as made:
        yield made


def test_keyboard_only_operation(browser: Browser, stage: Running, capture: MasterCapture) -> None:
    with ready_page(browser, stage, WIDE) as page:
        keys = page.keyboard
        keys.press("/")
        keys.type("Tones")
        expect(page.locator(".library .row")).to_have_count(1)
        while page.evaluate("document.activeElement.getAttribute('role')") != "listbox":
            keys.press("Tab")
        keys.press("b")
        expect(page.locator(".deck[data-deck=B]")).to_have_attribute("data-state", "ready")
        keys.press("Escape")
        # Leave elements that take text.
        page.evaluate("document.activeElement.blur()")
        keys.press("w")
        capture.wait_for_tones(*ALL)
        page.locator(".deck[data-deck=B] .waveform-overview").focus()
        keys.press("PageUp")  # sixteen seconds, without a beat grid
        until(lambda: float(stage.client.status()["deck.B.position"]) > 16.0)
        keys.press("Home")
        until(lambda: float(stage.client.status()["deck.B.position"]) < 16.0)
        page.get_by_role("slider", name="Deck B level").press("Home")
        capture.wait_for_tones()
        page.get_by_role("slider", name="Deck B level").press("Delete")
        capture.wait_for_tones(*ALL)
        page.evaluate("document.activeElement.blur()")
        keys.press("s")
        capture.wait_for_tones()
    stage.client.send("/deck/B/unload")


def test_touch_only_operation_on_a_phone(
    browser: Browser, stage: Running, capture: MasterCapture
) -> None:
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True)  # type: ignore[arg-type]
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    page.goto(stage.page())
    page.tap(".view[data-view=library]")
    page.locator(".library .row", has_text="Tones").tap()
    page.tap("[data-action=load-D]")
    expect(page.locator(".deck[data-deck=D]")).to_have_attribute("data-state", "ready")
    page.tap(".view[data-view=D]")
    page.tap(".deck[data-deck=D] [data-action=play]")
    capture.wait_for_tones(*ALL)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.tap(".deck[data-deck=D] [data-action=mute-1]")
    muted = deck(page, "D")["stems"][0]["name"]
    capture.wait_for_tones(*(hertz for name, hertz in TONES.items() if name != muted))
    page.tap(".deck[data-deck=D] [data-action=play]")
    capture.wait_for_tones()
    context.close()
    stage.client.send("/deck/D/unload")


def test_a_page_reconnects_to_a_restarted_server(browser: Browser, folder: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    media = folder / "media"
    with tone_server(folder, media, "--http-port", port) as running:
        opened = open_page(browser, running.page())
        page = opened.__enter__()
        try:
            expect(page.locator("body")).to_have_attribute("data-link", "open")
            running.client.request("/deck/A/load", str(media / "Tones"), answer="/done")
            running.client.send("/deck/A/level", 0.25)
            expect(page.locator(".deck[data-deck=A]")).to_have_attribute("data-state", "ready")
            family = [*running.children(), psutil.Process(running.process.pid)]
            for one in reversed(family):
                one.send_signal(signal.SIGKILL)
            running.process.wait()
            expect(page.locator("#banner")).to_contain_text("No connection")
            expect(page.locator("body")).to_have_attribute("data-link", "lost")
            with tone_server(folder, media, "--http-port", port) as again:
                assert again.page() == f"http://127.0.0.1:{port}"
                expect(page.locator("body")).to_have_attribute("data-link", "open")
                expect(page.locator("#banner")).to_be_hidden()
                expect(page.locator(".deck[data-deck=A]")).to_have_attribute("data-state", "empty")
                level = page.get_by_role("slider", name="Deck A level")
                expect(level).to_have_attribute("aria-valuenow", "1")
                level.press("Home")
                until(lambda: again.client.status()["deck.A.level"] == 0.0)
        finally:
            opened.__exit__()
