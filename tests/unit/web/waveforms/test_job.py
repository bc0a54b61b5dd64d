"""Pyramids of whole files: previews, exact peaks, order of work, damaged files."""

import functools
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from crowdstream.audiofile.errors import AudioFileError
from crowdstream.web.waveforms.job import FINISHED, LOOKING, LOOKING_CLOSER, REFINING, Job, spread
from crowdstream.web.waveforms.peak_file import (
    BLOCK,
    EXACT,
    HEADER_BYTES,
    MISSING,
    ROUGH,
    TILE,
    Header,
    Shape,
)
from crowdstream.web.waveforms.peaks import Analyser, coarser
from crowdstream.web.waveforms.store import Store
from crowdstream.web.waveforms.tiles import NoTile, PeakFile

RATE = 44100


def nothing() -> None:
    """Ignore the progress."""


def finished(path: Path, store: Store) -> Job:
    """Compute all peaks of a file."""
    job = Job(str(path), [], store, nothing)
    while job.phase != FINISHED:
        job.turn()
    return job


def parts(tile: bytes) -> tuple[Any, Any]:
    """A tile's buckets, shape (count, 4), and their states."""
    count, runs = np.frombuffer(tile, "<u4", 2)
    known: list[int] = []
    for at in range(runs):
        length, state = np.frombuffer(tile, "<u2", 1, 8 + 4 * at)[0], tile[10 + 4 * at]
        known += [state] * int(length)
    assert len(known) == count
    return np.frombuffer(tile, np.uint8, 4 * count, 8 + 4 * int(runs)).reshape(-1, 4), known


def level(file: PeakFile, number: int, rough: int = -1) -> tuple[Any, list[int]]:
    """All buckets of a level, and their states."""
    buckets, known = [], []
    for tile in range(-(-file.shape.counts[number] // TILE)):
        some, states = parts(file.tile(number, tile, rough)[0])
        buckets.append(some)
        known += states
    return np.concatenate(buckets), known


def opened(job: Job) -> PeakFile:
    """The job's peak file."""
    assert job.file and job.header
    return PeakFile(job.file, job.header.shape)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    folder = tmp_path / "cache"
    folder.mkdir()
    return Store(folder)


@functools.lru_cache(1)
def music(seconds: float) -> Any:
    """Stereo noise with a slowly varying level."""
    random = np.random.default_rng(8)
    at = np.arange(int(seconds * RATE)) / RATE
    swell = 0.45 + 0.4 * np.sin(2 * np.pi * at / 17)
    return (random.uniform(-1, 1, (len(at), 2)) * swell[:, None]).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.wav", {"subtype": "PCM_16"}), ("a.wav", {"subtype": "FLOAT"}), ("a.flac", {}),
     ("a.ogg", {}), ("a.mp3", {})],
)  # fmt: skip
def test_a_finished_peak_file_is_complete(
    tmp_path: Path, store: Store, write_sound: Callable[..., Path], name: str, options: Any
) -> None:
    path = write_sound(tmp_path / name, samples=music(13), **options)
    file = opened(finished(path, store))
    samples, _rate = soundfile.read(path, dtype="float32", always_2d=True)
    shape = file.shape
    peaks = np.zeros(shape.counts[0] * shape.bucket)
    peaks[: len(samples)] = np.abs(samples[: shape.frames]).max(axis=1)
    want = np.minimum(255, np.ceil(255 * peaks.reshape(-1, shape.bucket).max(axis=1)))
    buckets, known = level(file, 0)
    assert set(known) == {EXACT}
    # After a seek, decoded MP3 and Ogg samples may differ in the last bit of a float.
    assert np.abs(buckets[:, 0] - want).max() <= (0 if name in ("a.wav", "a.flac") else 1)
    for number in range(1, len(shape.counts)):
        buckets = coarser(buckets)
        got, known = level(file, number)
        assert set(known) == {EXACT}
        assert np.array_equal(got[:, 0], buckets[:, 0])
        assert np.abs(got[:, 1:].astype(int) - buckets[:, 1:]).max() <= 1


