"""Drawing sends only changes, and the terminal shows the intended view."""

from __future__ import annotations

import io
import random

from rich.console import Console
from rich.text import Text

from crowdstream.top.fields import UNICODE
from crowdstream.top.layout import draw_view
from crowdstream.top.terminal import Screen
from tests.support.top_terminal import Shown, readings


def screen(no_color: bool = False) -> Screen:
    """Return a screen with 256 colours."""
    console = Console(
        file=io.StringIO(), force_terminal=True, color_system="256", no_color=no_color, width=80
    )
    return Screen(console)


def test_the_terminal_shows_each_view_correctly() -> None:
    drawing, shown, chance = screen(), Shown(80, 24), random.Random(1)
    known = readings()
    for number in range(60):
        position = chance.uniform(0.0, 245.0)
        known.status["deck.A.position"] = position
        known.status["deck.A.track"] = chance.choice(["short", "a longer name", "界界界", "", "é"])
        known.status["deck.B.state"] = chance.choice(["empty", "ready", "loading"])
        known.meter("A").update(chance.uniform(-60, 0), -20.0, -20.0, number)
        known.answers = chance.random() < 0.8
        lines = draw_view(known, 80, chance.choice([24, 20, 9]), number, UNICODE)
        shown.write(drawing.update(lines))
        assert shown.lines()[: len(lines)] == [line.plain.rstrip() for line in lines]
        assert not any(shown.lines()[len(lines) :])


def test_nothing_is_sent_without_a_change() -> None:
    drawing, known = screen(), readings()
    first = drawing.update(draw_view(known, 80, 24, 100.0, UNICODE))
    assert drawing.update(draw_view(known, 80, 24, 100.0, UNICODE)) == ""
    known.status["deck.A.position"] += 0.2
    second = drawing.update(draw_view(known, 80, 24, 100.2, UNICODE))
    assert 0 < len(second) < len(first) / 10
    assert "\x1b[2J" not in second


def test_a_change_of_style_alone_is_drawn() -> None:
    drawing = screen()
    drawing.update([Text.assemble(("same", "red"), end="")])
    assert "\x1b[32msame" in drawing.update([Text.assemble(("same", "green"), end="")])


def test_an_invalidated_screen_is_drawn_completely() -> None:
    drawing = screen()
    lines = [Text("a", end=""), Text("b", end="")]
    first = drawing.update(lines)
    drawing.invalidate()
    assert drawing.update(lines) == first


def test_no_color_removes_all_colours() -> None:
    with_color = screen().update([Text.assemble(("x", "bold red"), end="")])
    without = screen(no_color=True).update([Text.assemble(("x", "bold red"), end="")])
    assert "\x1b[1;31mx" in with_color
    assert "\x1b[1mx" in without
