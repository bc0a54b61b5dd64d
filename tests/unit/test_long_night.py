"""A long night, compressed: half an hour of a random set, rendered block by block."""

from __future__ import annotations

import ctypes
import gc
import logging
from collections.abc import Iterator
from fractions import Fraction
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest

from crowdstream.offline.session import Session
from crowdstream.settings import Settings
from tests.support.held_resources import added, held
from tests.support.long_night import files
from tests.support.long_night.model import Action, Piece
from tests.support.long_night.offline import OfflineNight
from tests.support.long_night.plan import NightPlan
from tests.support.long_night.stick import Stick
from tests.support.offline_server import count, place, write

HOURS = 0.6
WARM_HOURS = 0.2
# Low, so that it takes seconds; nothing in the engine knows of a rate that it is made for.
RATE = 8000
MEMORY = 24_000_000
LONG_SECONDS = 1000.0  # 32 MB of 16-bit stereo: more than there is
PACE = 3.0  # seconds between two moves: 700 in a night
RICH = 0.15  # effects take most of the time
SEED = 4
LONG_AGO = 2**40  # frames: 288 days at 44.1 kHz
SILENCE_SECONDS = 4.0  # a platter may stand for 3 s
MISSING_PAGES = 15  # stems that fall silent for want of a page, in a night of 45 loads
MISSING_SHARE = 0.001
GROWTH_BYTES = 6_000_000


class Material:
    """The pieces and the bad files of all nights here."""

    def __init__(self, folder: Path) -> None:
        self.pieces: list[Piece] = files.pieces(LONG_SECONDS)
        self.paths = files.write_pieces(folder, self.pieces, RATE)
        self.bad = files.write_bad_files(folder / "bad")

    def night(self, origin: int = 0) -> OfflineNight:
        """A night that begins at that frame."""
        return OfflineNight(MEMORY, RATE, self.paths, self.bad, origin)

    def actions(self, seed: int, pace: float = PACE, rich: float = RICH) -> Iterator[Action]:
        """What is done in it."""
        night = NightPlan(
            seed, self.pieces, files.BAD_FILES, pace, records=False, visits=False, rich=rich
        )
        return night.actions()


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return Material(tmp_path_factory.mktemp("night"))


