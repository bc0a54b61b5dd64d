"""A disk that becomes full is reported before recordings stop, once."""

from __future__ import annotations

import threading
from pathlib import Path

from crowdstream.control.processes.storage_health import (
    AGAIN,
    HOUR_BYTES,
    MIN_STATE_BYTES,
    DiskWatch,
    WatchedDisk,
)
from crowdstream.system.medium import existing

RESERVE = 512 << 20
SETS, STATE = Path("/sets"), Path("/state")


class Disks:
    """A watch on two disks, whose free space tests set, and what it reports."""

    def __init__(self, sets: int, state: int = 1 << 40) -> None:
        self.reported: list[tuple[str, str]] = []
        self.sets, self.state = sets, state
        disks = [WatchedDisk.of_recordings(SETS, RESERVE), WatchedDisk.of_state(STATE)]
        self.watch = DiskWatch(
            lambda: disks, lambda kind, text: self.reported.append((kind, text)), self._free
        )
        self._calls = 0

    def _free(self, _folder: Path) -> int:
        self._calls += 1  # the two disks are looked at alternately
        return self.sets if self._calls % 2 else self.state

    def look(self) -> list[tuple[str, str]]:
        """Look once; returns what was reported then."""
        self.reported.clear()
        self.watch.look()
        self.watch.tick()
        return list(self.reported)


def test_a_disk_with_room_for_less_than_an_hour_of_recording_is_reported_once() -> None:
    disks = Disks(RESERVE + HOUR_BYTES)
    assert disks.look() == []
    disks.sets -= 1
    ((kind, text),) = disks.look()
    assert kind == "disk_low"
    assert text == (
        "the disk of /sets has only 1489 MB free: recordings stop at 512 MB (--record-reserve)"
    )
    assert disks.look() == []
    disks.sets -= 1 << 30
    assert disks.look() == []


def test_it_is_reported_again_after_there_was_room() -> None:
    disks = Disks(RESERVE)
    assert len(disks.look()) == 1
    disks.sets = RESERVE + HOUR_BYTES + 1
    assert disks.look() == []
    disks.sets = RESERVE
    assert disks.look() == [], "a little more space is no news"
    disks.sets = round(AGAIN * (RESERVE + HOUR_BYTES)) + 1
    assert disks.look() == []
    disks.sets = RESERVE
    assert len(disks.look()) == 1


def test_the_disk_of_the_event_log_is_watched_too() -> None:
    disks = Disks(1 << 40, MIN_STATE_BYTES - 1)
    ((_kind, text),) = disks.look()
    assert "the disk of /state has only 268 MB free" in text


def test_a_folder_that_is_gone_and_a_disk_that_hangs_delay_nothing() -> None:
    released, reported = threading.Event(), list[str]()

    def hang(_folder: Path) -> int:
        released.wait()
        raise OSError

    disk = WatchedDisk.of_state(Path("/no/such/folder"))
    watch = DiskWatch(lambda: [disk], lambda kind, _text: reported.append(kind), hang)
    watch.start()
    watch.tick()
    watch.close()
    released.set()
    watch.tick()
    assert reported == []


def test_a_folder_that_does_not_exist_yet_is_on_the_disk_of_its_parent(tmp_path: Path) -> None:
    assert existing(tmp_path / "a" / "b") == tmp_path
    assert existing(tmp_path) == tmp_path
    assert existing(Path("/no such/folder")) == Path("/")
