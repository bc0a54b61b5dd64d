"""Pages that are read ahead of a playhead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from crowdstream.audiofile.reader import open_stem
from crowdstream.desk.block import Desk
from crowdstream.desk.opcodes import PLAYING
from crowdstream.loader.prefetch import READ_AHEAD, Head, PrefetchPlan, Stem
from tests.support.offline_server import Rig, count, place, write

RATE = 44100
PAGE = 16384
FRAMES = 100 * PAGE
AHEAD = 27  # pages of 10 s


class Length:
    """The part of a file that a plan uses."""

    frames = FRAMES


@pytest.fixture(scope="module")
def plan() -> Iterator[PrefetchPlan]:
    desk = Desk.create(65536 * 4)
    yield PrefetchPlan(desk)
    desk.close()


STEM = Stem(1, 1, Length(), PAGE)  # type: ignore[arg-type]


def test_the_read_ahead_covers_the_next_pages(plan: PrefetchPlan) -> None:
    assert list(plan.ahead(STEM, Head(5 * PAGE + 7))) == list(range(5, 5 + AHEAD + 1))
    assert list(plan.ahead(STEM, Head(5 * PAGE, step=-1))) == [5, 4, 3, 2, 1, 0]


def test_the_read_ahead_covers_a_loop_and_what_follows_it(plan: PrefetchPlan) -> None:
    inside = list(plan.ahead(STEM, Head(12 * PAGE, 10 * PAGE, 14 * PAGE)))
    assert inside[:6] == [12, 13, 10, 11, 12, 13]
    assert {14, 15, 16, 17} <= set(inside)


@pytest.mark.parametrize("position", [14 * PAGE + 1, 20 * PAGE, 90 * PAGE])
def test_a_playhead_behind_its_loop_reads_straight_ahead(
    plan: PrefetchPlan, position: int
) -> None:
    pages = list(plan.ahead(STEM, Head(position, 10 * PAGE, 14 * PAGE)))
    first = position // PAGE
    assert pages[:8] == list(range(first, first + 8))


def test_a_reverse_playhead_before_its_loop_reads_straight_ahead(plan: PrefetchPlan) -> None:
    head = Head(8 * PAGE, 10 * PAGE, 14 * PAGE, -1)
    assert list(plan.ahead(STEM, head))[:9] == [8, 7, 6, 5, 4, 3, 2, 1, 0]


def test_both_playheads_of_keylock_are_considered() -> None:
    desk = Desk.create(65536 * 4)
    voice = desk.voices[0]
    voice["state"], voice["stems"], voice["cursor"], voice["lock_cursor"] = (
        PLAYING, 1, 40 * PAGE, 20 * PAGE + 5,
    )  # fmt: skip
    voice["sources"][0] = STEM.source
    plan = PrefetchPlan(desk)
    assert [head.position for head in plan.playheads()[STEM.source]] == [40 * PAGE]
    # At the end of a loop the audible head wraps before or after the other one.
    voice["locked"] = 1
    heads = plan.playheads()[STEM.source]
    assert sorted(head.position for head in heads) == [20 * PAGE + 5, 40 * PAGE]
    assert {19, 20, 21, 40, 41} <= set(plan.kept(STEM, heads))
    desk.close()


def test_a_streamed_track_plays_on_behind_its_loop(tmp_path: Path) -> None:
    path = write(tmp_path / "long.wav", np.tile(count(10.0), (12, 1)))
    assert open_stem(path, RATE).frames == 120 * RATE
    with Rig(memory_mb=8) as rig:
        rig.send("/deck/A/load", str(path))
        rig.step()
        rig.send("/deck/A/play")
        rig.send("/deck/A/loop/set", 1.0, 3.0)
        rig.seconds(0.2)
        rig.send("/deck/A/seek", 30.0)
        rig.seconds(3.0 + READ_AHEAD)
        assert int(rig.desk.ledger["missing_frames"]) == 0
        # It plays the right frame at the end.
        last = (30 + 3 + int(READ_AHEAD)) * RATE
        assert abs(place(rig.out[-1, 0]) - last % (10 * RATE) % 8192) < RATE // 20
