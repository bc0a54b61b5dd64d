"""The command table: the old vocabulary, conversion of arguments, and refusals."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crowdstream.commands.errors import CommandError
from crowdstream.commands.registry import REQUIRED, TABLE
from crowdstream.control.handlers.legacy import percent_gain
from crowdstream.osc.codec import build
from tests.support.offline_server import Rig, level, write

_ = REQUIRED
VOCABULARY: dict[str, list[tuple[str, str, Any]]] = {
    "/load_buffer": [("id", "i", _), ("path", "s", _), ("name", "s", "")],
    "/play_stem": [
        ("id", "i", _), ("rate", "f", 1.0), ("volume", "f", 0.8), ("loop", "i", 1),
        ("start", "f", 0.0),
    ],
    "/stop_stem": [("id", "i", _)],
    "/stem_volume": [("id", "i", _), ("volume", "f", _)],
    "/cue": [("deck", "s", _), ("path", "s", _), ("start", "f", 0.0)],
    "/start_group": [("start_at", "f", 0.0), ("decks", "s", _)],
    "/play": [("deck", "s", _), ("path", "s", _), ("start_at", "f", 0.0)],
    "/fade": [("deck", "s", _), ("start_at", "f", 0.0), ("seconds", "f", 2.0)],
    "/crossfade_levels": [("a", "f", _), ("b", "f", _)],
    "/deck_levels": [("a", "f", _), ("b", "f", None), ("c", "f", None), ("d", "f", None)],
    "/deck_filter": [("deck", "s", _), ("band", "s", _), ("gain", "f", _)],
    "/deck_eq": [("deck", "s", _), ("band", "s", _), ("percent", "f", _)],
    "/deck_eq_all": [("deck", "s", _), ("low", "f", _), ("mid", "f", _), ("high", "f", _)],
    "/set_tempo": [("bpm", "f", _)],
    "/set_meter": [("beats", "i", _)],
    "/print_clock": [("on", "i", 1)],
    "/reset": [],
    "/schedule_c_at": [("start_at", "f", 0.0)],
    "/get_status": [],
    "/test_tone": [("hertz", "f", 440.0)],
    "/mixer_cleanup": [],
    "/dance/total_movement": [("movement", "f", _)],
    "/status": [],
    "/notify": [("on", "i", 1), ("port", "i", None)],
    "/sync": [("id", "i", 0)],
    "/version": [],
}


@pytest.mark.parametrize("address", VOCABULARY)
def test_the_old_vocabulary_keeps_every_argument(address: str) -> None:
    command, known = TABLE.find(address)
    assert not known and command.address == address and not command.aliases
    assert [(a.name, a.type, a.default) for a in command.args] == VOCABULARY[address]


def test_a_section_takes_the_arguments_of_play_stem_and_seconds() -> None:
    command, _known = TABLE.find("/play_stem_section")
    names = [(a.name, a.type, a.default) for a in command.args[:5]]
    assert names == VOCABULARY["/play_stem"]
    assert (command.args[5].name, command.args[5].type) == ("seconds", "f")


def test_deck_letters_are_accepted_in_either_case() -> None:
    assert TABLE.find("/deck/b/eq/low") == TABLE.find("/deck/B/eq/low")
    assert TABLE.find("/deck/D/level")[1] == {"deck": 3}


@pytest.mark.parametrize(
    ("address", "given", "bound"),
    [
        ("/play_stem", (100.0,), (100, 1.0, 0.8, 1, 0.0)),
        ("/play_stem", (100, 1, 1, 1.0, 0), (100, 1.0, 1.0, 1, 0.0)),
        ("/play_stem", (100, 1, 1, True, 0), (100, 1.0, 1.0, 1, 0.0)),
        ("/play_stem", (np.int64(100), np.float32(0.5)), (100, 0.5, 0.8, 1, 0.0)),
        ("/cue", ("b", "x.wav"), ("B", "x.wav", 0.0)),
        ("/deck_eq", ("d", "HIGH", 50), ("D", "high", 50.0)),
        ("/load_buffer", (100, "x.wav", ""), (100, "x.wav", "")),
        ("/deck_levels", (1, 0.5), (1.0, 0.5, None, None)),
        ("/start_group", (2.0, "A", "b"), (2.0, ("A", "B"))),
        ("/start_group", ("A", "B", 2), (2.0, ("A", "B"))),
        ("/start_group", ("A", "B"), (0.0, ("A", "B"))),
        ("/set_meter", (3.0,), (3,)),
    ],
)
def test_arguments_of_lenient_senders_are_converted(
    address: str, given: tuple[Any, ...], bound: tuple[Any, ...]
) -> None:
    command, _known = TABLE.find(address)
    values = tuple(command.bind(given).values())
    assert values == bound
    assert [type(value) for value in values] == [type(value) for value in bound]


REFUSED = [
    ("/no/such/address", ()),
    ("/deck/E/level", (1.0,)),
    ("", ()),
    ("/", ()),
    ("/play_stem", ()),
    ("/play_stem", (100, 1.0, 0.8, 1, 0.0, 5)),
    ("/play_stem", ("hundred",)),
    ("/play_stem", (100.5,)),
    ("/play_stem", (99,)),
    ("/play_stem", (4100,)),
    ("/play_stem", (-1,)),
    ("/play_stem", (2**62,)),
    ("/play_stem", (10**400,)),
    ("/play_stem", (100, math.nan)),
    ("/play_stem", (100, math.inf)),
    ("/play_stem", (100, 0.2)),
    ("/play_stem", (100, 4.1)),
    ("/play_stem", (100, 1.0, -0.1)),
    ("/play_stem", (100, 1.0, 0.5, 2)),
    ("/play_stem", (100, 1.0, 0.5, 1, 1.5)),
    ("/play_stem", (101,)),  # the buffer is empty
    ("/play_stem_section", (100, 1.0, 0.8, 1, 0.0, 0.0)),
    ("/stop_stem", (None,)),
    ("/stop_stem", (7,)),
    ("/stem_volume", (100,)),
    ("/stem_volume", (100, math.nan)),
    ("/stem_volume", (100, b"loud")),
    ("/load_buffer", (100,)),
    ("/load_buffer", (5000, "x.wav")),
    ("/load_buffer", (100, "")),
    ("/load_buffer", (100, "a\0b")),
    ("/load_buffer", (100, 5)),
    ("/load_buffer", (100, "/no/such/file.wav")),
    ("/load_buffer", (100, "x" * 60000)),
    ("/cue", ("E", "x.wav")),
    ("/cue", ("", "x.wav")),
    ("/cue", (1, "x.wav")),
    ("/cue", ("A", "/no/such/file.wav")),
    ("/start_group", (0.0,)),
    ("/start_group", (0.0, "E")),
    ("/start_group", (0.0, "B")),  # the deck is empty
    ("/start_group", (0.0, "A", "B")),
    ("/start_group", (math.nan, "A")),
    ("/start_group", (0.0, "A", 1.0)),
    ("/start_group", (1e300, "A")),
    ("/play", ("A", "/no/such/file.wav", 0.0)),
    ("/fade", ("A", 0.0, -1.0)),
    ("/fade", ("A", 0.0, math.inf)),
    ("/crossfade_levels", (1.0,)),
    ("/deck_levels", (1.0, 1.0, 1.0, math.nan)),
    ("/deck_levels", (1.0, 1.0, 1.0, -1.0)),
    ("/deck_levels", (1.0, 1.0, 1.0, 1.0, 1.0)),
    ("/deck_filter", ("A", "treble", 1.0)),
    ("/deck_eq", ("A", "low", 101)),
    ("/deck_eq_all", ("A", 50, 50)),
    ("/set_tempo", (0.0,)),
    ("/set_tempo", (math.nan,)),
    ("/set_meter", (0,)),
    ("/set_meter", (3.5,)),
    ("/print_clock", (2,)),
    ("/schedule_c_at", (0.0,)),  # deck C is empty
    ("/test_tone", (5.0,)),
    ("/dance/total_movement", (1.1,)),
    ("/dance/total_movement", (math.nan,)),
    ("/deck/B/play", ()),
    ("/deck/A/stem", (2, 1.0)),  # the track has one stem
    ("/deck/A/seek", (1e5,)),
    ("/deck/A/level", (1.0, math.inf)),
]


@pytest.mark.parametrize(("address", "arguments"), REFUSED)
def test_a_refusal_is_reported_and_counted_and_changes_nothing(
    rig: Rig, tmp_path: Path, address: str, arguments: tuple[Any, ...]
) -> None:
    rig.send("/cue", "A", str(write(tmp_path / "a.wav", level(1))))
    rig.run(1024)
    before, failures = rig.state(), rig.core.failures
    messages = rig.core.messages

    def reply(said: str, *values: Any) -> None:
        rig.answer(("here", 1), said, *values)

    rig.core.perform([(address, arguments, reply, None)])
    assert rig.state() == before
    assert rig.core.failures == failures + 1
    assert rig.core.messages == messages + 1
    [(said, reason)] = rig.heard("/fail")
    assert said == address[:200]
    assert reason
    assert "\n" not in reason
    assert len(reason) <= 1000


def test_the_most_similar_address_is_suggested(rig: Rig) -> None:
    rig.send("/play_sten", 100)
    assert rig.fails() == ["/play_sten unknown address (did you mean /play_stem?)"]


values = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(95, 4105),
    st.floats(),
    st.floats(0, 1),
    st.sampled_from(["A", "b", "C", "d", "E", "low", "mid", "high", "/no/such.wav", ""]),
    st.text(max_size=8),
    st.none(),
    st.booleans(),
    st.binary(max_size=4),
    st.lists(st.integers(), max_size=2),
)
ADDRESSES = sorted(TABLE._exact)


@given(st.sampled_from(TABLE.commands), st.lists(values, max_size=8))
def test_binding_any_values_returns_arguments_or_raises_a_command_error(
    command: Any, arguments: list[Any]
) -> None:
    try:
        bound = command.bind(arguments)
    except CommandError as error:
        assert str(error)
        return
    assert list(bound) == [arg.name for arg in command.args]
    for arg in command.args:
        number = bound[arg.name]
        if isinstance(number, float):
            assert math.isfinite(number)
            if number == 0.0 and arg.or_zero:
                continue
            assert arg.low is None or number >= arg.low
            assert arg.high is None or number <= arg.high


def sendable(address: str, *values: Any) -> None:
    """A reply function that fails if a reply does not fit in a packet."""
    assert len(build(address, values)) < 65000


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(ADDRESSES), st.lists(values, max_size=6)), max_size=20))
def test_no_sequence_of_commands_stops_the_server(
    tmp_path: Path, commands: list[tuple[str, list[Any]]]
) -> None:
    file = tmp_path / "a.wav"
    if not file.exists():
        write(file, level(0.3))
    rig = Rig(memory_mb=16)
    try:
        rig.send("/cue", "A", str(file))
        for address, arguments in commands:
            values = tuple(str(file) if value == "" else value for value in arguments)
            rig.core.perform([(address, values, sendable, ("x", 1))])
            rig.step()
        assert not any("internal error" in text for text in rig.fails())
        rig.core.watch = False
        rig.send("/mixer_cleanup")
        rig.run(8192)
        assert not rig.core.track_table.numbers()
        assert rig.core.voice_allocator.free_voices() == 64
        assert np.isfinite(rig.out).all()
    finally:
        rig.close()


@pytest.mark.parametrize(
    ("percent", "gain"),
    [(0, 0.0), (50, 1.0), (75, 1.0), (100, 1.0), (25, 10 ** (-12 / 20)), (1e-9, 10 ** (-24 / 20))],
)
def test_eq_percent_is_linear_in_decibels(percent: float, gain: float) -> None:
    assert percent_gain(percent) == pytest.approx(gain, rel=1e-6)
