"""The log file: its size stays limited with any content, any number of writers and any disk."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from crowdstream.logs import rotating_file as module
from crowdstream.logs.rotating_file import FILE_BYTES, FILES, LogFile
from tests.support.environment import child_environment
from tests.support.server import WAIT_SECONDS


class Complaints(list[str]):
    """Collects the messages of a log file about itself."""

    def __call__(self, text: str) -> None:
        self.append(text)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """Files of 1000 bytes."""
    monkeypatch.setattr(module, "FILE_BYTES", 1000)
    return 1000


def total(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def test_the_total_is_ten_mebibytes() -> None:
    assert FILE_BYTES * FILES == 10 << 20


def test_rotation_keeps_a_few_files_and_deletes_the_oldest(tmp_path: Path, small: int) -> None:
    complaints = Complaints()
    log = LogFile(tmp_path / "logs" / "a.log", complaints)
    for number in range(500):
        log.write(b"line %03d\n" % number)
    log.close()
    folder = tmp_path / "logs"
    assert sorted(file.name for file in folder.iterdir()) == [
        "a.log", "a.log.1", "a.log.2", "a.log.3", "a.log.4",
    ]  # fmt: skip
    assert all(file.stat().st_size <= small for file in folder.iterdir())
    names = ["a.log.4", "a.log.3", "a.log.2", "a.log.1", "a.log"]
    lines = b"".join((folder / name).read_bytes() for name in names).splitlines()
    # Without a gap up to the last line.
    assert lines == [b"line %03d" % number for number in range(500 - len(lines), 500)]
    assert len(lines) > 4 * 1000 // 9
    assert not complaints


def test_a_new_start_appends_to_the_last_file(tmp_path: Path, small: int) -> None:
    for number in range(3):
        log = LogFile(tmp_path / "a.log", Complaints())
        log.write(b"start %d\n" % number)
        log.close()
    assert (tmp_path / "a.log").read_bytes() == b"start 0\nstart 1\nstart 2\n"


def test_two_writers_share_one_log(tmp_path: Path, small: int) -> None:
    complaints = Complaints()
    logs = [LogFile(tmp_path / "a.log", complaints) for _ in range(2)]
    for number in range(200):
        for which, log in enumerate(logs):
            log.write(b"%d %03d\n" % (which, number))
    for log in logs:
        log.close()
    assert total(tmp_path) <= 5 * (small + 6)
    names = ["a.log.4", "a.log.3", "a.log.2", "a.log.1", "a.log"]
    lines = b"".join((tmp_path / n).read_bytes() for n in names if (tmp_path / n).exists())
    expected = [b"%d %03d" % (which, number) for number in range(200) for which in range(2)]
    assert sorted(lines.splitlines()) == sorted(expected)
    assert not complaints


def test_many_concurrent_processes_stay_within_the_size_limit(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from crowdstream.logs import rotating_file\n"
        "rotating_file.FILE_BYTES = 4000\n"
        "log = rotating_file.LogFile(Path(sys.argv[1]), print)\n"
        "for number in range(1500): log.write(b'x' * 39 + b'\\n')\n"
        "log.close()\n"
    )
    command = [sys.executable, "-P", "-c", program, str(tmp_path / "a.log")]
    writers = [subprocess.Popen(command, env=child_environment()) for _ in range(3)]
    assert [writer.wait(WAIT_SECONDS) for writer in writers] == [0, 0, 0]
    # While one process rotates, the others keep writing, up to twice the size.
    assert all(file.stat().st_size <= 2 * 4000 + 3 * 40 for file in tmp_path.iterdir())
    assert {file.name for file in tmp_path.iterdir()} == {
        "a.log", *(f"a.log.{number}" for number in range(1, 5))
    }  # fmt: skip


def test_a_log_that_was_moved_away_is_created_again(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log", Complaints())
    log.write(b"one\n")
    (tmp_path / "a.log").rename(tmp_path / "kept.log")
    log.write(b"two\n")
    log.close()
    assert (tmp_path / "a.log").read_bytes() == b"two\n"
    assert (tmp_path / "kept.log").read_bytes() == b"one\n"


def test_a_file_just_rotated_by_another_process_is_not_rotated_again(
    tmp_path: Path, small: int
) -> None:
    late, early = (LogFile(tmp_path / "a.log", Complaints()) for _ in range(2))
    late.write(b"old\n" * 240)
    early.write(b"new\n" * 20)  # no longer fits
    late._rotate()  # as if it had checked before
    assert (tmp_path / "a.log").read_bytes() == b"new\n" * 20
    assert not (tmp_path / "a.log.2").exists()
    late.close()
    early.close()


def test_a_process_stopped_while_rotating_does_not_block_the_others(
    tmp_path: Path, small: int
) -> None:
    complaints = Complaints()
    log = LogFile(tmp_path / "a.log", complaints)
    log.write(b"first\n")
    with (tmp_path / "a.log").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        for _ in range(500):
            log.write(b"x" * 99 + b"\n")
    log.close()
    assert total(tmp_path) <= 2 * small + 200
    assert len(complaints) == 1


class Disk:
    """A disk with room for `left` bytes."""

    def __init__(self, left: int) -> None:
        self.left = left

    def write(self, fd: int, data: bytes) -> int:
        if not self.left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = min(self.left, len(data))
        self.left -= done
        return os.write(fd, data[:done])


def test_a_full_disk_is_reported_once_and_missing_lines_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(10)
    monkeypatch.setattr(
        module, "os", SimpleNamespace(**{**vars(os), "write": disk.write})
    )
    complaints = Complaints()
    now = 0.0
    log = LogFile(tmp_path / "a.log", complaints, lambda: now)
    for _ in range(10):
        log.write(b"seven.\n")
        now += 0.5
    assert len(complaints) == 1
    assert "No space left" in complaints[0] and "a.log" in complaints[0]
    disk.left = 1000
    now += 10
    log.write(b"again\n")
    log.close()
    # The incomplete line is terminated before the next one.
    assert (tmp_path / "a.log").read_bytes() == (
        b"seven.\nsev\n(9 lines are missing here)\nagain\n"
    )
    assert len(complaints) == 1


def test_the_log_leaves_free_space_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = os.statvfs(tmp_path)
    monkeypatch.setattr(module, "MIN_FREE", space.f_bavail * space.f_frsize + (1 << 40))
    complaints = Complaints()
    log = LogFile(tmp_path / "a.log", complaints)
    log.write(b"one\n")
    assert (tmp_path / "a.log").read_bytes() == b""
    assert "are free" in complaints[0]


def test_a_real_file_size_limit_ends_no_program(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from crowdstream.logs.rotating_file import LogFile\n"
        "log = LogFile(Path(sys.argv[1]), print)\n"
        "for number in range(100): log.write(b'x' * 99 + b'\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, str(tmp_path / "a.log")],
        # Coverage would write a file of its own under that limit.
        env=child_environment(COVERAGE_PROCESS_CONFIG=None, COVERAGE_PROCESS_START=None),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024)),
        capture_output=True, text=True, timeout=WAIT_SECONDS, check=True,
    )  # fmt: skip
    assert (tmp_path / "a.log").stat().st_size == 1024
    assert done.stdout.count("can't be written") in (1, 2)  # the disk's limit, and that of the file
    assert not done.stderr
@pytest.mark.parametrize("kind", ["folder", "pipe", "below a file", "no right", "device"])
def test_an_unusable_log_path_is_reported_and_blocks_nothing(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.log"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "below a file":
        path.write_text("")
        path = path / "b.log"
    elif kind == "device":
        path = Path("/dev/full")
    else:
        path = Path("/proc/crowdstream.log")
    complaints = Complaints()
    log = LogFile(path, complaints)
    log.write(b"one\n")
    log.write(b"two\n")
    log.close()
    assert len(complaints) == 1 and str(path) in complaints[0]
