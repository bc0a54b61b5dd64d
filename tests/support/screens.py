"""The windows that the page is tried in, and what is measured of its layout there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Browser, Page

from tests.support.chromium import WAIT_MS
from tests.support.environment import PROJECT
from tests.support.server import Running

MEASURE = (PROJECT / "tests" / "support" / "pages" / "measure.js").read_text(encoding="utf-8")
VIEWS = ("A", "B", "mixer", "library", "buses", "dj", "health")
PANELS = ("library", "buses", "dj", "health")


@dataclass(frozen=True)
class Screen:
    """A window: its size in CSS pixels, device pixels for each, and whether fingers touch it."""

    width: int
    height: int
    scale: int = 1
    touch: bool = False

    @property
    def small(self) -> bool:
        """Whether one view at a time is shown; see `style/layout.css`."""
        return self.width < 700 or (self.height < 500 and self.width < 1180)


SCREENS = {
    "1600x900": Screen(1600, 900),
    "1280x800": Screen(1280, 800),
    "1024x768": Screen(1024, 768),
    "768x1024 by touch": Screen(768, 1024, touch=True),
    "390x844": Screen(390, 844, touch=True),
    "360x740": Screen(360, 740, touch=True),
    "320x568": Screen(320, 568, touch=True),
    "844x390": Screen(844, 390, touch=True),
    "667x320": Screen(667, 320, touch=True),
    "1600x900 at 200 %": Screen(800, 450, scale=2),
    "1024x768 at 200 %": Screen(512, 384, scale=2),
}


@contextmanager
def page_on(
    browser: Browser, running: Running, screen: Screen, **options: Any
) -> Iterator[Page]:
    """The page in such a window, connected and drawn, with `measure` in it."""
    context = browser.new_context(
        viewport={"width": screen.width, "height": screen.height},
        device_scale_factor=screen.scale, has_touch=screen.touch, is_mobile=screen.touch, **options,
    )  # fmt: skip
    context.set_default_timeout(WAIT_MS)
    errors: list[str] = []
    try:
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(running.page())
        page.wait_for_selector("body[data-link=open] .deck[data-state]", state="attached")
        page.wait_for_selector(".listen-button-slot .listen-button", state="attached")
        page.evaluate(f"(() => {{ {MEASURE} }})()")
        yield page
    finally:
        context.close()
    assert not errors


def views_of(page: Page, screen: Screen) -> Iterator[str]:
    """Show one view after another, as they are on such a screen; their names."""
    if screen.small:
        for view in VIEWS:
            page.locator(f".view[data-view={view}]").evaluate("one => one.click()")
            yield view
        return
    yield "decks"
    for panel in PANELS:
        page.locator(f"#dock [data-tab={panel}]").evaluate("one => one.click()")
        yield panel
    page.locator(".dock-fold").evaluate("one => one.click()")


def measured(page: Page, what: str) -> Any:
    """The value of an expression over `measure`."""
    return page.evaluate(f"measure.{what}")
