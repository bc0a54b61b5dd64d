"""axe finds nothing in any state of the page: in Chromium, in Firefox and in WebKit.

Chromium looks at each state in a wide window and on a phone, and at the page as a whole in windows
of the sizes between. The layout is the same in all browsers, and each of axe's runs takes a second
or more of a core: Firefox looks at one half of the states in a wide window, and WebKit at the other
half on a phone. A state is checked in the part of the page that it changes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.browsers.axe import load_axe, violations
from tests.support.browsers.firefox import FIREFOX, firefox
from tests.support.browsers.webkit import DRIVER, SCREEN, mini_browser, webkit
from tests.support.browsers.window import ChromiumWindow, Window, wait_for
from tests.support.chromium import new_context
from tests.support.fake_portaudio import Device
from tests.support.live_portaudio import install
from tests.support.page_server import PAGE_SERVER, deck_is, load, music_server
from tests.support.server import Running, server

TOKEN = "a-token-of-tests"
MICROPHONE = Device("Microphone", ch=0, inputs=1)
READY = (
    "document.querySelectorAll('.deck[data-state]').length === 4"
    " && document.body.dataset.link === 'open'"
    " && document.querySelector('.listen-button-slot .listen-button')"
)
# After two frames, the layout for a new size is complete.
SETTLED = (
    "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
)
SIZES = {
    "wide": (1600, 900), "in between": (1024, 768), "phone": (390, 844), "sideways": (844, 390),
}  # fmt: skip


@dataclass(frozen=True)
class State:
    """A state of the page: how it is entered and left, and what is true in it.

    `place` is the part of the page that it changes, as a selector; "" is all of the page.
    """

    enter: str
    leave: str = "null"
    holds: str = "true"
    place: str = ""


def click(selector: str) -> str:
    """A script that clicks."""
    return f"document.querySelector({selector!r}).click()"


def fold(name: str, note: str = "") -> State:
    """The state of an open popover of the header, with all its notices."""
    show = (
        "for (const one of document.querySelectorAll('.listen-note'))"
        f" {{ one.hidden = false; one.textContent = {note!r}; }}"
        "for (const one of document.querySelectorAll('.listen-steps'))"
        " { one.hidden = false; one.open = true; }"
    )
    set_open = f"document.querySelector('.{name}').open"
    return State(
        f"(() => {{ {show} {set_open} = true; }})()", f"(() => {{ {set_open} = false; }})()",
        f"{set_open}", f".{name}",
    )  # fmt: skip


DECK = ".deck[data-deck=A]"
EVERYWHERE = {
    "playing": State("null", holds=f"document.querySelector('{DECK}').dataset.state === 'playing'"),
    "tempo": fold("clock-more"),
    "listening": fold("listen-more", "slow connection: lower bit rate"),
    "help": State(
        click("#help-button"), "document.getElementById('help').close()",
        "document.getElementById('help').open", "#help",
    ),
    "effects": State(
        f"{click(f'{DECK} [data-tab=effects]')}", click(f"{DECK} [data-tab=stems]"),
        f"document.querySelector('{DECK} .fx-tools')", DECK,
    ),
    "effects to add": State(
        f"({click(f'{DECK} [data-tab=effects]')}, {click(f'{DECK} [data-action=fx-slot-2]')})",
        f"({click(f'{DECK} [data-action=fx-slot-1]')}, {click(f'{DECK} [data-tab=stems]')})",
        f"document.querySelector('{DECK} .fx-offer')", DECK,
    ),
    "a stem's dials": State(
        click(f"{DECK} [data-action=stem-more-1]"), click(f"{DECK} [data-action=stem-more-1]"),
        f"document.querySelector('{DECK} .stem-fold .knob')", DECK,
    ),
    "a note": State(
        "import('/page/controls/announce.js')"
        ".then(({ announce }) => announce('Deck B: no such file', 'bad'))",
        holds="document.querySelector('.note.bad')", place=".note",
    ),
}  # fmt: skip
PANELS = {
    panel: State(click(f"#dock [data-tab={panel}]"), click(".dock-fold"),
                 "document.getElementById('dock').classList.contains('open')", "#dock")
    for panel in ("library", "buses", "pads", "dj", "health")
}  # fmt: skip
VIEWS = {
    f"view {view}": State(click(f".view[data-view={view}]"), click(".view[data-view=A]"),
                          f"document.body.dataset.view === '{view}'", place)
    for view, place in (
        ("B", ".deck[data-deck=B]"), ("mixer", ".mixer"), *((panel, "#dock") for panel in PANELS),
    )
}  # fmt: skip
LOST = State(
    "import('/page/live.js').then(({ live }) =>"
    " { live._open = () => {}; live._socket?.close(); })",
    holds="document.body.dataset.link === 'lost'",
)
SMALL = ("phone", "sideways")
FULL = ("wide", "phone")  # where all states are checked
BROWSERS = ("chromium", "firefox", "webkit")
SIZES_IN = {"chromium": tuple(SIZES), "firefox": ("wide",), "webkit": ("phone",)}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with everything that a page can show: a playing deck, a failed load, ..."""
    folder = tmp_path_factory.mktemp("stage")
    _cards, env = install(folder, [MICROPHONE])
    with music_server(folder, "--input", MICROPHONE.name, env=env) as running:
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
    """A server without music, whose page is view-only without the token."""
    folder = tmp_path_factory.mktemp("bare")
    with server(folder, *PAGE_SERVER, "--http-token", TOKEN) as running:
        yield running


