"""The fleet's page in a window of any width: its values, a command, and what fits."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.chromium import PHONE, WIDE
from tests.support.environment import PROJECT, child_environment
from tests.support.fake_member import FakeMember, fake_members
from tests.support.server import until

HOURS = 7200.0
LONG = "A title that is longer than any window is wide, by an artist with several names " * 2
NARROWER = "[...document.querySelectorAll('main, table, section, li')].filter((one) =>" \
    " one.scrollWidth > one.clientWidth + 1 || one.getBoundingClientRect().right > innerWidth)" \
    ".map((one) => one.outerHTML.slice(0, 100))"  # fmt: skip


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[FakeMember], str]]:
    """Three servers, the second with a wrong clock, and the address of the fleet's page."""
    ready, end = threading.Event(), asyncio.Event()
    fakes: list[FakeMember] = []
    loop = asyncio.new_event_loop()

    async def members() -> None:
        async with fake_members(0.0, -HOURS, 0.0) as made:
            fakes.extend(made)
            ready.set()
            await end.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(members(),))
    thread.start()
    ready.wait()
    fakes[2].status.update({
        "deck.B.state": "playing", "deck.B.track": LONG, "deck.B.position": 1.0,
        "deck.B.length": 300.0,
    })  # fmt: skip
    places = [word for name, fake in zip(("main", "bar", "a-server-with-a-long-name"), fakes,
                                         strict=True)
              for word in ("--server", f"{name}=127.0.0.1:{fake.port}")]  # fmt: skip
    log = Path(tmp_path_factory.mktemp("fleet")) / "log"
    with log.open("wb") as file, subprocess.Popen(
        [sys.executable, "-P", "-m", "crowdstream", "fleet", *places, "--http", "0"],
        stdout=file, stderr=subprocess.STDOUT, env=child_environment(), cwd=PROJECT,
    ) as process:  # fmt: skip
        try:
            until(lambda: "page on" in log.read_text() or process.poll() is not None)
            found = re.search(r"page on (\S+)", log.read_text())
            assert found, log.read_text()
            yield fakes, found[1]
        finally:
            process.terminate()
            loop.call_soon_threadsafe(end.set)
            thread.join()
            loop.close()


@pytest.fixture(params=["wide", "phone"])
def page(
    request: pytest.FixtureRequest, browser: Browser, fleet: tuple[list[FakeMember], str]
) -> Iterator[Page]:
    """The page with all servers."""
    size = {"wide": WIDE, "phone": PHONE}[request.param]
    made = browser.new_page(viewport=size)  # type: ignore[arg-type]
    made.goto(fleet[1])
    expect(made.locator("#summary")).to_have_text("3 of 3 servers answer")
    yield made
    made.close()


def test_everything_fits_and_is_shown(page: Page) -> None:
    row = page.locator("#servers tr").nth(1)
    expect(row.locator("[data-label=health]")).to_have_text("its clock is 2.0 hours behind")
    expect(row.locator("[data-label=clock]")).to_have_text("-2.0 hours")
    tracks = page.locator("#servers tr").nth(2).locator("[data-label=tracks] div")
    expect(tracks).to_have_count(2)
    expect(tracks.nth(1)).to_contain_text(LONG.strip())
    expect(page.locator("[data-label=load]").first).to_have_text("12 %")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(NARROWER) == []


def test_a_command_is_sent_to_one_server(
    page: Page, fleet: tuple[list[FakeMember], str]
) -> None:
    before = [len(fake.received) for fake in fleet[0]]
    page.select_option("#target", "bar")
    page.fill("#words", "/deck/A/level 0.5")
    page.uncheck("#together")
    page.click("#send")
    expect(page.locator("#outcomes li")).to_have_text("bar: done")
    assert [len(fake.received) for fake in fleet[0]] == [before[0], before[1] + 1, before[2]]
    assert fleet[0][1].received[-1] == (None, "/deck/A/level", (0.5,))
