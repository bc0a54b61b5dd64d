"""An engine that takes over on request, beside one that is slow or dies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from crowdstream.desk.block import Desk
from crowdstream.desk.lease import Lease
from crowdstream.engine import main
from crowdstream.engine.main import Engine


class Other:
    """The engine that plays, as its successor sees it, and the monitor of that."""

    def __init__(self, desk: Desk, lives: bool, hands_over: bool) -> None:
        self.lease, self.successor = Lease(desk, 1), Lease(desk, 2)
        self.lives, self.hands_over = lives, hands_over
        self.lease.take()
        self.taken_over = False

    def alive(self) -> bool:
        """Whether it runs."""
        return self.lives

    def kill_other(self) -> None:
        """End it; it may hand over before that."""
        if self.hands_over:
            assert self.lease.hand_over()
        self.lives = False

    def take_over(self) -> None:
        """Restore the state of an unfinished turn, and take the lease."""
        self.taken_over = True
        self.successor.take()


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk.create(0)
    yield made
    made.close()


@pytest.mark.parametrize("lives", [True, False])
@pytest.mark.parametrize("hands_over", [True, False])
def test_a_turn_of_its_own_is_not_undone(
    desk: Desk, lives: bool, hands_over: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "pause", lambda _seconds: None)
    other: Any = Other(desk, lives, hands_over)
    engine = Engine.__new__(Engine)
    engine._lease = Lease(desk, 2)
    engine._request_handover(other)
    assert engine._lease.held()
    assert other.taken_over is not hands_over, "its callback may be in the middle of a turn"