@pytest.fixture(scope="module", params=BROWSERS)
def window(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Window]:
    """A window of each browser; the summary of the run names browsers that are not installed."""
    folder = tmp_path_factory.mktemp(request.param)
    with contextlib.ExitStack() as stack:
        if request.param == "chromium":
            browser = request.getfixturevalue("browser")
            yield ChromiumWindow(new_context(browser).new_page())
        elif request.param == "firefox":
            if FIREFOX is None:
                pytest.skip("axe was not run in Firefox: this system has no package firefox-esr")
            yield stack.enter_context(firefox(folder))
        else:
            if not (DRIVER and SCREEN and mini_browser()):
                pytest.skip("axe was not run in WebKit: no package webkit2gtk-driver or xvfb here")
            yield stack.enter_context(webkit(folder))


def look(window: Window, states: dict[str, State], size: str) -> dict[str, list[str]]:
    # axe's findings by state and size. test_page_layout.py measures touch targets on pages that
    # scroll.
    found: dict[str, list[str]] = {}
    for name, state in states.items():
        window.evaluate(state.enter)
        wait_for(window, state.holds)
        broken = violations(window, size == "wide", state.place)
        if broken:
            found[f"{name}, {size}"] = broken
        window.evaluate(state.leave)
    return found


def show(window: Window, url: str, size: str) -> None:
    """Show the page in a window of that size, and wait until all of it is there.

    A page that is open already is only resized: it is not loaded again.
    """
    window.resize(*SIZES[size])
    if window.evaluate("location.href") != f"{url.rstrip('/')}/":
        window.open(url)
        wait_for(window, READY)
        window.resize(*SIZES[size])
        load_axe(window)
    window.evaluate(SETTLED)


def states_of(window: Window, size: str) -> dict[str, State]:
    """The states to check in a browser window of that size."""
    states = {**EVERYWHERE, **(VIEWS if size in SMALL else PANELS)}
    if size not in FULL:
        return {"playing": states["playing"]}
    if window.name == "chromium":
        return states
    half = list(states)[int(window.name == "webkit") :: 2]
    return {name: states[name] for name in ("playing", *half)}


def full_sizes(window: Window) -> list[str]:
    """The sizes in which a browser looks at more than the page as a whole."""
    return [size for size in SIZES_IN[window.name] if size in FULL]


def test_axe_detects_known_faults(window: Window, stage: Running) -> None:
    """axe reports a button without a name and text without contrast."""
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
      globalThis.tidy = () => { bad.remove(); dim.remove(); document.adoptedStyleSheets = []; };
    })()""")
    rules = {line.partition(" ")[0] for line in violations(window)}
    window.evaluate("tidy()")
    assert {"button-name", "color-contrast"} <= rules


def test_axe_finds_nothing_in_any_state(window: Window, stage: Running) -> None:
    found: dict[str, list[str]] = {}
    for size in SIZES_IN[window.name]:
        show(window, stage.page(), size)
        found |= look(window, states_of(window, size), size)
    assert found == {}


def test_axe_finds_nothing_in_a_disconnected_page(
    window: Window, stage: Running
) -> None:
    found: dict[str, list[str]] = {}
    for size in full_sizes(window):
        show(window, stage.page(), size)
        found |= look(window, {"lost": LOST}, size)
    window.open("about:blank")  # ends its connection
    assert found == {}


def test_axe_finds_nothing_in_an_empty_view_only_page(
    window: Window, bare: Running
) -> None:
    found: dict[str, list[str]] = {}
    read_only = State("null", holds="document.body.classList.contains('read-only')")
    for size in full_sizes(window):
        show(window, bare.page(), size)
        empty = PANELS if window.name == "chromium" and size == "wide" else {}
        found |= look(window, {"read-only": read_only, **empty}, size)
    assert found == {}
