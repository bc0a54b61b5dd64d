"""A track whose file can no longer be read is left before the end of its part in memory."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest

from crowdstream.dj.autopilot.cli import run_dj
from crowdstream.dj.autopilot.handover import HandoverContext, start_transition
from crowdstream.dj.autopilot.recovery import PlayFromMemory, StartOver, check_memory
from crowdstream.dj.autopilot.server_link import ServerLink
from crowdstream.dj.autopilot.state import Stage, State
from crowdstream.dj.autopilot.timing import place_of, safety_loop
from crowdstream.dj.setfile.model import Set, SetEntry, Transition

ANCHORS = ((0.0, 0.0), (1.0, 0.5))
SWAP = Transition("bass swap", 4)
MIX = Set(
    120.0,
    (
        SetEntry("/a.wav", ANCHORS, 0.0, 256.0, transition=SWAP),
        SetEntry("/b.wav", ANCHORS, 0.0, 256.0),
    ),
)
OFFSET = 1000.0  # beat of the clock at which /a.wav has started
PLAYS = State(mix=MIX, index=0, offset=OFFSET, decks={0: "A", 1: "B"})


class Silent:
    """A transport without a server."""

    def __init__(self) -> None:
        self.received: deque[bytes] = deque()

    def send(self, data: bytes) -> int:
        return len(data)

    def recv(self, _size: int) -> bytes:
        raise BlockingIOError

    def close(self) -> None:
        """Do nothing."""


def link(second: float, buffered: float, deck: str = "A", state: str = "broken") -> ServerLink:
    """Return a link to a server on which a deck is at `second` of its track."""
    made = ServerLink(Silent(), lambda: 0.0)
    made.poller.status_at = 0.0
    made.poller.status = {
        "bpm": 120.0, "beat": OFFSET + 2 * second, f"deck.{deck}.state": state,
        f"deck.{deck}.position": second, f"deck.{deck}.buffered": buffered,
        f"deck.{deck}.length": 130.0,
    }  # fmt: skip
    return made


def test_a_file_that_can_be_read_changes_nothing() -> None:
    assert check_memory(PLAYS, link(20.0, 10.0, state="playing")) is None
    assert check_memory(PLAYS, link(20.0, 110.0)) is None, "all of it is in memory"
    assert check_memory(replace(PLAYS, index=-1), link(20.0, 10.0)) is None


@pytest.mark.parametrize(
    ("buffered", "overlap", "step"), [(20.0, 16.0, 4), (10.0, 0.0, 4), (3.5, 0.0, 1)]
)
def test_the_mix_out_moves_to_a_bar_or_beat_in_memory(
    buffered: float, overlap: float, step: int
) -> None:
    found = check_memory(PLAYS, link(20.0, buffered))
    assert isinstance(found, PlayFromMemory)
    place = place_of(found.mix, 0)
    assert place.mix_out % step == 0 and place.mix_out > 40.0
    assert place.end - place.mix_out == overlap
    assert place.end <= 2 * (20.0 + buffered)
    begin, end = safety_loop(found.mix, 0, found.loop_limit)
    assert 20.0 < begin < end <= 20.0 + buffered
    assert check_memory(replace(PLAYS, mix=found.mix), link(20.0, buffered)) is None


@pytest.mark.parametrize(("buffered", "bars"), [(20.0, True), (3.5, False)])
def test_a_track_that_starts_between_two_bars_is_not_moved_to_one(
    buffered: float, bars: bool
) -> None:
    found = check_memory(PLAYS, link(20.0, buffered))
    assert isinstance(found, PlayFromMemory)
    mix = found.mix
    state = replace(PLAYS, mix=mix, stage=Stage.READY)
    begin = OFFSET + place_of(mix, 1).begin
    context = HandoverContext(0.0, begin - 4.0, 120.0, (), False, lambda: mix)
    commands = start_transition(state, mix, context).commands
    syncs = [one for one in commands if one.address == "/deck/B/sync"]
    assert (begin % 4 == 0) == bars == (not syncs)
    for one in syncs:
        assert one.beat < begin and (begin - MIX.entries[1].enter) % float(one.args[1]) == 0


def test_a_read_that_takes_too_long_counts_as_a_broken_file() -> None:
    stalled = link(20.0, 6.0, state="playing")
    assert check_memory(PLAYS, stalled) is None
    stalled.status["stalled_s"] = 3.0
    assert isinstance(check_memory(PLAYS, stalled), PlayFromMemory)


def test_another_track_starts_if_nothing_is_left_in_memory() -> None:
    lost = link(20.0, 0.1)
    assert check_memory(PLAYS, lost) == StartOver(frozenset("A"))
    assert check_memory(replace(PLAYS, closed=True), lost) is None, "no track follows"


def test_another_track_starts_if_the_incoming_one_ends_within_the_transition() -> None:
    mixing = replace(PLAYS, stage=Stage.MIXING)
    lost = check_memory(mixing, link(2.0, 5.0, "B"))
    assert lost == StartOver(frozenset("AB"))
    assert check_memory(mixing, link(2.0, 12.0, "B")) is None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["/none"], "neither a folder nor a set file"), (["label:"], "requires the label"),
        (["/none", "--dj-fallback", "/none"], "not a folder"),
        (["night.toml", "--dj-fallback", "/tmp"], "requires a folder to play"),
    ],
)  # fmt: skip
def test_a_wrong_folder_is_refused(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_dj([*arguments, "--no-crowd"]) == 2
    assert reason in capsys.readouterr().err
