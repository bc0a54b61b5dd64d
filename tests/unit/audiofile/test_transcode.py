"""Files that libsndfile can't play exactly are transcoded once, and play exactly to the frame."""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from crowdstream.audiofile import transcode, transcoder
from crowdstream.audiofile.containers.mp4 import Timing, read_timing
from crowdstream.audiofile.duration import duration_frames
from crowdstream.audiofile.errors import (
    AudioFileError,
    DecoderMissing,
    EmptyAudio,
    NotAudio,
    OutsideMediaRoot,
    TruncatedAudio,
)
from crowdstream.audiofile.reader import open_stem
from crowdstream.audiofile.stems import track_files
from crowdstream.audiofile.stems.folder import FileAccess
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import PAGE_BYTES
from crowdstream.loader.loader import Loader
from tests.support.transcoding import RATE, InProcessTranscoder, encode, lag, noise, transcode_here
from tests.unit.audiofile.containers.test_mp4 import box, free


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return transcode_here(monkeypatch, tmp_path / "cache")


def read(path: Path, rate: int | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    with open_stem(path, rate) as reader:
        return reader.read(0, reader.frames), reader.warnings


def entries(cache: Path) -> list[str]:
    return sorted(entry.name for entry in cache.iterdir())


@pytest.mark.parametrize(
    ("name", "codec", "bits", "form"),
    [
        ("a.m4a", "alac", 16, "s16p"), ("a.m4a", "alac", 24, "s32p"), ("a.tta", "tta", 16, "s16"),
        ("a.wv", "wavpack", 16, "s16p"), ("a.mka", "flac", 16, "s16"),
    ],
)  # fmt: skip
def test_lossless_files_are_bit_identical(
    tmp_path: Path, cache: Path, name: str, codec: str, bits: int, form: str
) -> None:
    top = 1 << (bits - 1)
    wanted = np.random.default_rng(1).integers(-top, top, (10_001, 2))
    wanted = (wanted << (32 - bits)).astype(np.int32) if bits == 24 else wanted.astype(np.int16)
    path = encode(tmp_path / name, codec, wanted, form, block=4096)
    found, warnings = read(path)
    assert not warnings and found.dtype == (np.int16 if bits == 16 else np.float32)
    exact = wanted if bits == 16 else (wanted / 2.0**31).astype(np.float32)
    assert np.array_equal(found, exact)
    assert duration_frames(path) == (10_001, RATE)
    # From any position, and at another rate with the length that the deck shows.
    with open_stem(path, 48_000) as reader:
        assert reader.frames == -(-10_001 * 48_000 // RATE)
    with open_stem(path, None) as reader:
        assert np.array_equal(reader.read(7777, 100), exact[7777:7877])
        status = path.stat()
        assert (reader.path, reader.identity) == (path, (status.st_size, status.st_mtime_ns))


@pytest.mark.parametrize("frames", [RATE, RATE + 1, RATE + 1023])
def test_aac_is_aligned_with_wav_to_the_frame(tmp_path: Path, cache: Path, frames: int) -> None:
    wanted = noise(frames)
    path = encode(tmp_path / "a.m4a", "aac", wanted)
    assert duration_frames(path) == (frames, RATE), "known before it is transcoded"
    found, warnings = read(path)
    assert not warnings and len(found) == frames
    assert duration_frames(path) == (frames, RATE)
    assert lag(found[:, 0] / 32768, wanted[:, 0]) == 0
    error = found / 32768 - wanted
    assert np.sqrt(np.mean(error[-500:] ** 2)) < 0.1 * np.sqrt(np.mean(wanted**2)), "at its end"


def test_opus_and_wma_play(tmp_path: Path, cache: Path) -> None:
    wanted = noise(48_000)
    found, _ = read(encode(tmp_path / "a.webm", "libopus", wanted, "flt", 48_000, 960))
    assert len(found) == 48_000 and lag(found[:, 0] / 32768, wanted[:, 0]) == 0
    found, _ = read(encode(tmp_path / "a.wma", "wmav2", noise(RATE), block=2048))
    assert abs(len(found) - RATE) <= 4096


def timed(movie: int, media: int, frames: int, *edits: tuple[int, int], tags: bytes = b"") -> bytes:
    def head(scale: int, duration: int) -> bytes:
        return bytes(12) + scale.to_bytes(4, "big") + duration.to_bytes(4, "big")

    listed = b"".join(
        span.to_bytes(4, "big") + start.to_bytes(4, "big", signed=True) + bytes(4)
        for span, start in edits
    )
    track = box(
        b"trak", box(b"edts", box(b"elst", bytes(4), len(edits).to_bytes(4, "big"), listed)),
        box(b"mdia", box(b"mdhd", head(media, frames)), box(b"hdlr", bytes(8), b"soun")),
    )  # fmt: skip
    user_data = box(b"udta", box(b"meta", bytes(4), box(b"ilst", tags))) if tags else b""
    return box(b"ftyp", b"M4A ") + box(b"moov", box(b"mvhd", head(movie, 1)), track, user_data)


@pytest.mark.parametrize(
    ("data", "lead", "frames"),
    [
        (timed(1000, RATE, 45_124, (1000, 1024)), 0, 44_100),  # rounded to milliseconds
        (timed(RATE, RATE, 47_104, (44_100, 2112)), 0, 44_100),  # padding after the audio
        (timed(600, RATE, 47_104, (600, 2112)), 0, 44_100),
        (timed(1000, RATE, 45_124, (500, -1), (1000, 1024)), 22_050, 44_100),
        (timed(1000, RATE, 45_124), 0, 45_124),
        (
            timed(600, RATE, 47_104, (700, 0), tags=free(
                b"iTunSMPB", b" 00000000 00000840 000001BC 000000000000AC44 00000000"
            )), 0, 44_100,
        ),
    ],
)  # fmt: skip
def test_delay_and_padding_are_read_from_the_container(data: bytes, lead: int, frames: int) -> None:
    [timing] = read_timing(lambda count, at: data[at : at + count], len(data))
    assert timing.length is not None
    found = float(timing.lead * RATE), float(timing.length * RATE), float(timing.rate)
    assert found == (lead, frames, RATE)
    for end in range(0, len(data), 7):  # truncated anywhere
        part = data[:end]
        assert len(read_timing(lambda count, at, of=part: of[at : at + count], end)) <= 1  # type: ignore[misc]


def test_an_edit_list_inserts_silence_before_the_audio(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steady = np.full((5000, 2), 1234, np.int16)
    path = encode(tmp_path / "a.m4a", "alac", steady, "s16p", block=4096)
    [timing] = read_timing(lambda count, at: path.read_bytes()[at : at + count], 10**6)
    later = Timing(timing.lead + 1, timing.length, timing.rate)
    monkeypatch.setattr(transcoder, "read_timing", lambda _read, _size: [later])
    found, _ = read(path)
    assert len(found) == RATE + 5000 and not found[:RATE].any() and (found[RATE:] == 1234).all()


def test_each_version_of_a_file_is_transcoded_once(tmp_path: Path, cache: Path) -> None:
    path = encode(tmp_path / "Nächte.m4a", "aac", noise(4096))
    read(path)
    [first] = entries(cache)
    flac = next((cache / first).glob("*.flac"))
    before = flac.stat()
    read(path)
    assert flac.stat().st_mtime_ns == before.st_mtime_ns and first.startswith("Nächte-")
    encode(path, "aac", noise(8192))
    assert len(read(path)[0]) == 8192
    [second] = entries(cache)
    assert second != first


def test_the_least_recently_used_files_leave_a_full_cache(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [encode(tmp_path / f"{n}.m4a", "aac", noise(RATE, n)) for n in range(4)]
    for path in paths[:3]:
        read(path)
    old = time.time() - 2 * transcoder.MIN_AGE_SECONDS
    for number, entry in enumerate(entries(cache)):
        os.utime(cache / entry / transcode.UNPACKED, (old + number, old + number))
    read(paths[0])  # now used again
    left = cache / ".unpacking-x"
    left.mkdir()
    os.utime(left, (old, old))
    monkeypatch.setattr(transcoder, "MAX_CACHE_BYTES", 1)
    read(paths[3])
    assert [name[0] for name in entries(cache)] == ["0", "3"], "the most recently used one stays"


def test_damaged_files_are_refused_and_leave_nothing_in_the_cache(
    tmp_path: Path, cache: Path
) -> None:
    whole = encode(tmp_path / "a.m4a", "aac", noise(RATE)).read_bytes()
    for name, data, kind in (
        ("cut.m4a", whole[: len(whole) // 2], TruncatedAudio),
        ("rubbish.m4a", b"rubbish" * 1000, AudioFileError),
        ("empty.m4a", b"", EmptyAudio),
        ("list.m4a", b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n/etc/x\n", AudioFileError),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(kind, match=name):
            open_stem(path, RATE)
        assert duration_frames(path) is None
    assert not cache.exists() or entries(cache) == []
    silent = tmp_path / "a.mka"
    silent.write_bytes(whole)  # whatever its extension
    assert len(read(silent)[0]) == RATE


def test_damage_in_the_middle_plays_as_silence_with_a_warning(tmp_path: Path, cache: Path) -> None:
    wanted = np.random.default_rng(2).integers(-9000, 9000, (10 * 4096, 2)).astype(np.int16)
    path = encode(tmp_path / "a.m4a", "alac", wanted, "s16p", block=4096)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    packet = (data.index(b"moov") - 4 - start) // 10
    at = start + 4 * packet + 100
    data[at - 300 : at + packet] = b"\xff" * (300 + packet)
    path.write_bytes(data)
    found, warnings = read(path)
    assert len(found) == len(wanted) and np.array_equal(found[: 3 * 4096], wanted[: 3 * 4096])
    assert np.array_equal(found[-3 * 4096 :], wanted[-3 * 4096 :])
    assert warnings and "damaged and play as silence" in warnings[0]


def test_a_truncated_file_plays_to_its_end_with_a_warning(tmp_path: Path, cache: Path) -> None:
    wanted = np.random.default_rng(2).integers(-9000, 9000, (RATE, 2)).astype(np.int16)
    path = encode(tmp_path / "a.mka", "flac", wanted, "s16", block=4096)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    found, warnings = read(path)
    assert RATE // 2 < len(found) < 0.6 * RATE and np.array_equal(found, wanted[: len(found)])
    assert warnings and "0.5 s to 1.0 s are missing" in warnings[0]
    path = encode(tmp_path / "a.tta", "tta", wanted, "s16", block=4096)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(TruncatedAudio, match="nothing in it can be decoded"):
        read(path)  # one frame of TTA lasts a second


def test_without_pyav_the_error_names_the_remedy(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode(tmp_path / "bass.m4a", "aac", noise(4096))
    assert track_files.is_audio("a.m4a") and not track_files.is_foreign("a.m4a")
    for module in (transcode, track_files):
        monkeypatch.setattr(module, "can_transcode", lambda: False)
    assert not track_files.is_audio("a.m4a") and track_files.is_foreign("a.m4a")
    with pytest.raises(DecoderMissing) as caught:
        open_stem(path, RATE)
    remedy = f"needs PyAV: {shlex.quote(sys.executable)} -m pip install 'av>=15.1'"
    assert caught.value.reason == f"it is an MP4 file (AAC or ALAC), which {remedy}"
    with pytest.raises(EmptyAudio, match=r"bass\.m4a: playing \.m4a files needs PyAV"):
        track_files.find_stems(tmp_path)
    soundfile.write(tmp_path / "drums.wav", np.zeros((4096, 2)), RATE)
    soundfile.write(tmp_path / "vocals.wav", np.zeros((4096, 2)), RATE)
    [lost] = track_files.find_stems_by_audio(tmp_path).left_out
    assert lost.lost and lost.reason == f"playing .m4a files {remedy}"


def test_files_outside_the_media_roots_are_not_transcoded(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "media").mkdir()
    encode(tmp_path / "a.m4a", "aac", noise(4096))
    (tmp_path / "media" / "a.m4a").symlink_to(tmp_path / "a.m4a")
    with pytest.raises(OutsideMediaRoot):
        open_stem(tmp_path / "media" / "a.m4a", RATE, roots=[tmp_path / "media"])
    assert not cache.exists()


class Delayed(InProcessTranscoder):
    """A transcoder whose end is not reported until `ready` is set."""

    ready = False
    begun = 0

    def __init__(self, request: str, fd: int) -> None:
        super().__init__(request, fd)
        Delayed.begun += 1


def test_a_loader_loads_other_files_during_transcoding(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Delayed.ready, Delayed.begun = False, 0
    monkeypatch.setattr(transcode, "launch", Delayed)
    real = transcode.Transcription.done
    monkeypatch.setattr(transcode.Transcription, "done", lambda one: Delayed.ready and real(one))
    paths = [encode(tmp_path / f"{n}.m4a", "aac", noise(RATE, n)) for n in range(4)]
    bad = tmp_path / "bad.m4a"
    bad.write_bytes(b"\0\0\0\x18ftypM4A rubbish")
    soundfile.write(tmp_path / "a.wav", np.zeros((RATE, 2)), RATE)
    desk = Desk.create(64 * PAGE_BYTES, RATE)
    events: list[dict[str, Any]] = []
    loader = Loader(desk, events.append, waits=False)
    for number, path in enumerate([paths[0], bad, *paths[1:], tmp_path / "a.wav"], 1):
        loader.load(number, [(number, str(path))], 0.0)
    for _ in range(20):
        loader.work()
    assert {one["track"] for one in events} == {6} and loader.watching()
    assert Delayed.begun == transcode.MAX_AT_ONCE
    loader.unload(5)
    assert events[-1] == {"event": "unloaded", "track": 5}
    Delayed.ready = True
    for _ in range(100):
        loader.work()
    ended = {one["track"]: one for one in events if one["event"] in ("opened", "failed")}
    assert sorted(ended) == [1, 2, 3, 4, 6]
    assert all(ended[number]["frames"] == RATE for number in (1, 3, 4))
    assert "bad.m4a" in str(ended[2]["reason"]) and "damaged" in str(ended[2]["reason"])
    loader.unload(6)
    assert not loader.watching()
    loader.close()


def test_a_transcoded_track_can_be_adopted_after_its_loader_has_died(
    tmp_path: Path, cache: Path
) -> None:
    path = encode(tmp_path / "a.m4a", "aac", noise(RATE))
    read(path)
    with open_stem(path, RATE, flac_of=transcode.BackgroundTranscoder()) as reader:
        assert reader.identity == (path.stat().st_size, path.stat().st_mtime_ns)


@pytest.mark.parametrize("loss", ["flac", "marker", "both", "deleted"])
def test_files_lost_in_a_power_failure_are_transcoded_again(
    tmp_path: Path, cache: Path, loss: str
) -> None:
    path = encode(tmp_path / "a.m4a", "aac", noise(RATE))
    found, _ = read(path)
    [folder] = cache.iterdir()
    flac = next(folder.glob("*.flac"))
    if loss in ("flac", "both"):
        os.truncate(flac, 0)
    if loss in ("marker", "both"):
        os.truncate(folder / transcode.UNPACKED, 0)
    if loss == "deleted":
        flac.unlink()
    assert np.array_equal(read(path)[0], found)
    with open_stem(path, RATE, flac_of=transcode.BackgroundTranscoder()) as reader:
        assert reader.frames == RATE


def test_a_video_without_audio_is_refused(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "a.m4a"
    path.write_bytes(box(b"ftyp", b"M4A ", bytes(4)) + box(b"moov", box(b"mvhd", bytes(100))))
    with pytest.raises(NotAudio, match=r"no audio|can't be decoded"):
        open_stem(path, RATE)


def test_aac_and_wav_stems_make_one_track(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "song"
    folder.mkdir()
    sounds = {name: noise(2 * RATE, seed) for seed, name in enumerate(("drums", "bass", "vocals"))}
    for name in ("drums", "bass"):
        soundfile.write(folder / f"{name}.wav", sounds[name], RATE, "PCM_16")
    encode(folder / "vocals.m4a", "aac", sounds["vocals"])
    encode(folder / "song.m4a", "aac", 0.5 * np.sum(list(sounds.values()), axis=0))
    found = track_files.find_stems_by_audio(folder)
    assert [stem.name for stem in found.stems] == ["drums", "bass", "vocals"]
    assert [(one.path.name, one.lost) for one in found.left_out] == [("song.m4a", False)]
    read_in = [read(stem.path, RATE)[0][:, 0] / 32768 for stem in found.stems]
    assert [len(one) for one in read_in] == [2 * RATE] * 3
    pairs = zip(read_in, sounds.values(), strict=True)
    assert [lag(one, wanted[:, 0]) for one, wanted in pairs] == [0, 0, 0]


def test_listing_files_does_not_transcode_them(tmp_path: Path, cache: Path) -> None:
    for number in range(3):
        encode(tmp_path / f"Song {number}.m4a", "aac", noise(RATE * (number + 1)))
    verdict = track_files.folder_verdict(tmp_path, FileAccess())
    assert verdict is not None and verdict.kind == "tracks" and verdict.is_final
    assert not cache.exists()
