"""OSC 1.0 address patterns: matches, atomicity, and limits on hostile patterns."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdstream.commands.errors import BadArgument
from crowdstream.commands.patterns import MAX_PATTERN_CHARS, PATTERN_COST, Part, Selection
from crowdstream.commands.registry import MAX_MATCHES, REMEMBERED_PATTERNS, TABLE
from crowdstream.control.replies import STRANGERS_MATCHES_BURST
from tests.support.offline_server import RATE, Rig, at_once, bundle, level, write

STRANGER = ("192.0.2.7", 50000)


def matched(pattern: str) -> list[str]:
    """Return the addresses that a pattern matches."""
    return [command.address_at(place) for command, place in TABLE.find_all(pattern)]


def test_a_pattern_matches_addresses_in_the_order_of_the_table() -> None:
    assert matched("/deck/*/level") == [f"/deck/{letter}/level" for letter in "ABCD"]
    assert matched("/deck/{A,b}/eq/low") == ["/deck/A/eq/low", "/deck/B/eq/low"]
    assert matched("/deck/[A-C]/gain") == [f"/deck/{letter}/gain" for letter in "ABC"]
    assert matched("/deck/[!a-cA-C]/gain") == ["/deck/D/gain"]
    assert matched("/deck/A/stem/?") == [f"/deck/A/stem/{number}" for number in range(1, 9)]
    assert matched("/bus/*/fx/list") == ["/bus/1/fx/list", "/bus/2/fx/list"]
    assert matched("/mix/l*l") == ["/mix/level"]
    assert len(matched("/deck/*/stem/*/eq/*")) == 96
    assert matched("/{reset,version}") == ["/reset", "/version"]


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("*", "", True), ("*", "level", True), ("l*", "level", True), ("*l", "level", True),
        ("l*l", "level", True), ("l*v", "level", False), ("*e*e*", "level", True),
        ("**e**", "level", True), ("?????", "level", True), ("????", "level", False),
        ("[kl]evel", "level", True), ("[!kl]evel", "level", False), ("[a-m]evel", "level", True),
        ("[m-a]evel", "level", False), ("[a-]x", "-x", True), ("[-a]x", "-x", True),
        ("{lev,level}", "level", True), ("{lev,le}el", "level", True), ("{,x}", "", True),
        ("{le,lev}{vel,el}", "level", True), ("a?c", "abc", True), ("x[!!]", "x!", False),
        ("level", "level", True), ("Level", "level", False),
    ],
)  # fmt: skip
def test_elements_of_a_pattern(pattern: str, text: str, fits: bool) -> None:
    assert Part(pattern).matches(text) is fits


@given(
    st.lists(
        st.sampled_from(["*", "?", "a", "b", "[ab]", "[!a]", "{a,bb,}", "{ab,b}"]), max_size=9
    ),
    st.text("abc", max_size=9),
)
def test_matches_as_a_regular_expression_does(elements: list[str], text: str) -> None:
    words = {"*": ".*", "?": ".", "[!a]": "[^a]", "{a,bb,}": "(a|bb|)", "{ab,b}": "(ab|b)"}
    expected = re.fullmatch("".join(words.get(one, one) for one in elements), text)
    assert Part("".join(elements)).matches(text) is (expected is not None)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("/deck/[AB/level", "without ]"), ("/deck/{A,B/level", "without }"),
        ("/deck/A]", "opening"),
        ("/deck/}A", "opening"), ("/deck/{[AB],C}/level", "within"), ("/deck/[]/level", "empty"),
        ("/deck/[!]/level", "empty"), ("/" + "*" * MAX_PATTERN_CHARS, "at most"),
        ("/deck/*/leevl", "matches no"), ("/deck*/level/*", "matches no"), ("//*", "matches no"),
        ("/deck/*/stem/*/*", f"more than {MAX_MATCHES}"),
    ],
)  # fmt: skip
def test_malformed_and_too_broad_patterns_are_refused(
    rig: Rig, pattern: str, reason: str
) -> None:
    before = rig.state()
    rig.send(pattern, 0.5)
    (found,) = rig.heard("/fail")
    assert found[0] == pattern
    assert reason in found[1]
    assert rig.state() == before


def test_hostile_patterns_are_matched_in_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each element of a pattern takes one step per name, however many positions are possible.
    for pattern in ("/deck/A/" + "*a" * 59, "/deck/A/" + "*?" * 59, "/" + "{,a}" * 31,
                    "/deck/A/" + "*[a-z]" * 19):
        part = Part(pattern.rpartition("/")[2])
        steps = itertools.count()
        counted = [
            lambda name, places, step=step, steps=steps: (next(steps), step(name, places))[1]
            for step in part._steps
        ]
        monkeypatch.setattr(part, "_steps", counted)
        part.matches("a" * 60)
        assert next(steps) <= MAX_PATTERN_CHARS
        TABLE._patterns.pop(pattern, None)


def test_the_cache_of_patterns_is_bounded() -> None:
    for number in range(3 * REMEMBERED_PATTERNS):
        assert len(matched(f"/deck/*/{{level,x{number}}}")) == 4
    assert len(TABLE._patterns) <= REMEMBERED_PATTERNS


@pytest.fixture
def decks(rig: Rig, tmp_path: Path) -> Rig:
    """Load a constant on decks A and B, ready to be started."""
    for deck, value in (("A", 0.25), ("B", 0.125)):
        path = write(tmp_path / f"{deck}.wav", level(2, value))
        rig.send(f"/deck/{deck}/load", str(path))
    rig.run(1024)
    return rig


def test_all_matches_of_a_pattern_act_on_one_frame(decks: Rig) -> None:
    decks.send("/deck/{A,B}/play")
    decks.run(2048)
    out = decks.out[:, 0]
    assert out[decks.first_sound()] == pytest.approx(0.375, abs=1e-3)
    decks.raw(bundle(1.0, b"/deck/*/level\0\0\0,f\0\0\0\0\0\0"))
    decks.seconds(1.1)
    drop = RATE + decks.block
    assert decks.out[drop - 1, 0] == pytest.approx(0.375)
    ramp = decks.out[drop : drop + 882, 0]
    assert np.all(np.diff(ramp) < 0)
    assert decks.out[drop + 1000, 0] == 0.0


def test_decks_of_a_pattern_wait_for_the_last_file(rig: Rig, tmp_path: Path) -> None:
    first = write(tmp_path / "first.wav", level(2, 0.25))
    second = write(tmp_path / "second.wav", level(2, 0.125))
    rig.send("/deck/A/load", str(first))
    rig.run(1024)
    rig.pages_a_block = 0
    rig.send("/deck/B/load", str(second))
    rig.send("/deck/{A,B}/play")
    rig.run(4096)
    assert rig.first_sound() == -1
    rig.pages_a_block = 1000
    rig.run(4096)
    assert rig.out[rig.first_sound(), 0] == pytest.approx(0.375, abs=1e-3)


def test_a_failure_within_a_pattern_is_reported_once_and_the_others_act(decks: Rig) -> None:
    decks.send("/deck/*/play")
    decks.run(2048)
    assert decks.first_sound() >= 0
    fails = decks.heard("/fail")
    assert [address for address, _ in fails] == ["/deck/*/play"] * 2  # C and D are empty
    decks.send("/deck/*/level", 9.0)
    assert len(decks.heard("/fail")) == 3
    decks.send("/deck/[AB]/level", "loud")
    assert len(decks.heard("/fail")) == 4


def test_each_match_is_sent_to_subscribers_of_watch(decks: Rig) -> None:
    decks.send("/changes/subscribe")
    decks.send("/deck/{A,B}/level", 0.5)
    decks.seconds(0.1)
    assert decks.heard("/changed") == [("/deck/A/level", 0.5), ("/deck/B/level", 0.5)]


def test_a_quantized_pattern_waits_for_the_longest_quantum_of_its_decks(decks: Rig) -> None:
    decks.send("/deck/A/quantize", 1.0)
    decks.send("/deck/B/quantize", 4.0)
    decks.send("/deck/{A,B}/play")
    decks.seconds(2.2)
    beat = round(decks.core.beat_clock.frame_of(4.0))
    assert decks.first_sound() == beat
    assert decks.out[beat, 0] == pytest.approx(0.375, abs=1e-3)


def test_a_pattern_acts_at_a_beat_of_the_clock(decks: Rig) -> None:
    decks.send("/clock/at", 2.0, "/deck/{A,B}/play")
    decks.seconds(1.2)
    assert decks.out[round(decks.core.beat_clock.frame_of(2.0)), 0] == pytest.approx(
        0.375, abs=1e-3
    )
    decks.send("/clock/at", 8.0, "/deck/*/load", "x")
    assert "cannot be scheduled" in decks.fails()[-1]


def test_patterns_of_strangers_are_limited_by_their_matches(rig: Rig) -> None:
    # 96 stems in one packet of 32 bytes: the work is charged, not the bytes.
    for _ in range(40):
        rig.send("/deck/*/stem/*/eq/*", 0.5, sender=STRANGER)
    failures = [values for values in rig.heard("/fail") if "match too many" in values[1]]
    assert len(failures) == 40 - STRANGERS_MATCHES_BURST // (96 + PATTERN_COST)
    rig.seconds(2.1)
    rig.answers.said.clear()
    for number in range(300):  # a pattern without matches costs work as well
        rig.send(f"/*/x{number}", 0.5, sender=STRANGER)
    failures = [values for values in rig.heard("/fail") if "see --osc-allow" in values[1]]
    assert len(failures) == pytest.approx(300 - STRANGERS_MATCHES_BURST / PATTERN_COST, abs=2)
    rig.send("/deck/*/level", 0.5)
    rig.run(2048)
    assert rig.status()["deck.A.level"] == 0.5, "trusted senders are not affected"


def test_a_bundle_continues_after_a_pattern_that_fails(rig: Rig) -> None:
    rig.raw(at_once(b"/deck/[\0\0\0\0,\0\0\0", b"/mix/level\0\0,f\0\0\x3f\0\0\0"))
    rig.run(1024)
    assert rig.core.desk.ramps["target"][:].tolist().count(0.5) >= 1
    assert [address for address, _ in rig.heard("/fail")] == ["/deck/["]


@pytest.mark.parametrize(
    ("patterns", "address", "there"),
    [
        (["/deck/A"], "/deck/A/eq/low", True), (["/deck/A"], "/deck/B/level", False),
        (["/deck/*/eq"], "/deck/C/eq/high", True), (["/deck/*/eq"], "/deck/C/eq", True),
        (["/deck/*/eq/low"], "/deck/C/eq", False), (["/mix", "/clock/"], "/clock/tempo", True),
        (["/deck/A/l*"], "/deck/A/level", True),
    ],
)  # fmt: skip
def test_a_selection_includes_matches_and_addresses_below_them(
    patterns: list[str], address: str, there: bool
) -> None:
    assert Selection(patterns).holds(address) is there


@pytest.mark.parametrize("text", ["deck", "", "/", "/deck/[", "/" + "x" * MAX_PATTERN_CHARS])
def test_a_selection_with_a_malformed_pattern_is_refused(text: Any) -> None:
    with pytest.raises(BadArgument):
        Selection([text])
