"""What is left behind is found, and what goes away meanwhile is not taken for a fault."""

from __future__ import annotations

import os
import threading

import pytest

from crowdstream.desk.block import Desk
from tests.support.held_resources import added, held, nothing_left_behind


def test_a_descriptor_that_is_left_open_is_found_although_another_one_was_closed() -> None:
    old = os.memfd_create("old")
    with pytest.raises(AssertionError, match="descriptors"), nothing_left_behind():
        new = os.memfd_create("new")
        os.dup2(new, old)  # the same number for another file
        os.close(new)
    os.close(old)


def test_a_thread_that_still_runs_is_found() -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    before = held()
    thread.start()
    assert [text.partition(":")[0] for text in added(before)] == ["threads"]
    end.set()
    thread.join()
    assert added(before) == []


def test_a_desk_that_is_not_closed_is_found() -> None:
    before = held()
    desk = Desk.create(0)
    assert {text.partition(":")[0] for text in added(before)} == {"descriptors", "desks"}
    desk.close()
    assert added(before) == []


def test_what_goes_away_is_no_fault() -> None:
    desk = Desk.create(0)
    with nothing_left_behind():
        desk.close()


def test_garbage_of_earlier_tests_is_collected_first() -> None:
    class Cycle:
        """Holds a descriptor until the garbage collector comes."""

        def __init__(self) -> None:
            self.itself = self
            self.file = os.memfd_create("garbage")

        def __del__(self) -> None:
            os.close(self.file)

    number = Cycle().file
    assert number not in {one for one, _device, _inode in held().descriptors}