def test_the_preview_approximates_the_result(
    tmp_path: Path, store: Store, write_sound: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOOK_SECONDS", "CLOSER_SECONDS"):  # independent of the machine's speed
        monkeypatch.setattr(f"crowdstream.web.waveforms.job.{name}", 600.0)
    path = write_sound(tmp_path / "a.wav", samples=music(60))
    job = Job(str(path), [], store, nothing)
    job.turn()
    assert job.phase == LOOKING
    job.turn()
    assert job.phase in (LOOKING_CLOSER, REFINING)
    rough = job.rough
    assert rough > 0
    file = opened(job)
    glance, known = level(file, rough, rough)
    assert set(known) == {ROUGH}
    assert set(level(file, 0, rough)[1]) == {MISSING}
    while job.phase != FINISHED:
        job.turn()
    exact, known = level(file, rough)
    assert set(known) == {EXACT}
    assert np.abs(exact[:, 0].astype(int) - glance[:, 0]).mean() < 12
    assert np.abs(exact[:, 1:].astype(int) - glance[:, 1:]).mean() < 12


def test_a_file_that_is_slow_to_seek_is_previewed_over_its_whole_length(
    tmp_path: Path, store: Store, write_sound: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crowdstream.web.waveforms.job.LOOK_SECONDS", 0.0)  # for one place
    job = Job(str(write_sound(tmp_path / "a.wav", samples=music(60))), [], store, nothing)
    while job.phase != REFINING:
        job.turn()
    glance, known = level(opened(job), job.rough, job.rough)
    assert set(known) == {ROUGH}
    assert glance[:, 0].min() > 10
    job.close()
    for count in (1, 2, 3, 97, 800):
        order = spread(count)
        assert sorted(order) == list(range(count))
        some = np.sort(order[: max(1, count // 4)])
        assert np.diff(np.concatenate([[-1], some, [count]])).max() <= 9 or count < 9


@pytest.mark.parametrize("most", [1 << 22, 20_000, 10_000, 2_500])
def test_the_preview_of_a_sound_with_long_buckets(
    tmp_path: Path, store: Store, write_sound: Callable[..., Path], most: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("crowdstream.web.waveforms.peak_file.MAX_BUCKETS", most)
    monkeypatch.setattr("crowdstream.web.waveforms.job.LOOK_BLOCKS", 1)
    for name in ("LOOK_SECONDS", "CLOSER_SECONDS"):  # independent of the machine's speed
        monkeypatch.setattr(f"crowdstream.web.waveforms.job.{name}", 600.0)
    path = write_sound(tmp_path / "a.wav", samples=music(60))
    job = Job(str(path), [], store, nothing)
    while job.phase != REFINING:
        job.turn()
    glance, _known = level(opened(job), job.rough, job.rough)
    number = job.rough
    while job.phase != FINISHED:
        job.turn()
    exact, _known = level(opened(job), number)
    assert np.abs(exact.astype(int) - glance).mean() < 12


def test_work_continues_where_a_user_looks_and_tiles_state_what_is_known(
    tmp_path: Path, store: Store, write_sound: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crowdstream.web.waveforms.job.TURN_BLOCKS", 4)
    path = write_sound(tmp_path / "a.wav", samples=music(120))
    job = Job(str(path), [], store, nothing)
    while job.phase != REFINING:
        job.turn()
    job.near(60)
    job.turn()
    file = opened(job)
    fine, known = level(file, 0, job.rough)
    there = [at // BLOCK for at, state in enumerate(known) if state == EXACT]
    assert min(there) == 60
    assert max(there) <= 63
    assert set(known) == {EXACT, MISSING}
    assert fine[60 * BLOCK, 0] > 0
    for number in range(1, len(file.shape.counts)):
        _buckets, states = level(file, number, job.rough)
        span = 4**number
        for at, state in enumerate(states):
            exact = known[at * span : (at + 1) * span]
            if all(one == EXACT for one in exact):
                assert state == EXACT
            elif number >= job.rough:
                assert state == ROUGH
    while job.phase != FINISHED:
        job.turn()
    again = opened(finished(path, Store(tmp_path / "cache")))
    assert all(np.array_equal(level(file, n)[0], level(again, n)[0]) for n in range(3))


def test_finished_peaks_are_reused(
    tmp_path: Path, store: Store, write_sound: Callable[..., Path]
) -> None:
    path = write_sound(tmp_path / "a.wav")
    first = finished(path, store)
    second = Job(str(path), [], store, nothing)
    second.turn()
    assert second.phase == FINISHED
    assert second.file == first.file
    os.utime(path, ns=(1, 1))
    third = Job(str(path), [], store, nothing)
    third.turn()
    assert third.phase == REFINING
    third.close()
    assert [one.suffix for one in store.folder.iterdir()] == [".wave"]


@pytest.mark.parametrize("at", [0, 9, 30, 50, 70, HEADER_BYTES, HEADER_BYTES + 500, -1])
def test_damaged_peaks_are_computed_again(
    tmp_path: Path, store: Store, write_sound: Callable[..., Path], at: int
) -> None:
    path = write_sound(tmp_path / "a.wav")
    file = finished(path, store).file
    assert file
    good = file.read_bytes()
    bad = bytearray(good)
    bad[at] ^= 0x10
    file.write_bytes(bytes(bad) if at != 70 else good[:-3])
    job = Job(str(path), [], store, nothing)
    job.turn()
    assert job.phase == REFINING
    while job.phase != FINISHED:
        job.turn()
    assert file.read_bytes() == good


def test_peaks_of_another_sound_are_rejected(
    tmp_path: Path, store: Store, write_sound: Callable[..., Path]
) -> None:
    one = finished(write_sound(tmp_path / "a.wav"), store)
    other = finished(write_sound(tmp_path / "b.wav", frames=9000), store)
    assert one.file and other.file
    other.file.write_bytes(one.file.read_bytes())
    job = Job(str(tmp_path / "b.wav"), [], store, nothing)
    job.turn()
    assert job.phase == REFINING
    job.close()


def test_the_least_recently_used_peaks_are_deleted_first(
    tmp_path: Path, write_sound: Callable[..., Path]
) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    store = Store(folder, most=9000)
    jobs = []
    for number in range(3):
        job = finished(write_sound(tmp_path / f"{number}.wav", frames=88_200), store)
        assert job.file
        os.utime(job.file, (1000 + number, 1000 + number))
        jobs.append(job)
    there = [job.file for job in jobs if job.file and job.file.exists()]
    assert there == [job.file for job in jobs[1:]]


def test_stale_part_files_are_removed_and_locked_ones_kept(
    tmp_path: Path, store: Store, write_sound: Callable[..., Path]
) -> None:
    (store.folder / f"{'0' * 32}.abc.part").write_bytes(b"left")
    path = write_sound(tmp_path / "a.wav", samples=music(5))
    job = Job(str(path), [], store, nothing)
    job.turn()
    Store(store.folder)
    assert [one for one in store.folder.iterdir()] == [job.file]
    job.close()


def test_tiles_that_do_not_exist(
    tmp_path: Path, store: Store, write_sound: Callable[..., Path]
) -> None:
    file = opened(finished(write_sound(tmp_path / "a.wav"), store))
    for number, tile in ((-1, 0), (9, 0), (0, 1), (0, -1)):
        with pytest.raises(NoTile):
            file.tile(number, tile, -1)
    assert file.tile(0, 0, -1)[1]


def test_hostile_files_are_refused(tmp_path: Path, store: Store) -> None:
    random = np.random.default_rng(1)
    for name, data in {
        "empty.wav": b"", "noise.wav": random.bytes(5000), "noise.mp3": random.bytes(5000),
        "cut.wav": b"RIFF\xff\xff\xff\x7fWAVEfmt ", "text.flac": b"fLaC" + bytes(100),
    }.items():  # fmt: skip
        path = tmp_path / name
        path.write_bytes(data)
        job = Job(str(path), [], store, nothing)
        with pytest.raises(AudioFileError):
            while job.phase != FINISHED:
                job.turn()
        job.close()
    os.mkfifo(tmp_path / "pipe.wav")
    for path in (tmp_path / "pipe.wav", tmp_path, tmp_path / "none.wav"):
        job = Job(str(path), [], store, nothing)
        with pytest.raises(AudioFileError):
            job.turn()
        job.close()
    assert list(store.folder.iterdir()) == []


def test_a_file_outside_the_media_roots_is_not_opened(
    tmp_path: Path, store: Store, write_sound: Callable[..., Path]
) -> None:
    path = write_sound(tmp_path / "a.wav")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link.wav").symlink_to(path)
    job = Job(str(root / "link.wav"), [root], store, nothing)
    with pytest.raises(AudioFileError, match="outside"):
        job.turn()
    job.close()


def test_a_three_hour_file_takes_little_memory(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "long.wav"
    frames = 3 * 3600 * RATE
    with path.open("wb") as file:  # a sparse file of 1.9 GB
        size = frames * 4
        head = b"RIFF" + (size + 36).to_bytes(4, "little") + b"WAVEfmt \x10\0\0\0\1\0\2\0"
        head += RATE.to_bytes(4, "little") + (RATE * 4).to_bytes(4, "little") + b"\4\0\x10\0data"
        file.write(head + size.to_bytes(4, "little"))
        file.truncate(44 + size)
        file.seek(44 + 4 * (frames // 2))
        file.write(b"\xff\x7f\xff\x7f" * 4000)
    tracemalloc.start()
    try:
        job = Job(str(path), [], store, nothing)
        job.turn()
        job.turn()
        assert job.phase in (LOOKING_CLOSER, REFINING)
        while job.phase != REFINING:
            job.turn()
        job.near(frames // 2 // 128 // BLOCK)
        for _ in range(20):
            job.turn()
        _now, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 12 << 20
    buckets, _known = level(opened(job), 5, job.rough)
    assert buckets[frames // 2 // 128 // 4**5, 0] == 255
    job.close()


def test_a_header_round_trips() -> None:
    header = Header(b"n" * 16, (123, -5), Shape.of(48000, 10**9), 3, True, 77)
    assert Header.unpacked(header.packed()) == header
    assert len(header.packed()) == HEADER_BYTES


def test_a_chunk_fits_at_least_one_block() -> None:
    assert Analyser(Shape.of(RATE, RATE), 2, "int16").chunk == 128 * BLOCK
