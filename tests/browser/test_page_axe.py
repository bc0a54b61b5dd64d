"""axe finds nothing in any state of the page: in Chromium, in Firefox and in WebKit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import sync_playwright

from tests.support.browsers.axe import load_axe, violations
from tests.support.browsers.firefox import FIREFOX, firefox
from tests.support.browsers.webkit import DRIVER, SCREEN, mini_browser, webkit
from tests.support.browsers.window import ChromiumWindow, Window, wait_for
from tests.support.chromium import WAIT_MS, launch_chromium
from tests.support.page_server import deck_is, load, music_server
from tests.support.server import Running, server

TOKEN = "a-token-of-tests"
READY = (
    "document.querySelectorAll('.deck[data-state]').length === 4"
    " && document.body.dataset.link === 'open'"
    " && document.querySelector('.listen-button-slot .listen-button')"
)
SIZES = {
    "wide": (1600, 900), "in between": (1024, 768), "phone": (390, 844), "sideways": (844, 390),
}  # fmt: skip


@dataclass(frozen=True)
class State:
    """A state of the page: how it is entered and left, and what is true in it."""

    enter: str
    leave: str = "null"
    holds: str = "true"


def click(selector: str) -> str:
    """A script that clicks."""
    return f"document.querySelector({selector!r}).click()"


def fold(name: str, note: str = "") -> State:
    """What folds out of the header, with all that it may have to report."""
    show = (
        "for (const one of document.querySelectorAll('.listen-note'))"
        f" {{ one.hidden = false; one.textContent = {note!r}; }}"
        "for (const one of document.querySelectorAll('.listen-steps'))"
        " { one.hidden = false; one.open = true; }"
    )
    set_open = f"document.querySelector('.{name}').open"
    return State(
        f"(() => {{ {show} {set_open} = true; }})()", f"(() => {{ {set_open} = false; }})()",
        f"{set_open}",
    )  # fmt: skip


DECK = ".deck[data-deck=A]"
EVERYWHERE = {
    "playing": State("null", holds=f"document.querySelector('{DECK}').dataset.state === 'playing'"),
    "tempo": fold("clock-more"),
    "listening": fold("listen-more", "the connection is slow: fewer bits"),
    "help": State(
        click("#help-button"), "document.getElementById('help').close()",
        "document.getElementById('help').open",
    ),
    "effects": State(
        f"{click(f'{DECK} [data-tab=effects]')}", click(f"{DECK} [data-tab=stems]"),
        f"document.querySelector('{DECK} .fx-tools')",
    ),
    "effects to add": State(
        f"({click(f'{DECK} [data-tab=effects]')}, {click(f'{DECK} [data-action=fx-slot-2]')})",
        f"({click(f'{DECK} [data-action=fx-slot-1]')}, {click(f'{DECK} [data-tab=stems]')})",
        f"document.querySelector('{DECK} .fx-offer')",
    ),
    "a stem's dials": State(
        click(f"{DECK} [data-action=stem-more-1]"), click(f"{DECK} [data-action=stem-more-1]"),
        f"document.querySelector('{DECK} .stem-fold .knob')",
    ),
    "a note": State(
        "import('/page/controls/say.js').then(({ say }) => say('Deck B: no such file', 'bad'))",
        holds="document.querySelector('.note.bad')",
    ),
}  # fmt: skip
PANELS = {
    panel: State(click(f"#dock [data-tab={panel}]"), click(".dock-fold"),
                 "document.getElementById('dock').classList.contains('open')")
    for panel in ("library", "buses", "dj", "health")
}  # fmt: skip
VIEWS = {
    f"view {view}": State(click(f".view[data-view={view}]"), click(".view[data-view=A]"),
                          f"document.body.dataset.view === '{view}'")
    for view in ("B", "mixer", "library", "buses", "dj", "health")
}  # fmt: skip
LOST = State(
    "import('/page/live.js').then(({ live }) =>"
    " { live._open = () => {}; live._socket.close(); })",
    holds="document.body.dataset.link === 'lost'",
)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with all that a page can show: a deck that plays, one that can't be loaded."""
    folder = tmp_path_factory.mktemp("stage")
    with music_server(folder) as running:
        load(running, folder / "media" / "Night")
        for address, *arguments in (
            ("/deck/A/fx/insert", 1, "echo"), ("/deck/A/hotcue/set", 1), ("/deck/A/kill", "low", 1),
            ("/deck/A/stem/2/mute", 1), ("/deck/A/sync", 1), ("/deck/A/play",),
            ("/deck/A/loop", 4.0), ("/deck/D/load", str(folder / "media" / "missing.wav")),
        ):  # fmt: skip
            running.client.send(address, *arguments)
        deck_is(running, state="playing")
        yield running


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server without any music, whose page may not change anything without its token."""
    folder = tmp_path_factory.mktemp("bare")
    options = ("--http", "--driver", "null", "--buffer-size", "256", "--http-token", TOKEN)
    with server(folder, *options) as running:
        yield running


@pytest.fixture(scope="module", params=["chromium", "firefox", "webkit"])
def window(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Window]:
    """A window of each browser. One that is not installed is named in the summary of the run."""
    folder = tmp_path_factory.mktemp(request.param)
    with contextlib.ExitStack() as stack:
        if request.param == "chromium":
            playwright = stack.enter_context(sync_playwright())
            browser = launch_chromium(playwright.chromium)
            stack.callback(browser.close)
            page = browser.new_page()
            page.set_default_timeout(WAIT_MS)
            yield ChromiumWindow(page)
        elif request.param == "firefox":
            if FIREFOX is None:
                pytest.skip("axe was not run in Firefox: this system has no package firefox-esr")
            yield stack.enter_context(firefox(folder))
        else:
            if not (DRIVER and SCREEN and mini_browser()):
                pytest.skip("axe was not run in WebKit: no package webkit2gtk-driver or xvfb here")
            yield stack.enter_context(webkit(folder))


def look(window: Window, states: dict[str, State], scrolls: bool) -> dict[str, list[str]]:
    # What axe finds in each of the states, by their names. The size of what is touched in a page
    # that scrolls is measured in test_page_layout.py.
    found = {}
    for name, state in states.items():
        window.evaluate(state.enter)
        wait_for(window, state.holds)
        broken = violations(window, targets=not scrolls)
        if broken:
            found[name] = broken
        window.evaluate(state.leave)
    return found


def show(window: Window, url: str, size: str) -> None:
    """Open the page in a window of that size, and wait until all of it is there."""
    window.resize(*SIZES[size])
    window.open(url)
    wait_for(window, READY)
    window.resize(*SIZES[size])
    load_axe(window)


# The layout is the same in all browsers: the two others look at its extremes.
@pytest.mark.parametrize(
    ("window", "size"),
    [("chromium", size) for size in SIZES]
    + [(name, size) for name in ("firefox", "webkit") for size in ("wide", "phone")],
    indirect=["window"],
)
def test_axe_finds_nothing_in_any_state(window: Window, stage: Running, size: str) -> None:
    show(window, stage.page(), size)
    small = size in ("phone", "sideways")
    states = {**EVERYWHERE, **(VIEWS if small else PANELS), "lost": LOST}
    assert look(window, states, size != "wide") == {}


@pytest.mark.parametrize("size", ["wide", "phone"])
def test_axe_finds_nothing_in_an_empty_page_that_is_read_only(
    window: Window, bare: Running, size: str
) -> None:
    show(window, bare.page(), size)
    read_only = State("null", holds="document.body.classList.contains('read-only')")
    empty = VIEWS if size == "phone" else PANELS
    assert look(window, {"read-only": read_only, **empty}, size != "wide") == {}


def test_axe_is_run_at_all(window: Window, stage: Running) -> None:
    """A button without a name, text without contrast and a small target are found."""
    show(window, stage.page(), "wide")
    window.evaluate("""(() => {
      const bad = document.createElement('button');
      document.querySelector('main').append(bad);
      const dim = document.createElement('p');
      dim.textContent = 'hardly to be read';
      dim.className = 'dim';
      document.querySelector('.deck-head').append(dim);
      const rule = new CSSStyleSheet();
      rule.replaceSync('.dim { color: #333 !important; }');
      document.adoptedStyleSheets = [rule];
    })()""")
    rules = {line.partition(" ")[0] for line in violations(window)}
    assert {"button-name", "color-contrast"} <= rules
