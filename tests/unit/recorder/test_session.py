"""Files of one recording: aligned to the frame, whatever the disk does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from crowdstream.desk.constants import TAP_CUE, TAP_DECK, TAP_MASTER
from crowdstream.desk.taps import LISTENERS, TapReader
from crowdstream.recorder import recording, writers
from crowdstream.recorder.session import Session
from crowdstream.recorder.writers import RecordingFile
from tests.support.recording import STEP, FullDisk, SlowDisk
from tests.support.render_harness import RenderHarness, noise
from tests.support.server import until


class Studio:
    """An engine that plays noise on deck A, and recordings of it.

    `out` is all audio it has played, `deck` the signal of the deck's tap.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.harness = RenderHarness()
        self.harness.start(0, self.harness.load(noise(44100, peak=0.3)), rate=1.01, loop=(0, 44100))
        self.events: list[dict[str, Any]] = []
        self.out = np.empty((0, 2), np.float32)
        self.deck = np.empty((0, 2), np.float32)
        self._tap = TapReader(self.harness.desk, TAP_DECK, LISTENERS)
        self.now = 0.0

    def session(self, frame: int, form: str = "float", **taps: int) -> Session:
        files = [(tap, self.folder / f"{name}.wav") for name, tap in taps.items()]
        return Session(
            self.harness.desk, 1, frame, files or [(TAP_MASTER, self.folder / "mix.wav")], form,
            self.events.append, lambda: self.now,
        )

    def render(self, frames: int) -> None:
        """Play without recording."""
        while frames > 0:
            part = min(frames, 10_000)
            self.out = np.concatenate([self.out, self.harness.render(part)])
            self.deck = np.concatenate([self.deck, self._tap.read()[1]])
            frames -= part

    def play(self, session: Session, frames: int, block: int = 256) -> None:
        while frames > 0:
            part = min(frames, block)
            self.render(part)
            session.work()
            frames -= part

    def end(self) -> None:
        self._tap.close()
        assert not self.harness.desk.taps["on"].any()
        self.harness.__exit__()

    def close(self, session: Session) -> None:
        until(lambda: session.closed)

    def read(self, name: str = "mix", form: str = "float") -> np.ndarray:
        samples, _ = soundfile.read(self.folder / f"{name}.wav", dtype="float32")
        assert soundfile.info(self.folder / f"{name}.wav").subtype == form.upper()
        return np.asarray(samples)

    def events_named(self, event: str) -> list[dict[str, Any]]:
        return [message for message in self.events if message["event"] == event]


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    made = Studio(tmp_path)
    yield made
    made.end()


def test_a_recording_contains_exactly_the_played_frames(studio: Studio) -> None:
    session = studio.session(1001, mix=TAP_MASTER, a=TAP_DECK, b=TAP_DECK + 1, cue=TAP_CUE)
    studio.play(session, 30_000)
    session.stop(40_321, at_once=False)
    studio.play(session, 15_000)
    studio.close(session)
    assert studio.events_named("began")[0]["frame"] == 1001
    assert studio.events_named("ended")[0]["frame"] == 40_321
    assert [message["frames"] for message in studio.events_named("closed")] == [39_320] * 4
    assert np.array_equal(studio.read(), studio.out[1001:40_321])
    assert np.array_equal(studio.read("a"), studio.deck[1001:40_321])
    assert not studio.read("b").any() and len(studio.read("b")) == 39_320
    assert session.lost == 0


@pytest.mark.parametrize(("form", "subtype"), [("wav16", "PCM_16"), ("wav24", "PCM_24")])
def test_integer_formats_are_quantized_from_the_played_frames(
    studio: Studio, form: str, subtype: str
) -> None:
    session = studio.session(500, form)
    studio.play(session, 20_000)
    session.stop(20_000, at_once=True)
    session.work()
    studio.close(session)
    error = np.abs(studio.read(form=subtype).astype(np.float64) - studio.out[500:])
    assert len(error) == 19_500 and error.max() <= STEP[form]


def test_a_late_tap_delays_the_beginning_of_all_files(studio: Studio) -> None:
    studio.render(5000)
    session = studio.session(2000, a=TAP_DECK, mix=TAP_MASTER)
    studio.play(session, 3000)
    session.stop(1500, at_once=False)  # already passed: it stops at the current frame
    session.work()
    studio.close(session)
    assert studio.events_named("began")[0]["frame"] == 5000
    assert studio.events_named("ended")[0]["frame"] == 8000
    assert np.array_equal(studio.read("a"), studio.deck[5000:])
    assert np.array_equal(studio.read("mix"), studio.out[5000:])


def test_all_files_end_on_the_same_frame(studio: Studio) -> None:
    session = studio.session(0, a=TAP_DECK, mix=TAP_MASTER)
    studio.play(session, 3000)
    studio.render(500)
    reader, recording_ = session._recordings[0]
    recording_.put(*reader.read())  # as when a block ends between two reads
    session.stop(2000, at_once=False)
    session.work()
    studio.close(session)
    assert [message["frames"] for message in studio.events_named("closed")] == [3500, 3500]


