"""The live inputs on the page: a strip for each configured input, in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.fake_portaudio import Device
from tests.support.live_portaudio import install, plug
from tests.support.page_server import music_server, ready_page
from tests.support.server import Running, until

CARD = Device("HDA Intel: ALC (hw:0,0)", default=True)
MICROPHONE = Device("USB Microphone: Audio (hw:1,0)", ch=0, inputs=1)


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    return install(tmp_path_factory.mktemp("cards"), (CARD, MICROPHONE))


@pytest.fixture(scope="module")
def music(
    tmp_path_factory: pytest.TempPathFactory, cards: tuple[Path, dict[str, str]]
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("inputs")
    with music_server(folder, "--input", "Microphone", env=cards[1]) as running:
        until(lambda: running.client.status()["input.1.state"] == "playing")
        yield running


@pytest.fixture
def page(browser: Browser, music: Running) -> Iterator[Page]:
    with ready_page(browser, music) as made:
        made.click("#dock [data-tab=buses]")
        yield made


def test_an_input_has_a_strip_with_a_meter(page: Page, music: Running) -> None:
    card = page.locator(".input")
    expect(card).to_have_count(1)
    expect(card).to_have_attribute("data-state", "playing")
    expect(card.locator(".input-state")).to_contain_text("USB Microphone")
    # Not `wait_for_function`, which the page's policy forbids where it has to wait.
    meter = "document.querySelector('.input .meter-fill').style.getPropertyValue('--level')"
    until(lambda: page.evaluate(f"Number({meter})") > 0.5)  # -12 dB


def test_the_strip_follows_the_server_and_the_server_the_strip(page: Page, music: Running) -> None:
    status = music.client.status
    mute = page.locator("[data-action=input-mute-1]")
    mute.click()
    expect(mute).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".input-state")).to_contain_text("Muted")
    assert status()["input.1.state"] == "muted"
    music.client.send("/input/1/mute", 0)
    expect(mute).to_have_attribute("aria-pressed", "false")
    level = page.get_by_role("slider", name="Input 1: level")
    level.press("Home")
    expect(level).to_have_attribute("aria-valuetext", "−∞ dB")
    music.client.send("/input/1/level", 1.0)
    expect(level).to_have_attribute("aria-valuetext", "0.0 dB")
    page.locator("[data-action=input-talk-1]").click()
    expect(page.locator(".input-state")).to_contain_text("ducks the music")
    assert status()["input.1.talking"] == 1
    music.client.send("/input/1/talkover", 0)
    expect(page.locator(".input-state")).not_to_contain_text("ducks the music")


def test_an_input_without_its_device_says_so(
    page: Page, music: Running, cards: tuple[Path, dict[str, str]]
) -> None:
    card = page.locator(".input")
    plug(cards[0], (CARD,))
    expect(card).to_have_attribute("data-state", "searching", timeout=20_000)
    expect(card.locator(".input-state")).to_contain_text("No device")
    plug(cards[0], (CARD, MICROPHONE))
    expect(card).to_have_attribute("data-state", "playing", timeout=20_000)


def test_without_inputs_there_is_no_strip(browser: Browser, tmp_path: Path) -> None:
    with music_server(tmp_path) as running, ready_page(browser, running) as page:
        page.click("#dock [data-tab=buses]")
        expect(page.get_by_role("heading", name="Master FX", exact=True)).to_be_visible()
        expect(page.locator(".inputs")).to_be_hidden()
