"""The transcoding process: its crashes are contained, and it exits with its parent."""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from crowdstream.audiofile.errors import FileUnreadable, NotAudio
from crowdstream.audiofile.reader import open_stem
from crowdstream.audiofile.transcode import (
    Source,
    Transcription,
    default_cache,
    start_transcription,
)
from tests.support.transcoding import RATE, encode, lag, noise


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return default_cache()


def source_of(path: Path) -> Source:
    status = path.stat()
    return Source(path, os.open(path, os.O_RDONLY), status.st_size, status.st_mtime_ns)


def test_a_file_is_transcoded_and_read(tmp_path: Path, cache: Path) -> None:
    wanted, alive = noise(3 * RATE), []
    path = encode(tmp_path / "a.m4a", "aac", wanted)
    with open_stem(path, RATE, lambda: alive.append(1)) as reader:
        found = reader.read(0, reader.frames)
    assert len(found) == len(wanted) and lag(found[:, 0] / 32768, wanted[:, 0]) == 0
    error = found / 32768 - wanted
    assert np.sqrt(np.mean(error**2)) < 0.1 * np.sqrt(np.mean(wanted**2)) and alive
    assert len(list(cache.iterdir())) == 1, "nothing else is left in the cache"


@pytest.mark.parametrize(
    ("number", "kind", "reason"),
    [
        (signal.SIGSEGV, NotAudio, "crashed"), (signal.SIGXCPU, NotAudio, "hung"),
        (signal.SIGKILL, FileUnreadable, "was killed"),
    ],
)  # fmt: skip
def test_a_killed_decoder_is_reported_and_does_not_block_the_next(
    tmp_path: Path, number: int, kind: type[Exception], reason: str
) -> None:
    source = source_of(encode(tmp_path / "a.m4a", "aac", noise(RATE)))
    made: Transcription = start_transcription(source)
    assert made._process is not None
    os.kill(made._process.pid, signal.SIGSTOP)  # so that it can't have finished before
    os.kill(made._process.pid, number)
    os.kill(made._process.pid, signal.SIGCONT)
    with pytest.raises(kind, match=reason):
        made.wait(lambda: None)
    assert start_transcription(source).wait(lambda: None).is_dir(), "the next one succeeds"


def test_the_process_exits_when_its_standard_input_closes(tmp_path: Path, cache: Path) -> None:
    source = source_of(encode(tmp_path / "a.m4a", "aac", noise(RATE)))
    cache.mkdir(parents=True)
    lock = os.open(cache / f".{source.place}.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)  # as if another process transcoded it
    made = start_transcription(source)
    assert not made.done() and made._process is not None and made._process.stdin is not None
    made._process.stdin.close()
    with pytest.raises(NotAudio):  # it has exited without a result
        made.wait(lambda: None)
    other = start_transcription(source)
    assert not other.done()
    other.cancel()
    assert other.done()
    os.close(lock)
    assert not list(cache.glob("*/*.flac"))