def test_a_recording_stopped_before_it_begins_leaves_no_file(studio: Studio) -> None:
    session = studio.session(9000)
    studio.play(session, 300)
    session.stop(400, at_once=False)
    session.work()
    studio.close(session)
    assert [message["frames"] for message in studio.events_named("closed")] == [0]
    assert not list(studio.folder.iterdir())


def test_all_files_are_created_or_none(studio: Studio) -> None:
    (studio.folder / "b.wav").write_text("mine")
    with pytest.raises(FileExistsError):
        studio.session(0, a=TAP_DECK, b=TAP_DECK + 1, c=TAP_DECK + 2)
    until(lambda: len(studio.events_named("closed")) == 1)
    assert [path.name for path in studio.folder.iterdir()] == ["b.wav"]
    assert (studio.folder / "b.wav").read_text() == "mine"


def test_a_stalled_engine_does_not_delay_a_stop(studio: Studio) -> None:
    session = studio.session(0)
    studio.play(session, 1000)
    session.stop(1500, at_once=True)
    session.work()
    studio.now = 0.9
    session.work()
    assert not session.ended
    studio.now = 1.1
    session.work()
    studio.close(session)
    assert np.array_equal(studio.read(), studio.out)


def test_frames_not_read_in_time_are_silent_and_reported(studio: Studio) -> None:
    session = studio.session(0)
    studio.play(session, 10_000)
    studio.render(250_000)
    studio.play(session, 10_000)
    session.stop(270_000, at_once=True)
    session.work()
    studio.close(session)
    reports = studio.events_named("lost")
    lost = reports[-1]["frames"]
    assert reports[-1]["path"].endswith("mix.wav") and 100_000 < lost < 250_000
    events_named = studio.read()
    expected = studio.out.copy()
    expected[10_000 : 10_000 + lost] = 0.0
    assert np.array_equal(events_named, expected)
    assert session.lost == lost


def test_a_slow_disk_affects_only_its_own_file(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "RecordingFile", SlowDisk)
    monkeypatch.setattr(recording, "QUEUE_SECONDS", 0.5)
    SlowDisk.stuck.clear()
    SlowDisk.free.clear()
    SlowDisk.gave_up.clear()
    session = studio.session(0)
    studio.play(session, 5000)
    SlowDisk.stuck.set()
    for _ in range(10):
        studio.play(session, 10_000, 1000)
        studio.now += 0.2
    reports = studio.events_named("lost")
    assert reports[0]["frames"] < 100_000 and reports[-1]["frames"] > reports[0]["frames"]
    assert len(reports) <= 3  # at most one per second
    SlowDisk.stuck.clear()
    SlowDisk.free.set()
    assert not SlowDisk.gave_up.is_set()  # nothing waited for a disk that accepts no data
    until(lambda: session._recordings[0][1]._taken == session._recordings[0][1]._done)
    studio.play(session, 5000)
    session.stop(110_000, at_once=True)
    session.work()
    studio.close(session)
    events_named = studio.read()
    lost = session.lost
    silent = np.logical_not(events_named.any(axis=1))
    assert np.array_equal(events_named[~silent], studio.out[: 110_000][~silent])
    assert len(events_named) == 110_000 and lost > 0
    assert abs(int(silent.sum()) - lost) < 5
    assert silent[105_000 - lost + 10 : 104_990].all()  # one gap, in its place


def test_a_full_disk_ends_its_file_and_others_continue(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        writers,
        "RecordingFile",
        lambda path, _roots: (FullDisk if path.stem == "full" else RecordingFile)(path),
    )
    session = studio.session(0, full=TAP_DECK, mix=TAP_MASTER)
    studio.play(session, 40_000)
    until(lambda: bool(studio.events_named("failed")))
    failed = studio.events_named("failed")[0]
    assert failed["path"].endswith("full.wav") and failed["reason"] == "No space left on device"
    studio.play(session, 40_000)
    session.stop(80_000, at_once=True)
    session.work()
    studio.close(session)
    assert np.array_equal(studio.read("mix"), studio.out)
    events_named = studio.read("full")
    assert len(events_named) == failed["frames"] > 20_000
    assert np.array_equal(events_named, studio.deck[: len(events_named)])


def test_a_recording_whose_files_have_all_failed_ends_by_itself(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "RecordingFile", FullDisk)
    session = studio.session(0)
    studio.play(session, 40_000)
    until(lambda: bool(studio.events_named("failed")))
    session.work()
    assert session.closed


def test_finish_writes_all_available_frames(studio: Studio) -> None:
    session = studio.session(0)
    studio.play(session, 20_000)
    studio.render(5000)
    session.finish(deadline=studio.now + 20)
    assert session.closed
    assert np.array_equal(studio.read(), studio.out)
