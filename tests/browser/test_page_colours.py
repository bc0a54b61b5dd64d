"""What is written stands out, and what is on can be told: in every state, and in forced colours."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from matplotlib import image
from playwright.sync_api import Browser, Page, expect

from tests.support.page_server import deck_is, load, music_server
from tests.support.screens import SCREENS, measured, page_on, views_of
from tests.support.server import Running

POINTER = {
    "at rest": [], "under the pointer": ["hover"], "pressed": ["hover", "active"],
    "focused": ["focus", "focus-visible"],
}  # fmt: skip
TOUCHED = (
    ".button, select, input:not([type=range]), .tab, .view, .crumb, .col-head, summary, .fx-choose"
)
THEMES: dict[str, dict[str, str]] = {
    "dark": {},
    "light preferred": {"color_scheme": "light"},
    "more contrast": {"contrast": "more"},
    "forced, dark": {"forced_colors": "active", "color_scheme": "dark"},
    "forced, light": {"forced_colors": "active", "color_scheme": "light"},
}

@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server whose deck A is loaded and stands still, so that nothing moves on its page."""
    folder = tmp_path_factory.mktemp("stage")
    with music_server(folder) as running:
        load(running, folder / "media" / "Night")
        running.client.send("/deck/A/fx/insert", 1, "echo")
        deck_is(running, state="ready")
        yield running


@pytest.mark.parametrize("theme", THEMES)
def test_every_control_stands_out_in_every_state(
    browser: Browser, stage: Running, theme: str
) -> None:
    for name in ("1600x900", "390x844"):
        screen = SCREENS[name]
        with page_on(browser, stage, screen, **THEMES[theme]) as page:
            measured(page, "forceable()")
            for view in views_of(page, screen):
                for on in ("false", "true"):
                    got = measured(page, f"faintWhile({TOUCHED!r}, {POINTER!r}, {on})")
                    assert got["count"] > 32, view
                    assert got["found"] == {}, view


def test_the_measure_finds_a_hover_that_outweighs_what_is_on(
    browser: Browser, stage: Running
) -> None:
    with page_on(browser, stage, SCREENS["1600x900"]) as page:
        page.evaluate("""() => {
          const rule = new CSSStyleSheet();
          rule.replaceSync('.button:hover:not(:disabled) { background: #313b47; }');
          document.adoptedStyleSheets = [rule];
        }""")
        measured(page, "forceable()")
        got = measured(page, f"faintWhile({TOUCHED!r}, {POINTER!r}, true)")["found"]
        assert set(got) == {"on, under the pointer", "on, pressed"}
        assert any("1.7" in control for control in got["on, under the pointer"])


@pytest.mark.parametrize("state", ["read-only", "lost"])
def test_text_stands_out_where_nothing_can_be_changed(
    browser: Browser, stage: Running, state: str
) -> None:
    screen = SCREENS["1600x900"]
    with page_on(browser, stage, screen) as page:
        page.evaluate(
            "(state) => { if (state === 'lost') document.body.dataset.link = 'lost';"
            " else document.body.classList.add('read-only'); }", state)  # fmt: skip
        text = ".track-title, .time-remaining, .knob-name, .stem-name, .side-decks, .readings *"
        for view in views_of(page, screen):
            got = measured(page, f"faint({TOUCHED + ', ' + text!r})")
            assert got["count"] > 40 and got["found"] == [], view


def pixels(page: Page, selector: str) -> np.ndarray[Any, Any]:
    """An element as it is drawn, with what is close to it: (height, width, 3), 0 to 1."""
    box = page.locator(selector).first.bounding_box()
    assert box
    page_bytes = page.screenshot(
        clip={"x": box["x"] - 2, "y": box["y"] - 2,
              "width": box["width"] + 4, "height": box["height"] + 4},
        animations="disabled",
    )  # fmt: skip
    drawn = image.imread(io.BytesIO(page_bytes))
    return np.asarray(drawn)[..., :3]