def own_bytes() -> int:
    """Memory of this process's own, without what is free and not given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


@pytest.mark.timeout(900)  # seconds where nothing else runs
def test_half_an_hour_of_music(material: Material, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "crowdstream")  # hundreds of refusals are not kept
    with material.night() as night:
        buffers, desk, arena = night.core.track_table, night.desk, night.loader._arena
        resources = held()
        before = (len(arena._free), arena.reserved, buffers.free_sources)
        night.play(material.actions(SEED), WARM_HOURS * 3600.0)
        night.clear_up()
        warm = own_bytes()
        night.restart()
        night.play(material.actions(SEED + 1), (HOURS - WARM_HOURS) * 3600.0)
        # Music played nearly all the time, of all formats, and all kinds of things were done.
        assert night.played > 0.75 * HOURS * 3600.0
        assert {"send", "load", "cue", "packet", "bad file", "together"} <= set(night.counts)
        assert night.counts["/done"] > 30
        assert night.finite
        assert 0.1 < night.peak <= 1.0
        assert night.silence < SILENCE_SECONDS
        assert not [words for words in night.refused_words if "internal error" in words]
        for name in ("late_commands", "pending_refused", "events_lost", "guarded"):
            assert int(desk.ledger[name]) == 0, name
        # A jump of a streamed track that nobody saw coming finds its page missing for a moment.
        assert int(desk.ledger["missing_pages"]) < MISSING_PAGES
        assert int(desk.ledger["missing_frames"]) < MISSING_SHARE * night.played * RATE
        night.clear_up()
        assert own_bytes() - warm < GROWTH_BYTES
        assert not desk.voices["state"].any()
        assert not np.abs(night.render(2048)).max()
        after = (len(arena._free) + len(arena._retired), arena.reserved, buffers.free_sources)
        assert after == before
        assert added(resources) == []
        assert not buffers.current
        assert int(desk.master["pending"]) == 0
        assert len(night.core.scheduler) == 0


def test_music_and_an_input_that_disappear_and_return(
    material: Material, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "crowdstream")
    removable = files.stick_pieces(60.0)
    tone = Piece("tone", 20.0, 1, 120.0, "float")
    sources = files.write_pieces(tmp_path, [*removable, tone], RATE)
    stick = Stick(tmp_path / "stick", {one.name: sources[one.name] for one in removable})
    plan = NightPlan(
        SEED, [*material.pieces, *removable], records=False, visits=False, rich=RICH, pace=PACE,
        faults=("stick", "input"), fault_seconds=60.0, inputs=True,
    )  # fmt: skip
    with OfflineNight(
        MEMORY, RATE, material.paths | stick.paths, material.bad, stick=stick,
        inputs=[sources["tone"]],
    ) as night:
        night.play(plan.actions(), 400.0)
        assert night.counts["fault"] >= 4
        assert 200.0 < night.input_seconds < 400.0
        assert night.played > 250.0 and night.finite and night.silence < SILENCE_SECONDS
        assert int(night.desk.inputs[0]["gaps"]) == 0
        night.clear_up()
        assert stick.there
        assert not np.abs(night.render(2048)).max()
    stick.close()


def test_the_set_does_not_know_how_long_the_desk_has_run(material: Material) -> None:
    digests = []
    for origin in (0, LONG_AGO):
        with material.night(origin) as night:
            night.play(material.actions(SEED + 2, 1.0, 1.0), 150.0)
            assert night.played > 100.0
            assert night.desk.frame >= origin + 150 * RATE
            digests.append(night.digest.hexdigest())
    assert digests[0] == digests[1]


def exact_beat(stretch: tuple[int, Fraction, Fraction, Fraction, int], frame: int) -> Fraction:
    """The beat at a frame of a stretch: its frame, beat, rate, end rate, length in frames."""
    first, beat, rate, end, length = stretch
    ramped = min(frame - first, length)
    if length:
        beat += rate * ramped + (end - rate) * Fraction(ramped * ramped, 2 * length)
    return beat + end * (frame - first - ramped)


def test_the_clock_is_exact_after_a_month(tmp_path: Path) -> None:
    # The tempo moves every hour for 30 days; nothing has to be rendered in between.
    random = np.random.default_rng(3)
    rate = 44100
    path = write(tmp_path / "count.wav", count(2.0))
    with Session(Settings(), 4_000_000, rate, 256) as session:
        desk, beats = session.desk, session.core.beat_clock
        desk.clock["frame"] = LONG_AGO
        session.render(256)
        session.send("/reset")
        session.render(1024)
        first = int(desk.clock["tempo_frame"])
        bpm = Fraction(120)
        stretch = (first, Fraction(0), bpm / 60 / rate, bpm / 60 / rate, 0)
        for _ in range(30 * 24):
            tempo = float(np.float32(random.uniform(60.0, 180.0)))
            session.send("/clock/tempo", tempo)
            session.render(1024)
            start, length = int(desk.clock["tempo_frame"]), int(desk.clock["tempo_left"])
            end = Fraction(tempo) / 60 / rate
            stretch = (start, exact_beat(stretch, start), stretch[3], end, length)
            desk.clock["frame"] += 3600 * rate
            session.render(256)
            assert abs(beats.beat(desk.frame) - exact_beat(stretch, desk.frame)) < 1e-6
        assert desk.frame - first > 30 * 24 * 3600 * rate
        assert beats.beat(desk.frame) > 1e6
        # And what is quantized begins on the exact frame.
        session.send("/deck/A/load", str(path))
        session.load()
        session.send("/clock/next", 4.0, "/deck/A/play")
        exact = exact_beat(stretch, desk.frame)
        wanted = next(
            frame for frame in range(desk.frame, desk.frame + 8 * rate)
            if int(exact_beat(stretch, frame) / 4) > int(exact / 4)
        )
        delay = int(desk.limiter["delay"])
        out = []
        while desk.frame < wanted + delay + 1000:
            begin = desk.frame
            out.append(session.render(256).copy())
            session.load()
            if (sound := np.flatnonzero(out[-1][:, 0])).size:
                assert place(out[-1][sound[0], 0]) == 0
                assert begin + int(sound[0]) - delay in (wanted - 1, wanted)
                return
        raise AssertionError("it never began")


def test_a_seed_is_a_night() -> None:
    def made(seed: int) -> list[Action]:
        night = NightPlan(seed, files.pieces(100.0), files.BAD_FILES, kills=("engine", "loader"))
        return list(takewhile(lambda action: action.at < 600.0, night.actions()))

    first = made(1)
    assert first == made(1) != made(2)
    assert [action.at for action in first] == sorted(action.at for action in first)
    kinds = {action.kind for action in first}
    plan = NightPlan(1, files.pieces(100.0), faults=("stick", "input"), inputs=True)
    more = list(takewhile(lambda action: action.at < 1500.0, plan.actions()))
    assert {action.words[0] for action in more if action.kind == "fault"} == {"stick", "input"}
    assert any(action.words[0] == "/input/1/level" for action in more)
    assert {"send", "load", "record", "record stop", "visitor", "kill", "packet"} <= kinds
