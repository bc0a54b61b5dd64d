"""The demo's plan: on the phrase, one bass at a time, levels and rates in range."""

from itertools import islice, pairwise, takewhile
from pathlib import Path

import pytest

from crowdstream.demo import plan
from crowdstream.demo.plan import Action, Message
from crowdstream.demo.songs import SONGS
from crowdstream.demo.tracks import tracks_in

TRACKS = tracks_in(Path("tracks"))
ROUND_BEATS = 1200.0


def whole_round() -> list[Action]:
    """Return the actions of more than one pass through the four tracks."""
    return list(takewhile(lambda action: action.beat < ROUND_BEATS, plan.mix(TRACKS)))


def messages(address: str) -> list[tuple[float, tuple[plan.Argument, ...]]]:
    """Return (beat, arguments) of all messages to an address."""
    return [
        (action.beat, message.arguments)
        for action in whole_round()
        for message in action.messages
        if message.address == address
    ]


def test_actions_are_in_order_of_time() -> None:
    beats = [action.beat for action in whole_round()]
    assert beats == sorted(beats)


def test_every_track_starts_on_a_phrase_of_the_previous_one() -> None:
    starts = [(float(args[0]), args[1]) for _, args in messages("/start_group")]
    assert [deck for _, deck in starts[:6]] == ["A", "B", "C", "D", "A", "B"]
    beats = [seconds * plan.TEMPO / 60.0 for seconds, _ in starts]
    # The first track enters four bars before its fourth phrase, so its frame 0 would be at this
    # (negative) beat; every other track starts at its own frame 0.
    origin = -(3 * 8 - plan.OPENING_BARS) * 4.0
    for index, beat in enumerate(beats[1:], start=1):
        assert (beat - origin) / 32.0 == pytest.approx(round((beat - origin) / 32.0), abs=1e-9)
        phrases = (beat - origin) / 32.0
        assert 1.0 <= phrases <= TRACKS[index % 4].bars / 8 - 1 + 1e-9
        origin = beat


def test_starts_are_announced_before_they_are_due() -> None:
    for beat, args in messages("/start_group")[1:]:
        assert float(args[0]) - plan.seconds_of(beat) >= 1.0


def test_the_first_handover_is_audible_within_twenty_seconds() -> None:
    swaps = [beat for beat, args in messages("/deck_eq") if args[1] == "low"]
    assert plan.seconds_of(swaps[0]) < 20.0
    mids = [beat for beat, args in messages("/deck_eq") if args[1] == "mid"]
    assert plan.seconds_of(mids[0] + plan.MIDS[1] - plan.MIDS[0]) < 20.0


def test_only_one_bass_is_audible_at_a_time() -> None:
    lows: dict[str, float] = {}
    playing: set[str] = set()
    swaps = 0

    def act(message: Message) -> None:
        nonlocal swaps
        args = message.arguments
        if message.address == "/deck_eq_all":
            lows[str(args[0])] = float(args[1])
        elif message.address == "/deck_eq" and args[1] == "low":
            lows[str(args[0])] = float(args[2])
            swaps += 1
        elif message.address == "/start_group":
            playing.add(str(args[1]))
        elif message.address.endswith("/stop"):
            playing.discard(message.address.split("/")[2])
        assert sum(lows[deck] > 0.0 for deck in playing) <= 1

    for message in plan.opening(TRACKS):
        act(message)
    for action in whole_round():
        for message in action.messages:
            act(message)
    assert swaps >= 10


def test_bands_are_handed_over_lows_first_then_mids_then_highs() -> None:
    notes = [action.note for action in whole_round() if " to " in action.note]
    assert notes[:6] == [
        "lows: A to B", "mids: A to B", "highs: A to B",
        "lows: B to C", "mids: B to C", "highs: B to C",
    ]  # fmt: skip


def test_levels_and_percents_stay_in_range_and_levels_move_smoothly() -> None:
    before = (plan.LEVEL, 0.0, 0.0, 0.0)
    for _, args in messages("/deck_levels"):
        levels = tuple(float(value) for value in args)
        assert len(levels) == 4
        assert all(0.0 <= level <= plan.LEVEL for level in levels)
        assert max(abs(new - old) for new, old in zip(levels, before, strict=True)) < 0.03
        assert sum(level > 0.0 for level in levels) in {1, 2}
        before = (levels[0], levels[1], levels[2], levels[3])
    for _, args in messages("/deck_eq"):
        assert 0.0 <= float(args[2]) <= 50.0


def test_fades_send_about_forty_messages_a_second() -> None:
    times = [plan.seconds_of(beat) for beat, _ in messages("/deck_levels")]
    first = [time for time in times[1:] if time <= plan.seconds_of(16.0 + plan.FADE_IN[1]) + 1e-6]
    steps = [b - a for a, b in pairwise(first)]
    assert all(step == pytest.approx(1.0 / 40.0, rel=0.02) for step in steps)
    assert len(steps) > 100


def test_rates_match_the_tempos_and_are_set_before_the_start() -> None:
    ready: dict[str, float] = {}
    starts = 0
    everything = [Action(-1.0, tuple(plan.opening(TRACKS))), *whole_round()]
    for action in everything:
        for message in action.messages:
            if message.address.endswith("/rate"):
                ready[message.address.split("/")[2]] = float(message.arguments[0])
            if message.address == "/start_group":
                deck = str(message.arguments[1])
                track = TRACKS["ABCD".index(deck)]
                assert ready.pop(deck) * track.bpm == pytest.approx(plan.TEMPO)
                starts += 1
    assert starts >= 6


def test_an_audible_deck_is_never_loaded() -> None:
    levels: tuple[plan.Argument, ...] = (plan.LEVEL, 0.0, 0.0, 0.0)
    cues = 0
    for action in whole_round():
        for message in action.messages:
            if message.address == "/deck_levels":
                levels = message.arguments
            if message.address == "/cue":
                assert levels["ABCD".index(str(message.arguments[0]))] == 0.0
                cues += 1
    assert cues >= 5


def test_the_opening_cues_the_first_track_just_before_its_break() -> None:
    cue = next(message for message in plan.opening(TRACKS) if message.address == "/cue")
    bar = float(cue.arguments[2]) * TRACKS[0].bars
    assert bar == pytest.approx(24 - plan.OPENING_BARS)
    assert SONGS[0].sections[3].name == "break"


def test_the_plan_is_endless() -> None:
    assert len(list(islice(plan.mix(TRACKS), 20_000))) == 20_000