# Each state that the page shows: what is drawn, and a script that changes it there and back.
DECK = ".deck[data-deck=A]"
PRESSED = "one.setAttribute('aria-pressed', on)"
STATES = {
    "a mute": (f"{DECK} [data-action=mute-1]", PRESSED),
    "keylock": (f"{DECK} [data-action=keylock]", PRESSED),
    "a kill": (".strip[data-deck=A] [data-action=kill-low]", PRESSED),
    "headphones": (".strip[data-deck=A] .pfl", PRESSED),
    "recording": (".record", PRESSED),
    "listening": (".listen-button", PRESSED),
    "an effect": (f"{DECK} [data-action=fx-on-1]", PRESSED),
    "play": (f"{DECK} .play", "one.classList.toggle('running', on)"),
    "a hot cue": (f"{DECK} [data-action=hotcue-1]", "one.classList.toggle('set', on)"),
    "loop in": (f"{DECK} [data-action=loop-in]", "one.classList.toggle('armed', on)"),
    "a disabled button": (f"{DECK} .cue", "one.disabled = on"),
    "a tab": ("#dock [data-tab=dj]", "one.setAttribute('aria-selected', on)"),
    "a row": (".row[data-at='1']", "one.setAttribute('aria-selected', on)"),
    "a fader": (".strip[data-deck=A] .level", "one.style.setProperty('--place', on ? 0.9 : 0.1)"),
    "the crossfader": (".crossfader", "one.style.setProperty('--place', on ? 1 : 0)"),
    "a stem's fader": (f"{DECK} .stem .fader", "one.style.setProperty('--place', on ? 1 : 0)"),
    "a meter": (".strip[data-deck=A] .meter",
                "one.querySelector('.meter-fill').style.setProperty('--level', on ? 1 : 0.1)"),
    "the limiter": (".limiter", "one.firstChild.style.setProperty('--level', on ? 1 : 0)"),
    "a beat": (".clock .beat-lamps", "one.firstChild.classList.toggle('lit', on);"
               "for (const other of [...one.children].slice(1)) other.classList.remove('lit')"),
    "a silent stem": (f"{DECK} .stem", "one.classList.toggle('silent', on)"),
    "a knob": (".strip[data-deck=A] .knob", "one.querySelector('.knob-pointer')"
               ".setAttribute('transform', `rotate(${on ? 90 : -90} 24 24)`)"),
}  # fmt: skip


@pytest.mark.parametrize("theme", ["dark", "forced, dark", "forced, light"])
def test_each_state_is_drawn(browser: Browser, stage: Running, theme: str) -> None:
    with page_on(browser, stage, SCREENS["1600x900"], **THEMES[theme]) as page:
        expect(page.locator(f"{DECK} .stem").first).to_be_visible()
        page.locator("#dock [data-tab=library]").click()
        expect(page.locator(".row[data-at='1']")).to_be_visible()
        page.mouse.move(0, 0)
        # From here on the page draws no more of what the server reports.
        page.evaluate(
            "async () => { const { live } = await import('/page/live.js');"
            " live._nowWatchers.clear(); const listen = document.querySelector('.listen-button');"
            " listen.replaceWith(listen.cloneNode(true)); }"
        )
        unseen = []
        for name, (selector, script) in STATES.items():
            if name == "an effect":
                page.locator(f"{DECK} [data-tab=effects]").evaluate("one => one.click()")
            # The dock covers the panes of the decks, and panes are not the row's or the tab's.
            page.evaluate(
                "(on) => { document.body.classList.toggle('docked', on);"
                " document.getElementById('dock').classList.toggle('open', on); }",
                name in ("a row", "a tab"),
            )
            seen = []
            for on in ("true", "false"):
                page.locator(selector).first.evaluate(f"(one) => {{ const on = {on}; {script}; }}")
                seen.append(pixels(page, selector))
            if name == "an effect":
                page.locator(f"{DECK} [data-tab=stems]").evaluate("one => one.click()")
            changed = np.abs(seen[0] - seen[1]).max(axis=2) > 0.25
            if changed.sum() < 12:
                unseen.append((name, int(changed.sum())))
        assert unseen == []
