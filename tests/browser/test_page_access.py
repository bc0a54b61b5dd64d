"""Accessibility: names, landmarks, contrast, keyboard, small screens, small downloads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from crowdstream.web.app import PAGE
from tests.support.chromium import PHONE, WIDE, box_of
from tests.support.page_server import live, load, music_server, ready_page
from tests.support.server import Running, until

VIEWS = ("A", "D", "mixer", "library", "buses", "pads", "health")
MAX_BYTES = 350_000
MAX_OWN_BYTES = 240_000  # without what is loaded when it is used
TEXT, LARGE = 4.5, 3.0  # contrast, WCAG 2.2 AA

# Pairs of text and background, by the names of the page's colours.
PAIRS = [
    *((text, ground, TEXT) for text in ("text", "text-2", "text-3", "bad", "warn")
      for ground in ("ground", "surface-1", "surface-2")),
    *((text, "surface-3", TEXT) for text in ("text", "text-2")),
    *((f"deck-{deck}", ground, TEXT) for deck in "ABCD" for ground in ("surface-1", "surface-3")),
    *(("on-colour", f"deck-{deck}", TEXT) for deck in "ABCD"),
    *(("on-colour", ground, TEXT) for ground in ("accent", "good", "warn", "bad", "text")),
    *((f"stem-{stem}", ground, LARGE) for stem in range(1, 9)
      for ground in ("ground", "surface-1", "surface-3")),
    *(("edge", ground, LARGE) for ground in ("ground", "surface-1", "surface-3")),
]  # fmt: skip

NAMELESS = """() => [...document.querySelectorAll(
  'button, select, input, summary, [role=slider], [role=tab], [role=listbox], [role=img], dialog')]
  .filter((one) => {
    const named = (one.getAttribute('aria-labelledby') || '').split(' ')
      .map((id) => document.getElementById(id)?.textContent || '').join('');
    const around = one.labels?.[0]?.textContent || '';
    const label = one.getAttribute('aria-label') || named || around || one.textContent;
    return !label.trim();
  }).map((one) => one.outerHTML.slice(0, 200))"""

SAME_NAMES = """() => {
  const seen = new Map();
  const named = '[role=slider], select[aria-label], button[aria-label]';
  for (const one of document.querySelectorAll(named)) {
    const name = one.tagName + one.getAttribute('aria-label');
    seen.set(name, (seen.get(name) || 0) + 1);
  }
  return [...seen].filter(([, count]) => count > 1).map(([name]) => name);
}"""


TOO_WIDE = """() => [...document.querySelectorAll('body *')].filter((one) => {
  const box = one.getBoundingClientRect();
  return box.width && one.checkVisibility() && (box.right > innerWidth + 1 || box.left < -1)
    && !one.closest('.sr, .crumbs, .knob-readout, .skip');
}).map((one) => one.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("stage")
    with music_server(folder) as running:
        load(running, folder / "media" / "Night")
        running.client.send("/deck/A/fx/insert", 1, "echo")
        yield running


@pytest.fixture(scope="module")
def opened(browser: Browser, stage: Running) -> Iterator[Page]:
    """The page, in a window of any size."""
    with ready_page(browser, stage) as made:
        yield made


@pytest.fixture
def wide(opened: Page) -> Page:
    resize(opened, WIDE)
    return opened


@pytest.fixture
def phone(opened: Page) -> Page:
    resize(opened, PHONE)
    return opened


def resize(page: Page, size: dict[str, int]) -> None:
    """Resize the window and wait for the layout."""
    if page.viewport_size != size:
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.evaluate(
            "() => new Promise((done) =>"
            " { requestAnimationFrame(() => requestAnimationFrame(done)); })"
        )


def test_the_page_is_small_and_loads_nothing_from_other_hosts(wide: Page, stage: Running) -> None:
    later = {
        "waveform", "listen", "inputs", "broadcast", "ableton", "lights", "midi", "rooms",
        "waiting",
    }  # fmt: skip
    own = sum(
        path.stat().st_size for path in PAGE.rglob("*")
        if path.is_file() and not later & set(path.relative_to(PAGE).parts)
    )  # fmt: skip
    assert own < MAX_OWN_BYTES
    wide.wait_for_selector(".listen-button-slot .listen-button")
    sizes = wide.evaluate(
        "Object.fromEntries(['navigation', 'resource'].flatMap((kind) =>"
        " performance.getEntriesByType(kind).map((one) => [one.name, one.decodedBodySize])))"
    )
    assert all(url.startswith(stage.page()) for url in sizes)
    loaded = {url: size for url, size in sizes.items() if "/waves" not in url}
    assert not [url for url in loaded if "/rooms/" in url], "loaded when it is used"
    assert len(loaded) > 30 and sum(loaded.values()) < MAX_BYTES


def test_every_control_has_a_unique_name(wide: Page) -> None:
    wide.click(".deck[data-deck=A] [data-tab=effects]")
    assert wide.evaluate(NAMELESS) == []
    assert wide.evaluate(SAME_NAMES) == []
    wide.click(".deck[data-deck=A] [data-tab=stems]")
    sliders = wide.evaluate(
        "() => [...document.querySelectorAll('.knob, .fader')].map((one) =>"
        " ['text', 'now', 'min', 'max'].map((end) => one.getAttribute(`aria-value${end}`)))"
    )
    assert len(sliders) > 55
    for text, now, low, high in sliders:
        assert text and now and float(low) < float(high)


def test_landmarks_headings_and_polite_announcements(wide: Page) -> None:
    for role in ("banner", "main", "navigation"):
        assert wide.get_by_role(role, include_hidden=True).count() >= 1
    assert wide.locator("h1").inner_text() == "CrowdStream"
    for letter in "ABCD":
        assert wide.get_by_role("region", name=f"Deck {letter}", exact=True).count() == 1
    assert wide.locator("#spoken").get_attribute("aria-live") == "polite"
    assert wide.locator("html").get_attribute("lang") == "en"
    wide.evaluate("""() => {
      const spoken = document.getElementById('spoken');
      window.said = [];
      new MutationObserver(() => window.said.push(spoken.textContent))
        .observe(spoken, {childList: true, characterData: true, subtree: true});
    }""")
    # Regular reports are not announced; an underrun of a busy machine may be.
    now = live(wide, "live.now.t")
    until(lambda: live(wide, "live.now.t") > now + 0.5)
    assert [text for text in wide.evaluate("window.said") if "underrun" not in text] == []


def test_tab_reaches_controls_with_a_visible_focus(wide: Page) -> None:
    wide.locator(".deck[data-deck=A] [data-action=cue]").focus()
    seen = []
    for _ in range(12):
        wide.keyboard.press("Tab")
        seen.append(wide.evaluate("document.activeElement.getAttribute('aria-label')"))
        outline = wide.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
    assert {"Deck A play", "Deck A sync", "Deck A loop in"} <= set(seen)


def test_help_lists_the_shortcuts_and_closes(wide: Page) -> None:
    wide.keyboard.press("?")
    dialog = wide.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_be_visible()
    expect(dialog).to_contain_text("play/pause")
    wide.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_tabs_move_with_arrows(wide: Page) -> None:
    wide.locator("#dock [data-tab=library]").focus()
    wide.keyboard.press("ArrowRight")
    expect(wide.locator("#dock [data-tab=buses]")).to_have_attribute("aria-selected", "true")
    wide.keyboard.press("h")
    expect(wide.locator("#dock [data-tab=health]")).to_have_attribute("aria-selected", "true")
    expect(wide.locator(".panel-health")).to_contain_text("Underruns")
    expect(wide.locator(".processes")).to_contain_text("engine")
    wide.keyboard.press("Escape")
    expect(wide.locator(".panel-health")).to_be_hidden()


def test_wide_shows_all_decks_at_once(wide: Page) -> None:
    for letter in "ABCD":
        expect(wide.locator(f".deck[data-deck={letter}] [data-action=play]")).to_be_in_viewport()
        expect(wide.locator(f".strip[data-deck={letter}] .fader")).to_be_in_viewport()
    expect(wide.locator(".crossfader")).to_be_in_viewport()
    assert wide.evaluate("document.documentElement.scrollHeight") <= 900


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_wider_than_a_phone(phone: Page, view: str) -> None:
    phone.click(f".view[data-view={view}]")
    phone.click(".clock-more summary")
    assert phone.evaluate(TOO_WIDE) == []
    phone.click(".listen-more summary")
    assert phone.evaluate(TOO_WIDE) == []
    assert phone.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    phone.click(".listen-more summary")


def test_stream_notices_fit_a_phone(phone: Page) -> None:
    phone.evaluate("""() => {
      const always = new CSSStyleSheet();
      always.replaceSync('.listen-note { display: block !important; }');
      document.adoptedStyleSheets = [always];
      for (const note of document.querySelectorAll('.listen-note'))
        note.textContent = 'slow connection: lower bit rate';
    }""")
    assert phone.evaluate(TOO_WIDE) == []
    phone.click(".listen-more summary")
    assert phone.evaluate(TOO_WIDE) == []
    phone.click(".listen-more summary")
    phone.evaluate("() => { document.adoptedStyleSheets = []; }")


def test_controls_are_large_enough_on_a_phone(phone: Page) -> None:
    phone.click(".view[data-view=A]")
    for action in ("cue", "play", "sync", "loop", "hotcue-1", "mute-1", "solo-1", "jump-ahead"):
        box = box_of(phone.locator(f".deck[data-deck=A] [data-action={action}]"))
        assert box["height"] >= 44 and box["width"] >= 44, (action, box)
    # The transport stays visible at any scroll position.
    phone.evaluate("scrollTo(0, 1e6)")
    play = box_of(phone.locator(".deck[data-deck=A] [data-action=play]"))
    assert 0 < play["y"] < PHONE["height"] - play["height"]
    for view in phone.locator(".view").all():
        assert box_of(view)["height"] >= 44


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb`, as WCAG 2.2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_contrast_of_the_colours() -> None:
    css = (PAGE / "style" / "tokens.css").read_text()
    colours = dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})\b", css))
    poor = []
    for front, back, least in PAIRS:
        bright, dark = sorted((luminance(colours[front]), luminance(colours[back])), reverse=True)
        ratio = (bright + 0.05) / (dark + 0.05)
        if ratio < least:
            poor.append((front, back, round(ratio, 2)))
    assert poor == []


def test_files_stay_small_and_build_no_markup_from_text() -> None:
    for path in PAGE.rglob("*.js"):
        text = path.read_text()
        assert len(text.splitlines()) <= 400, path
        for bad in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert bad not in text, (path, bad)
    page = (PAGE / "index.html").read_text()
    assert " style=" not in page and " onclick=" not in page
    assert all(Path(PAGE / name.removeprefix("/page/")).is_file()
               for name in re.findall(r'(?:href|src)="(/page/[^"]+)"', page))  # fmt: skip
