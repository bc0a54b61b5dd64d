"""The start card, the analysis of a track, and the tempo in the header."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.chromium import PHONE
from tests.support.page_server import PAGE_SERVER, live, make_media, ready_page
from tests.support.server import Running, server, until

CARD = "#start"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stage")


@pytest.fixture(scope="module")
def stage(folder: Path) -> Iterator[Running]:
    media = make_media(folder / "media")
    (media / "Night" / "crowdstream.toml").write_text("[grid]\nbpm = 124.0\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        with server(folder, *PAGE_SERVER, "--media-root", str(media)) as running:
            yield running


@pytest.fixture(scope="module")
def page(browser: Browser, stage: Running) -> Iterator[Page]:
    with ready_page(browser, stage) as made:
        yield made


def bpm(page: Page) -> float:
    """The tempo that the header shows."""
    return float(page.locator(".clock-bpm").inner_text())


def test_the_card_offers_tracks_and_one_click_plays_one(page: Page) -> None:
    card = page.get_by_role("region", name="Nothing is playing yet")
    expect(card).to_be_visible()
    expect(card).to_contain_text("Listen")
    expect(card.locator("code")).to_have_text("./start-crowdstream.sh --dj FOLDER")
    card.get_by_role("button", name="Play Night on deck A").click()
    expect(page.locator(".deck[data-deck=A]")).to_have_attribute("data-state", "playing")
    expect(page.locator(CARD)).to_be_hidden()


def test_the_header_shows_the_tempo_of_the_leading_deck(page: Page, stage: Running) -> None:
    # The clock runs at 120 BPM, and the track at its own 124, like the demo's tracks.
    expect(page.locator(".clock-target")).to_have_text("deck A")
    until(lambda: bpm(page) == 124.0)
    assert "120.0" in (page.locator(".clock-now").get_attribute("title") or "")
    stage.client.send("/deck/A/rate", 1.05)
    until(lambda: bpm(page) == 130.2)
    stage.client.send("/deck/A/rate", 1.0)
    # A louder deck takes the lead; a synced deck has the clock's tempo.
    night = live(page, "live.get('deck.A').path")
    stage.client.request("/deck/B/load", night, answer="/done", seconds=60)
    stage.client.send("/deck/B/rate", 0.9)
    stage.client.send("/deck/B/play", 0.0, 1)
    stage.client.send("/deck/A/level", 0.3)
    until(lambda: bpm(page) == 111.6)
    expect(page.locator(".clock-target")).to_have_text("deck B")
    stage.client.send("/deck/B/level", 0.0)
    until(lambda: bpm(page) == 124.0)
    stage.client.send("/deck/A/sync", 1)
    until(lambda: bpm(page) == 120.0)
    expect(page.locator(".clock-target")).to_have_text("BPM")
    stage.client.send("/deck/A/sync", 0)
    for letter in "AB":
        stage.client.request(f"/deck/{letter}/unload", answer="/done")
    until(lambda: bpm(page) == 120.0)
    expect(page.locator(".clock-target")).to_have_text("BPM")


def test_the_start_card_returns_and_can_be_closed(page: Page) -> None:
    expect(page.locator(CARD)).to_be_visible()
    page.click("[data-action=start-library]")
    expect(page.locator(".panel-library")).to_be_visible()
    expect(page.locator(CARD)).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.locator(CARD)).to_be_visible()
    page.click("[data-action=start-close]")
    expect(page.locator(CARD)).to_be_hidden()
    page.reload()
    page.wait_for_selector("body[data-link=open] .deck[data-state=empty]")
    expect(page.locator(CARD)).to_be_hidden()


def test_a_track_is_analysed_from_the_library(page: Page, folder: Path) -> None:
    page.click("#dock [data-tab=library]")
    rows = ".row:has(.first:text-is('<img src=x onerror=alert(1)>.wav'))"
    page.locator(rows).click()
    page.click("[data-action=analyse]")
    page.click("#dock [data-tab=dj]")
    card = page.locator(".card.analysis")
    expect(card).to_be_visible()
    expect(card.locator(".analysis-text")).to_have_text(re.compile(r"onerror.* is analysed$"))
    assert (folder / "data" / "crowdstream" / "library.db").exists()
    # A path outside the media folders is refused.
    status = page.evaluate(
        "async () => (await fetch('/library/analyse', { method: 'POST',"
        " body: JSON.stringify({ path: '0/..' }),"
        " headers: { 'Content-Type': 'application/json' } })).status"
    )
    assert status == 404


def test_a_failure_of_the_analysis_is_shown(page: Page, folder: Path) -> None:
    (folder / "media" / "noise.wav").write_bytes(b"RIFF" + bytes(100))
    page.click("#dock [data-tab=library]")
    page.click(".crumb >> nth=0")
    page.locator(".row", has_text="noise.wav").click()
    page.click("[data-action=analyse]")
    page.click("#dock [data-tab=dj]")
    text = page.locator(".analysis-text")
    expect(text).to_contain_text("The analysis of noise.wav is incomplete")


def test_the_djs_analysis_progress_is_shown(page: Page, stage: Running) -> None:
    client = stage.client
    client.request("/dj/register", "begin", answer="/done")
    client.send("/dj/state", 1, 1, '{"analysis": {"tracks": 40, "done": 12, "share": 0.31,'
                ' "name": "Night", "bad": 1}}')  # fmt: skip
    text = page.locator(".analysis-text")
    expect(text).to_have_text("12 of 40 tracks, 31 %; 1 failed")
    expect(page.locator(".card.analysis .dj-name")).to_have_text("Night")
    assert page.locator(".analysis progress").get_attribute("value") == "0.31"
    client.send("/dj/register", "end")


def test_without_music_the_card_has_commands_to_copy(browser: Browser, tmp_path: Path) -> None:
    start = "./start-crowdstream.sh"
    with (
        server(tmp_path, *PAGE_SERVER) as running,
        ready_page(browser, running, PHONE) as phone,
    ):
        expect(phone.locator(CARD)).to_be_visible()
        expect(phone.locator(".start code")).to_have_text(
            [f"{start} --media-root ~/Music", f"{start} --dj ~/Music", f"{start} --demo"]
        )
        phone.context.grant_permissions(["clipboard-read", "clipboard-write"])
        phone.get_by_role("button", name=f"Copy {start} --demo").click()
        copied = "navigator.clipboard.readText()"
        until(lambda: phone.evaluate(copied) == f"{start} --demo")
        assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
