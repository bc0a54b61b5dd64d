"""Contrast of text and visibility of states: in every state and in forced colours."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from matplotlib import image
from playwright.sync_api import Browser, Page, expect

from tests.support.page_server import deck_is, load, music_server
from tests.support.screens import SCREENS, Pages, Screen, measured, views_of
from tests.support.server import Running

POINTER = {
    "at rest": [], "under the pointer": ["hover"], "pressed": ["hover", "active"],
    "focused": ["focus", "focus-visible"],
}  # fmt: skip
TOUCHED = (
    ".button, select, input:not([type=range]), .tab, .view, .crumb, .col-head, summary, .fx-choose"
)
THEMES: dict[str, dict[str, str]] = {
    "dark": {"color_scheme": "dark", "contrast": "no-preference", "forced_colors": "none"},
    "light preferred": {"color_scheme": "light"},
    "more contrast": {"contrast": "more"},
    "forced, dark": {"forced_colors": "active", "color_scheme": "dark"},
    "forced, light": {"forced_colors": "active", "color_scheme": "light"},
}

@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server whose deck A is loaded but stopped, so that nothing moves on its page."""
    folder = tmp_path_factory.mktemp("stage")
    with music_server(folder) as running:
        load(running, folder / "media" / "Night")
        running.client.send("/deck/A/fx/insert", 1, "echo")
        deck_is(running, state="ready")
        yield running


@pytest.fixture(scope="module")
def pages(browser: Browser, stage: Running) -> Iterator[Pages]:
    with Pages(browser, stage) as made:
        yield made


@pytest.fixture(scope="module", params=["1600x900", "390x844"])
def shown(request: pytest.FixtureRequest, pages: Pages) -> tuple[Page, Screen]:
    """The page in a wide window and on a phone; pointer states can be forced."""
    screen = SCREENS[request.param]
    page = pages.show(screen, fresh=True)
    measured(page, "forceable()")
    return page, screen


wide_only = pytest.mark.parametrize("shown", ["1600x900"], indirect=True)


@pytest.fixture
def page(shown: tuple[Page, Screen]) -> Iterator[Page]:
    """The same page; its theme and rules are restored afterwards."""
    page, _screen = shown
    yield page
    page.emulate_media(color_scheme="light", contrast="no-preference", forced_colors="none")
    page.evaluate("() => { document.adoptedStyleSheets = []; }")


def show_theme(page: Page, theme: str) -> None:
    """Emulate a user with that theme."""
    page.emulate_media(**{**THEMES["dark"], **THEMES[theme]})  # type: ignore[arg-type]
    measured(page, "resized()")


@pytest.mark.parametrize("theme", THEMES)
def test_every_control_stands_out_in_every_state(
    page: Page, shown: tuple[Page, Screen], theme: str
) -> None:
    show_theme(page, theme)
    faint = {}
    for view in views_of(page, shown[1]):
        got = measured(page, f"faintInAll({TOUCHED!r}, {POINTER!r})")
        assert got["count"] > 64, view
        faint[view] = got["found"]
    assert {view: found for view, found in faint.items() if found} == {}


@wide_only
def test_the_measure_detects_a_hover_that_hides_a_toggle_state(page: Page) -> None:
    page.evaluate("""() => {
      const rule = new CSSStyleSheet();
      rule.replaceSync('.button:hover:not(:disabled) { background: #313b47; }');
      document.adoptedStyleSheets = [rule];
    }""")
    measured(page, "forceable()")
    got = measured(page, f"faintWhile({TOUCHED!r}, {POINTER!r}, true)")["found"]
    assert set(got) == {"on, under the pointer", "on, pressed"}
    assert any("1.7" in control for control in got["on, under the pointer"])


@wide_only
@pytest.mark.parametrize("state", ["read-only", "lost"])
def test_text_stands_out_on_a_view_only_page(
    page: Page, shown: tuple[Page, Screen], state: str
) -> None:
    text = ".track-title, .time-remaining, .knob-name, .stem-name, .side-decks, .readings *"
    for view in views_of(page, shown[1]):
        got = page.evaluate(FAINT_IN, [state, f"{TOUCHED}, {text}"])
        assert got["count"] > 40 and got["found"] == [], view


