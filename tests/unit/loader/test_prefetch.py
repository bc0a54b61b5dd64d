"""Which pages are read ahead of a playhead."""

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
    """All that a plan wants of a file."""

    frames = FRAMES


@pytest.fixture(scope="module")
def plan() -> Iterator[PrefetchPlan]:
    desk = Desk.create(65536 * 4)
    yield PrefetchPlan(desk)
    desk.close()


STEM = Stem(1, 1, Length(), PAGE)  # type: ignore[arg-type]


def test_pages_ahead(plan: PrefetchPlan) -> None:
    assert list(plan.ahead(STEM, Head(5 * PAGE + 7))) == list(range(5, 5 + AHEAD + 1))
    assert list(plan.ahead(STEM, Head(5 * PAGE, step=-1))) == [5, 4, 3, 2, 1, 0]


def test_pages_in_a_loop_and_behind_it(plan: PrefetchPlan) -> None:
    inside = list(plan.ahead(STEM, Head(12 * PAGE, 10 * PAGE, 14 * PAGE)))
    assert inside[:6] == [12, 13, 10, 11, 12, 13]
    assert {14, 15, 16, 17} <= set(inside)


@pytest.mark.parametrize("position", [14 * PAGE + 1, 20 * PAGE, 90 * PAGE])
def test_a_playhead_that_has_jumped_behind_its_loop_plays_on(
    plan: PrefetchPlan, position: int
) -> None:
    pages = list(plan.ahead(STEM, Head(position, 10 * PAGE, 14 * PAGE)))
    first = position // PAGE
    assert pages[:8] == list(range(first, first + 8))


def test_backward_before_the_loop_it_plays_on(plan: PrefetchPlan) -> None:
    head = Head(8 * PAGE, 10 * PAGE, 14 * PAGE, -1)
    assert list(plan.ahead(STEM, head))[:9] == [8, 7, 6, 5, 4, 3, 2, 1, 0]


def test_with_keylock_both_heads_are_looked_at() -> None:
    desk = Desk.create(65536 * 4)
    voice = desk.voices[0]
    voice["state"], voice["stems"], voice["cursor"], voice["lock_cursor"] = (
        PLAYING, 1, 40 * PAGE, 20 * PAGE + 5,
    )  # fmt: skip
    voice["sources"][0] = STEM.source
    plan = PrefetchPlan(desk)
    assert [head.position for head in plan.playheads()[STEM.source]] == [40 * PAGE]
    # At the end of a loop the one that sounds has gone round before the other one, or after it.
    voice["locked"] = 1
    heads = plan.playheads()[STEM.source]
    assert sorted(head.position for head in heads) == [20 * PAGE + 5, 40 * PAGE]
    assert {19, 20, 21, 40, 41} <= set(plan.kept(STEM, heads))
    desk.close()


def test_a_streamed_track_sounds_behind_its_loop(tmp_path: Path) -> None:
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
        # It is where it should be, at the end.
        last = (30 + 3 + int(READ_AHEAD)) * RATE
        assert abs(place(rig.out[-1, 0]) - last % (10 * RATE) % 8192) < RATE // 20
