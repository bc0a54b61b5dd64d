"""The window sizes in which the page is tested, and measurements of its layout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Self

from playwright.sync_api import Browser, Page

from tests.support.chromium import new_context
from tests.support.environment import PROJECT
from tests.support.server import Running

MEASURE = (PROJECT / "tests" / "support" / "pages" / "measure.js").read_text(encoding="utf-8")
VIEWS = ("A", "B", "mixer", "library", "buses", "pads", "dj", "health")
PANELS = ("library", "buses", "pads", "dj", "health")


@dataclass(frozen=True)
class Screen:
    """A window: size in CSS pixels, device pixels per CSS pixel, and whether it has touch input."""

    width: int
    height: int
    scale: int = 1
    touch: bool = False

    @property
    def small(self) -> bool:
        """Whether only one view is shown at a time; see `style/layout.css`."""
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


# Elements that show that a panel is filled: the server sends their data once the panel is open.
FILLED = {"library": ".panel-library .row", "health": ".processes tbody tr"}
MIN_TARGET = 24  # CSS pixels, WCAG 2.2 AA (2.5.8)


@contextmanager
def page_on(
    browser: Browser, running: Running, screen: Screen, **options: Any
) -> Iterator[Page]:
    """Open the page in such a window, connected and drawn, with `measure` loaded."""
    context = new_context(
        browser, viewport={"width": screen.width, "height": screen.height},
        device_scale_factor=screen.scale, has_touch=screen.touch, is_mobile=screen.touch, **options,
    )  # fmt: skip
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


class Pages:
    """A page that is resized to one window size after another. A context manager.

    Loading a page takes longer than measuring it, so it is reloaded only for another kind of
    display. A resized page must have the same layout as a newly opened one.
    """

    def __init__(self, browser: Browser, running: Running) -> None:
        self._browser = browser
        self._running = running
        self._open = ExitStack()
        self._kind: tuple[int, bool] | None = None
        self._page: Page

    def show(self, screen: Screen, fresh: bool = False) -> Page:
        """Return the page in that window; `fresh`: always reload it."""
        if fresh or self._kind != (screen.scale, screen.touch):
            self._open.close()
            made = page_on(self._browser, self._running, screen)
            self._page = self._open.enter_context(made)
            self._kind = screen.scale, screen.touch
        size = {"width": screen.width, "height": screen.height}
        self._page.set_viewport_size(size)  # type: ignore[arg-type]
        measured(self._page, "resized()")
        assert self._page.evaluate("[innerWidth, innerHeight]") == list(size.values())
        return self._page

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._open.close()


def views_of(page: Page, screen: Screen) -> Iterator[str]:
    """Show the views of such a screen in sequence, each filled; yield their names."""
    if screen.small:
        for view in VIEWS:
            click(page, f".view[data-view={view}]")
            _await_filled(page, view)
            yield view
        return
    yield "decks"
    for panel in PANELS:
        click(page, f"#dock [data-tab={panel}]")
        _await_filled(page, panel)
        yield panel
    click(page, ".dock-fold")


def _await_filled(page: Page, view: str) -> None:
    if view in FILLED:
        page.locator(FILLED[view]).first.wait_for(state="attached")


def click(page: Page, selector: str) -> None:
    """Click by script, wherever the page is scrolled to."""
    page.locator(selector).evaluate("one => one.click()")


def measured(page: Page, what: str) -> Any:
    """Return the value of an expression of `measure`."""
    return page.evaluate(f"measure.{what}")


def layout(page: Page) -> dict[str, Any]:
    """Return the number of visible `controls`, the page's `width`, and the layout's `faults`."""
    found: dict[str, Any] = measured(page, f"layout({MIN_TARGET})")
    return found