# Runs in one task of the page, and restores its state.
FAINT_IN = """([state, selector]) => {
  const { body } = document;
  const link = body.dataset.link;
  if (state === "lost") body.dataset.link = "lost";
  else body.classList.add("read-only");
  const found = measure.faint(selector);
  body.dataset.link = link;
  body.classList.remove("read-only");
  return found;
}"""


# Each state of the page: its elements, and a script that toggles it.
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


# The dock covers the decks' panes, so that they must be shown separately.
PLACES = {"a row": "dock", "a tab": "dock", "an effect": "effects"}
SHOW_PLACE = """(place) => {
  document.body.classList.toggle("docked", place === "dock");
  document.getElementById("dock").classList.toggle("open", place === "dock");
  const tab = place === "effects" ? "effects" : "stems";
  document.querySelector(`.deck[data-deck=A] [data-tab=${tab}]`).click();
}"""
MARGIN = 2  # CSS pixels around an element that count as part of it


@pytest.fixture(scope="module")
def still(pages: Pages) -> Page:
    """A page that ignores further reports of the server."""
    page = pages.show(SCREENS["1600x900"], fresh=True)
    expect(page.locator(f"{DECK} .stem").first).to_be_visible()
    page.locator("#dock [data-tab=library]").click()
    expect(page.locator(".row[data-at='1']")).to_be_visible()
    page.mouse.move(0, 0)
    page.evaluate(
        "async () => { const { live } = await import('/page/live.js');"
        " live._nowWatchers.clear(); const listen = document.querySelector('.listen-button');"
        " listen.replaceWith(listen.cloneNode(true)); }"
    )
    return page


def places_of(page: Page, names: list[str]) -> dict[str, tuple[slice, slice]]:
    """Regions of the states' elements in a screenshot, including margins."""
    found = {}
    boxes = page.evaluate(
        "(all) => all.map((one) => document.querySelector(one).getBoundingClientRect())",
        [STATES[name][0] for name in names],
    )
    for name, box in zip(names, boxes, strict=True):
        assert box["width"] > 0 and box["height"] > 0, name
        rows, columns = (
            slice(max(0, int(box[side]) - MARGIN), int(box[side] + box[size]) + MARGIN)
            for side, size in (("top", "height"), ("left", "width"))
        )
        found[name] = rows, columns
    return found


def apart(one: tuple[slice, slice], other: tuple[slice, slice]) -> bool:
    """Whether two regions have no pixel in common."""
    return any(a.stop <= b.start or b.stop <= a.start for a, b in zip(one, other, strict=True))


def groups(places: dict[str, tuple[slice, slice]]) -> list[list[str]]:
    """Groups of states that can be shown at once, since their regions do not overlap."""
    found: list[list[str]] = []
    for name, place in places.items():
        free = (group for group in found if all(apart(place, places[other]) for other in group))
        group = next(free, None)
        if group is None:
            found.append([name])
        else:
            group.append(name)
    return found


def drawn(page: Page, names: list[str], on: str) -> np.ndarray[Any, Any]:
    """A screenshot with these states on or off: (height, width, 3), 0 to 1."""
    changes = (
        f"{{ const one = document.querySelector({selector!r}); {script}; }}"
        for selector, script in (STATES[name] for name in names)
    )
    page.evaluate(f"() => {{ const on = {on}; {' '.join(changes)} }}")
    return np.asarray(image.imread(io.BytesIO(page.screenshot(animations="disabled"))))[..., :3]


@pytest.mark.parametrize("theme", ["dark", "forced, dark", "forced, light"])
def test_each_state_is_visible(still: Page, theme: str) -> None:
    show_theme(still, theme)
    unseen: dict[str, int] = {}
    for where in ("decks", "effects", "dock"):
        still.evaluate(SHOW_PLACE, where)
        here = [name for name in STATES if PLACES.get(name, "decks") == where]
        places = places_of(still, here)
        for names in groups(places):
            seen = [drawn(still, names, on) for on in ("true", "false")]
            changed = np.abs(seen[0] - seen[1]).max(axis=2) > 0.25
            counts = {name: int(changed[places[name]].sum()) for name in names}
            unseen |= {name: count for name, count in counts.items() if count < 12}
    assert unseen == {}
