"""The /record commands: names, folders, frames, and reports of failures."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.control.processes.child import ChildError
from crowdstream.control.processes.recorder import RecorderClient
from crowdstream.desk.block import Desk
from crowdstream.osc.codec import build
from crowdstream.recorder import writers
from crowdstream.recorder.main import Recorder
from crowdstream.recorder.writers import RecordingFile
from tests.support.offline_server import RATE, Rig, bundle, count, write
from tests.support.recording import FullDisk, SmallFiles
from tests.support.server import until


class InProcess:
    """The recorder without a process: it works when control reads its messages."""

    def __init__(self, desk: Desk) -> None:
        self.finished = self.is_foreign = False
        self.exit_description = "signal 9"
        self.events: deque[dict[str, Any]] = deque()
        self.recorder = Recorder(desk, self.events.append)

    def send(self, message: dict[str, Any]) -> None:
        if not self.finished:
            self.recorder.handle(message)

    def push(self) -> None:
        """Nothing is queued."""

    def read(self) -> list[dict[str, Any]]:
        if self.finished:
            return []
        self.recorder.work()
        return [self.events.popleft() for _ in range(len(self.events))]

    def stop(self, seconds: float = 10.0) -> None:
        if not self.finished:
            self.recorder.finish()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def made(**settings: Any) -> Rig:
        rig = Rig(**settings)
        rig.core.recordings.launch = InProcess
        rigs.append(rig)
        return rig

    yield made
    for rig in rigs:
        rig.core.recordings.close()
        assert not rig.desk.taps["on"].any()
        rig.close()


@pytest.fixture
def rig(make: Callable[..., Rig]) -> Rig:
    return make()


def done(rig: Rig, address: str) -> dict[str, int]:
    """Name and frames of all files in `/done` replies for this address."""
    heard = [values for values in rig.heard("/done") if values[0] == address]
    return {Path(path).name: frames for _, path, frames in heard}


def finish(rig: Rig) -> dict[str, int]:
    """Stop, and wait for the files."""
    rig.send("/record/stop")
    closed(rig)
    return done(rig, "/record/stop")


def closed(rig: Rig) -> None:
    def idle() -> bool:
        rig.step()
        return bool(rig.status()["recording"] == 0)

    until(idle)


def track(tmp_path: Path) -> str:
    folder = tmp_path / "track"
    folder.mkdir()
    for name in ("drums", "bass", "my voice"):
        write(folder / f"{name}.wav", count(4) / 4)
    return str(folder)


def test_the_master_is_recorded_from_now_on(rig: Rig, tmp_path: Path, numbers: str) -> None:
    rig.send("/deck/A/load", numbers)
    rig.send("/deck/A/play")
    rig.seconds(0.1)
    rig.send("/record/start", str(tmp_path / "mix.wav"), "float")
    rig.seconds(1)
    begin = done(rig, "/record/start")["mix.wav"]
    assert begin - int(0.1 * RATE) < 2 * rig.block
    status = rig.status()
    assert status["recording"] == 1 and status["record_lost"] == 0
    rig.send("/record/status")
    files, _, lost, path = rig.heard("/record/status.reply")[-1]
    assert (files, lost, path) == (1, 0, str(tmp_path / "mix.wav"))
    frames = finish(rig)["mix.wav"]
    assert frames - RATE < 2 * rig.block
    samples, _ = soundfile.read(tmp_path / "mix.wav", dtype="float32")
    assert np.array_equal(samples, rig.out[begin : begin + frames])
    assert samples.any()


def test_each_deck_and_stem_gets_a_file_of_its_own(rig: Rig, tmp_path: Path) -> None:
    rig.send("/deck/B/load", track(tmp_path))
    rig.seconds(0.1)
    rig.send("/record/start", str(tmp_path / "a.flac"), "decks", "stems", "cue", "a/8", "B", "B/1")
    rig.seconds(0.3)
    frames = finish(rig)
    assert sorted(frames) == [
        "a-A-8.flac", "a-B-1-drums.flac", "a-B-2-bass.flac", "a-B-3-my voice.flac", "a-cue.flac",
        "a-deck-A.flac", "a-deck-B.flac", "a-deck-C.flac", "a-deck-D.flac",
    ]
    assert len(set(frames.values())) == 1
    assert len(set(done(rig, "/record/start").values())) == 1
    for name, length in frames.items():
        assert soundfile.info(tmp_path / name).frames == length


def test_bundles_start_and_stop_a_recording_on_their_frame(
    rig: Rig, tmp_path: Path, numbers: str
) -> None:
    rig.send("/deck/A/load", numbers)
    rig.send("/deck/A/play")
    rig.raw(bundle(0.7, build("/record/start", (str(tmp_path / "a.wav"), "float"))))
    rig.raw(bundle(1.2, build("/record/stop", ())))
    # The next file begins where this one ends.
    rig.raw(bundle(1.2, build("/record/start", (str(tmp_path / "b.wav"), "float"))))
    rig.raw(bundle(1.5, build("/record/stop", ())))
    rig.seconds(2)
    closed(rig)
    begins, frames = done(rig, "/record/start"), done(rig, "/record/stop")
    assert frames["a.wav"] == pytest.approx(RATE / 2, abs=2)
    assert begins["b.wav"] == begins["a.wav"] + frames["a.wav"]
    parts = [soundfile.read(tmp_path / name, dtype="float32")[0] for name in ("a.wav", "b.wav")]
    begin, end = begins["a.wav"], begins["b.wav"] + frames["b.wav"]
    assert np.array_equal(np.concatenate(parts), rig.out[begin:end])
    assert not rig.fails() and not rig.heard("/late")


def test_a_late_start_reports_its_delay(rig: Rig, tmp_path: Path) -> None:
    rig.seconds(1)
    rig.raw(bundle(0.5, build("/record/start", (str(tmp_path / "a.wav"),))))
    rig.seconds(0.5)
    (address, seconds), = rig.heard("/late")
    assert address == "/record/start"
    assert 0.45 < seconds < 0.55
    rig.raw(bundle(1.2, build("/record/stop", ())))
    closed(rig)
    assert [address for address, _ in rig.heard("/late")] == ["/record/start", "/record/stop"]
    begin = done(rig, "/record/start")["a.wav"]
    assert done(rig, "/record/stop")["a.wav"] == soundfile.info(tmp_path / "a.wav").frames
    assert begin >= RATE


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("{}/a.mp3",), "recordings end in .wav or .flac, not in .mp3"),
        (("{}/a.flac", "wav16"), "a wav16 recording ends in .wav"),
        (("{}/a.wav", "wav16", "float"), "wav16 and float are several formats"),
        (("{}/a.wav", "E"), "'E' must be one of wav16"),
        (("{}/a.wav", "A/9"), "'A/9' must be one of"),
        (("{}/a.wav", "A/0"), "'A/0' must be one of"),
        (("{}/a.wav", "A/"), "'A/' must be one of"),
        (("{}/a.wav", "stems"), "no deck has a track"),
        (("{}",), "this is a folder"),
        (("{}/none/a.wav",), "there is no such folder"),
        (("{}/there.wav",), "it exists, and recordings never overwrite files"),
        (("{}/there",), "it exists"),
        (("{}/link.wav",), "it exists"),
        (("{}/there.wav/x.wav",), "Not a directory"),
        (("/proc/a.wav",), "there is no such folder"),
        (("{}/" + "x" * 300 + ".wav",), "name too long"),
    ],
)
def test_invalid_recordings_are_refused_with_the_reason(
    rig: Rig, tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    (tmp_path / "there.wav").write_text("mine")
    (tmp_path / "link.wav").symlink_to(tmp_path / "there.wav")
    before = rig.state()
    rig.send("/record/start", *[word.replace("{}", str(tmp_path)) for word in arguments])
    rig.seconds(0.05)
    (failure,) = rig.fails()
    assert failure.startswith("/record/start ") and reason in failure
    assert rig.state() == before
    assert rig.status()["recording"] == 0
    assert not rig.desk.taps["on"].any()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.wav", "there.wav"]
    assert (tmp_path / "there.wav").read_text() == "mine"


def test_only_one_recording_runs_at_a_time(rig: Rig, tmp_path: Path) -> None:
    rig.send("/record/stop")
    assert rig.fails() == ["/record/stop nothing is being recorded"]
    rig.send("/record/start", str(tmp_path / "a.wav"))
    rig.seconds(0.1)
    rig.send("/record/start", str(tmp_path / "b.wav"))
    assert "a.wav is being recorded: send /record/stop first" in rig.fails()[1]
    finish(rig)
    rig.send("/record/start", str(tmp_path / "b.wav"))
    rig.seconds(0.1)
    assert list(finish(rig)) == ["a.wav", "b.wav"]


def test_recordings_stay_in_their_folders(
    make: Callable[..., Rig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("media", "own", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "own" / "way").symlink_to(tmp_path / "other")
    monkeypatch.chdir(tmp_path / "other")
    monkeypatch.setenv("HOME", str(tmp_path / "other"))

    def recorded(rig: Rig, path: str) -> str:
        rig.send("/record/start", path)
        rig.seconds(0.05)
        if rig.status()["recording"] == 0:
            assert "outside the media folders" in rig.fails()[-1]
            return ""
        rig.send("/record/stop")
        closed(rig)
        return str(rig.heard("/done")[-1][1])

    free = make()
    assert recorded(free, "a.wav") == str(tmp_path / "other" / "a.wav")
    assert recorded(free, "~/b.wav") == str(tmp_path / "other" / "b.wav")
    bound = make(media_root=[tmp_path / "media"], record_folder=tmp_path / "own")
    assert recorded(bound, "c.wav") == str(tmp_path / "own" / "c.wav")
    assert recorded(bound, str(tmp_path / "media" / "d.wav")) == str(tmp_path / "media" / "d.wav")
    assert not recorded(bound, "../other/e.wav")
    assert not recorded(bound, "way/f.wav")
    assert not recorded(bound, "~/g.wav")
    own = make(record_folder=tmp_path / "own")
    assert not recorded(own, str(tmp_path / "media" / "h.wav"))
    media = make(media_root=[tmp_path / "media"])
    assert not recorded(media, "i.wav")


def test_a_full_disk_is_reported_at_once_and_playback_continues(
    rig: Rig, tmp_path: Path, numbers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "RecordingFile", FullDisk)
    rig.send("/deck/A/load", numbers)
    rig.send("/deck/A/play")
    rig.core.handle_packet(build("/notify", (1,)), ("127.0.0.1", 4))
    rig.send("/record/start", str(tmp_path / "a.wav"))
    def failed() -> bool:
        rig.step()
        return bool(rig.heard("/record/failed"))

    until(failed)
    assert rig.heard("/record/failed") == [
        (str(tmp_path / "a.wav"), "No space left on device")
    ] * 2  # to the subscriber and to the client that started it
    assert rig.status()["recording"] == 0
    rig.send("/record/stop")
    assert rig.fails() == ["/record/stop nothing is being recorded"]
    rig.seconds(0.5)
    assert rig.out[-100:].any()
    samples, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    begin = done(rig, "/record/start")["a.wav"]
    assert len(samples) > 30_000
    assert np.array_equal(samples, rig.out[begin : begin + len(samples)])  # 16-bit stems, exact


def test_a_recording_continues_in_another_file_at_the_maximum_file_size(
    rig: Rig, tmp_path: Path, numbers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        writers, "RecordingFile",
        lambda path, roots: (RecordingFile if "deck" in path.name else SmallFiles)(path, roots),
    )
    rig.send("/deck/A/load", numbers)
    rig.send("/deck/A/play")
    rig.send("/record/start", str(tmp_path / "a.wav"), "float", "master", "A")

    def continued() -> bool:
        rig.step()
        return len(rig.heard("/record/continued")) >= 2

    until(continued)
    paths = [tmp_path / name for name in ("a.wav", "a-2.wav", "a-3.wav")]
    assert [(values[0], values[2]) for values in rig.heard("/record/continued")[:2]] == [
        (str(path), str(following)) for path, following in pairwise(paths)
    ]
    note = rig.core.recordings.to_state()
    assert note["sessions"][0]["parts"][str(paths[0])][-1] == [str(paths[2]), 0]
    assert set(rig.core.recordings.paths()) == {str(paths[2]), str(tmp_path / "a-deck-A.wav")}
    begin = done(rig, "/record/start")["a.wav"]
    frames = finish(rig)
    number = len(rig.heard("/record/continued")) + 1
    names = ["a.wav", *(f"a-{n}.wav" for n in range(2, number + 1))]
    assert sorted(frames) == sorted([*names, "a-deck-A.wav"])
    parts = [soundfile.read(tmp_path / name, dtype="float32")[0] for name in names]
    assert [len(part) for part in parts] == [frames[name] for name in names]
    whole = np.concatenate(parts)
    assert len(whole) == frames["a-deck-A.wav"]
    assert np.array_equal(whole, rig.out[begin : begin + len(whole)])
    assert not rig.fails() and not rig.heard("/record/failed")


def test_lost_frames_are_reported(rig: Rig, tmp_path: Path) -> None:
    rig.send("/record/start", str(tmp_path / "a.wav"))
    rig.seconds(0.1)
    tick, rig.core.recordings.tick = rig.core.recordings.tick, lambda: None  # type: ignore[method-assign]
    rig.seconds(5)
    rig.core.recordings.tick = tick  # type: ignore[method-assign]
    rig.seconds(0.1)
    (path, lost), = rig.heard("/record/lost")
    assert path == str(tmp_path / "a.wav") and 2 * RATE < lost < 5 * RATE
    frames = finish(rig)["a.wav"]
    assert frames > 5 * RATE
    assert rig.status()["record_lost"] in (0, lost)


def test_a_dead_recorder_is_reported_and_replaced(rig: Rig, tmp_path: Path) -> None:
    rig.send("/record/start", str(tmp_path / "a.wav"), "decks")
    rig.seconds(0.1)
    process = rig.core.recordings._process
    assert isinstance(process, InProcess)
    process.finished = True
    rig.send("/record/stop")
    rig.step()
    notified = rig.heard("/record/failed")
    assert len(notified) == 4 and "the recorder has died (signal 9)" in notified[0][1]
    assert len(rig.fails()) == 1 and "the recorder has died" in rig.fails()[0]
    assert not rig.desk.taps["on"].any() and rig.status()["recording"] == 0
    for _, recording in process.recorder._sessions[0]._recordings:
        recording.finish()
    rig.send("/record/start", str(tmp_path / "b.wav"))
    rig.seconds(0.1)
    assert "b.wav" in finish(rig)


def test_a_recorder_that_cannot_be_started_refuses_the_recording(rig: Rig, tmp_path: Path) -> None:
    def refuse(_desk: Desk) -> InProcess:
        raise ChildError("can't start the recorder: Resource temporarily unavailable")

    rig.core.recordings.launch = refuse
    rig.send("/record/start", str(tmp_path / "a.wav"))
    assert rig.fails() == [
        "/record/start can't start the recorder: Resource temporarily unavailable"
    ]
    assert not rig.desk.taps["on"].any()


def test_a_recording_that_begins_right_after_a_restart_of_control_is_known(
    rig: Rig, tmp_path: Path
) -> None:
    """The recorder's answer to control's first question is older than the recording."""
    nothing: dict[str, Any] = {"number": 3, "sessions": []}
    rig.core.recordings.restore(nothing, lambda _one: None, InProcess(rig.desk))
    rig.send("/record/start", str(tmp_path / "a.wav"))
    rig.seconds(0.2)
    assert rig.status()["recording"] == 1 and list(done(rig, "/record/start")) == ["a.wav"]
    assert list(finish(rig)) == ["a.wav"]


def test_a_recording_that_began_as_control_died_does_not_run_on_unseen(
    rig: Rig, tmp_path: Path
) -> None:
    recorder = InProcess(rig.desk)
    path = tmp_path / "a.wav"
    recorder.send({
        "do": "start", "id": 4, "frame": 0, "format": "wav16", "files": [(0, str(path))],
        "roots": [], "reserve": 0,
    })  # fmt: skip
    events: list[str] = []
    rig.core.recordings.report = lambda _kind, text: events.append(text)
    nothing: dict[str, Any] = {"number": 3, "sessions": []}
    rig.core.recordings.restore(nothing, lambda _one: None, recorder)
    rig.send("/record/start", str(tmp_path / "b.wav"))
    rig.seconds(0.2)
    assert "start it again" in events[0] and rig.status()["recording"] == 1
    assert list(finish(rig)) == ["b.wav"]

    def ended() -> bool:
        rig.step()
        return not recorder.recorder.busy

    until(ended)
    assert soundfile.info(path).frames < RATE


def test_recordings_have_failed_if_the_recorder_died_with_control(
    rig: Rig, tmp_path: Path
) -> None:
    rig.send("/record/start", str(tmp_path / "a.wav"))
    rig.seconds(0.2)
    saved = rig.core.recordings.to_state()
    recordings = rig.core.recordings = RecorderClient(rig.desk, rig.core.notify, InProcess)
    events: list[str] = []
    recordings.report = lambda _kind, text: events.append(text)
    recordings.restore(saved, partial(ServerRequest.from_state, rig.core), None)
    assert "a recording failed: the recorder has died (at the same time as control)" in events[0]
    assert rig.status()["recording"] == 0 and not rig.desk.taps["on"].any()
    rig.send("/record/start", str(tmp_path / "b.wav"))
    rig.seconds(0.2)
    assert list(finish(rig)) == ["b.wav"] and not rig.fails()
