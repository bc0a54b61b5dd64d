"""Sample pads: resident, beside the decks, at their own speed, to the master or the cue bus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crowdstream.control.decks.sampler import MAX_SAMPLE_SECONDS
from crowdstream.desk.constants import SAMPLE_PADS
from crowdstream.engine.voice.voice import FADE_OUT
from crowdstream.osc.codec import build
from tests.support.offline_server import RATE, Rig, bundle, count, level, place, write
from tests.unit.control.state.test_snapshotter import RestartableRig

LOW_RATE = 8000
SOFT = 0.125


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("samples")
    write(made / "loud.wav", level(3))
    write(made / "soft.wav", level(0.5, SOFT))
    write(made / "count.wav", count(1))
    return made


def load(rig: Rig, pad: int, file: Path) -> None:
    rig.send(f"/sample/{pad}/load", str(file))
    rig.seconds(0.1)
    assert rig.fails() == []


@pytest.fixture
def loaded(rig: Rig, folder: Path) -> Iterator[Rig]:
    """Deck A plays a constant; pad 1 has a shorter one."""
    rig.send("/deck/A/load", str(folder / "loud.wav"))
    load(rig, 1, folder / "soft.wav")
    rig.send("/deck/A/play")
    rig.seconds(0.1)
    yield rig


def test_pads_sound_over_the_decks_and_over_each_other(loaded: Rig, folder: Path) -> None:
    for pad in range(2, SAMPLE_PADS + 1):
        load(loaded, pad, folder / "soft.wav")
    loaded.send("/mix/samples", 0.25)
    loaded.run(2048)
    loaded.send("/sample/*/play")
    loaded.run(2048)
    assert loaded.out[-1].tolist() == [0.25 + SAMPLE_PADS * SOFT / 4] * 2
    assert loaded.status()["samples"] == SAMPLE_PADS
    loaded.seconds(0.5)
    assert loaded.out[-1].tolist() == [0.25, 0.25]
    assert loaded.status()["samples"] == 0


def test_a_sample_is_played_at_its_own_speed_whatever_the_tempo(rig: Rig, folder: Path) -> None:
    load(rig, 1, folder / "count.wav")
    rig.send("/set_tempo", 180.0)
    rig.seconds(0.1)
    begin = rig.desk.frame
    rig.send("/sample/1/play")
    rig.seconds(0.5)
    first = rig.first_sound(begin)
    heard = [place(sample) for sample in rig.out[first : first + 8000, 0]]
    assert heard == list(range(8000))
    rig.send("/set_tempo", 40.0)
    rig.seconds(0.1)
    assert rig.fails() == []


def test_no_start_comes_before_all_of_the_sample_is_in_memory(folder: Path) -> None:
    with Rig(pages_a_block=1, max_preload=1.0) as rig:  # a deck would stream it
        rig.send("/sample/1/load", str(folder / "loud.wav"))
        while not rig.heard("/done"):
            rig.step()
        track = rig.core.sampler.track(0)
        assert track is not None and track.complete
        pages = rig.desk.page_table[track.sources[0]]
        assert np.count_nonzero(pages) == -(-3 * RATE * 4 // 65536)


def test_a_pad_that_sounds_starts_again_without_a_step(loaded: Rig) -> None:
    loaded.send("/sample/1/play")
    loaded.run(4096)
    begin = len(loaded.out)
    loaded.send("/sample/1/play")
    loaded.run(4096)
    again = loaded.out[begin:, 0]
    # The old sound fades out while the beginning of the file is there at once.
    assert again.max() <= 0.25 + 2 * SOFT and again[-1] == 0.25 + SOFT
    falls = np.diff(again)
    assert falls.min() >= -1.01 * SOFT / FADE_OUT
    assert loaded.status()["samples"] == 1


def test_stop_fades_out(loaded: Rig) -> None:
    loaded.send("/sample/1/play")
    loaded.run(4096)
    begin = len(loaded.out)
    loaded.send("/sample/1/stop")
    loaded.run(4096)
    tail = loaded.out[begin:, 0]
    assert np.abs(np.diff(tail)).max() <= 1.01 * SOFT / FADE_OUT
    assert tail[-1] == 0.25


@pytest.mark.parametrize(
    ("output", "master", "cue"), [("master", SOFT, 0.0), ("cue", 0.0, SOFT), ("both", SOFT, SOFT)]
)
def test_a_pad_is_heard_where_it_is_routed(
    loaded: Rig, output: str, master: float, cue: float
) -> None:
    loaded.send("/sample/1/output", output)
    for playing in (False, True):
        loaded.send("/sample/1/play")
        loaded.run(4096)
        assert loaded.out[-1, 0] == 0.25 + master, playing
        assert loaded.desk.cue_out[loaded.block - 1, 0] == cue, playing
        # The same while the sample is playing.
        loaded.send("/sample/1/output", "master" if output != "master" else "cue")
        loaded.run(4096)
        assert loaded.out[-1, 0] == 0.25 + (SOFT if output != "master" else 0.0)
        loaded.send("/sample/1/output", output)
        loaded.run(4096)


def test_a_looped_sample_repeats_until_the_loop_is_left(loaded: Rig) -> None:
    loaded.send("/sample/1/loop", 1)
    loaded.send("/sample/1/play")
    loaded.seconds(1.2)
    assert loaded.out[-1, 0] == 0.25 + SOFT
    loaded.send("/sample/1/loop", 0)
    loaded.seconds(0.5)
    assert loaded.out[-1, 0] == 0.25
    loaded.send("/sample/1/play")
    loaded.run(4096)
    loaded.send("/sample/1/loop", 1)  # while it is played once
    loaded.seconds(0.8)
    assert loaded.out[-1, 0] == 0.25 + SOFT


def test_the_level_is_ramped_and_stays_with_the_pad(loaded: Rig, folder: Path) -> None:
    loaded.send("/sample/1/play")
    loaded.run(4096)
    loaded.send("/sample/1/level", 0.5, 0.05)
    begin = len(loaded.out)
    loaded.seconds(0.1)
    ramp = loaded.out[begin:, 0]
    assert ramp[-1] == 0.25 + SOFT / 2
    assert np.abs(np.diff(ramp)).max() <= 1.01 * SOFT / 2 / (0.05 * RATE)
    load(loaded, 1, folder / "soft.wav")
    loaded.send("/sample/1/play")
    loaded.run(4096)
    assert loaded.out[-1, 0] == 0.25 + SOFT / 2


def test_a_pad_waits_for_its_own_quantum(loaded: Rig) -> None:
    loaded.send("/reset")
    loaded.send("/set_tempo", 120.0)
    loaded.seconds(0.1)
    zero = loaded.core.beat_clock.zero
    loaded.send("/sample/1/quantize", 1.0)
    loaded.send("/sample/1/play")
    assert zero is not None
    loaded.seconds(0.6)
    steps = np.flatnonzero(loaded.out[zero:, 0] > 0.25) + zero
    assert steps[0] == pytest.approx(zero + RATE / 2, abs=2)


def test_a_time_tag_is_met_to_the_frame(loaded: Rig) -> None:
    at = loaded.desk.frame / RATE + 0.2
    loaded.raw(bundle(at, build("/sample/1/play", ())))
    loaded.seconds(0.4)
    begin = np.flatnonzero(loaded.out[:, 0] > 0.25)
    assert begin[0] == round(at * RATE) + loaded.block


def test_unload_frees_the_pad_and_keeps_its_settings(loaded: Rig, folder: Path) -> None:
    loaded.send("/sample/1/level", 0.5)
    free = loaded.core.track_table.free_sources
    loaded.send("/sample/1/unload")
    loaded.seconds(0.1)
    assert loaded.core.track_table.free_sources == free + 1
    assert ("/sample/1/unload",) in loaded.heard("/done")
    loaded.send("/sample/1/play")
    assert "/sample/1/play sample 1 is empty" in loaded.fails()[0]
    loaded.answers.said.clear()
    load(loaded, 1, folder / "soft.wav")
    assert loaded.core.sampler.pads[0].level == 0.5


def test_a_file_that_cannot_stay_in_memory_is_refused(tmp_path: Path) -> None:
    long = write(tmp_path / "long.wav", level(MAX_SAMPLE_SECONDS + 1, rate=LOW_RATE), LOW_RATE)
    big = write(tmp_path / "big.wav", level(MAX_SAMPLE_SECONDS - 1, rate=LOW_RATE), LOW_RATE)
    with Rig(rate=LOW_RATE, memory_mb=1) as rig:
        for file in (long, big, tmp_path / "missing.wav"):
            rig.send("/sample/1/load", str(file))
            rig.seconds(0.5)
        reasons = rig.fails()
        assert "the maximum is 120 s" in reasons[0]
        assert "no memory left" in reasons[1]
        assert "missing.wav" in reasons[2] and len(reasons) == 3
        assert rig.core.sampler.track(0) is None
        assert rig.core.track_table.tracks() == []


def test_a_failed_load_leaves_the_earlier_sample(loaded: Rig, tmp_path: Path) -> None:
    loaded.send("/sample/1/load", str(tmp_path / "missing.wav"))
    loaded.seconds(0.1)
    loaded.send("/sample/1/play")
    loaded.run(4096)
    assert loaded.out[-1, 0] == 0.25 + SOFT


def test_the_buffers_of_sequencers_do_not_reach_the_pads(loaded: Rig) -> None:
    loaded.send("/play_stem", 4100)
    assert "out of range" in loaded.fails()[0]
    loaded.send("/mixer_cleanup")
    loaded.seconds(0.2)
    assert loaded.core.sampler.track(0) is not None
    assert loaded.core.track_table.shown(100) is None


def test_the_pads_survive_a_crash_of_control(folder: Path) -> None:
    with RestartableRig() as rig:
        load(rig, 1, folder / "soft.wav")
        settings: tuple[tuple[str, Any], ...] = (
            ("level", 0.5), ("loop", 1), ("quantize", 0.5), ("output", "both"),
        )
        for name, value in settings:
            rig.send(f"/sample/1/{name}", value)
        rig.send("/sample/1/quantize", 0)
        rig.send("/sample/2/quantize", "bar")
        rig.send("/sample/1/play")
        rig.seconds(0.7)
        rig.restart_control()
        assert rig.core.quantize.samples[1] == "bar"
        rig.seconds(0.1)
        assert rig.out[-1, 0] == SOFT / 2
        rig.send("/sample/1/loop", 0)
        rig.seconds(0.6)
        assert rig.out[-1, 0] == 0.0
        rig.send("/sample/1/play")
        rig.seconds(0.1)
        assert rig.out[-1, 0] == SOFT / 2 and rig.fails() == []


def test_a_sample_that_breaks_while_it_plays_stays_on_its_pad(folder: Path, tmp_path: Path) -> None:
    """It is played from its first pages on. Control restarts with it as with any other track."""
    rig = RestartableRig(pages_a_block=1)
    try:
        rig.send("/sample/1/load", str(write(tmp_path / "long.wav", level(30.0))))
        rig.send("/sample/1/play")
        rig.seconds(0.3)
        track = rig.core.sampler.track(0)
        assert track is not None and track.sounding and track.state == "opened"
        reason = "the file has changed"
        rig.core.loader_event({"event": "broken", "track": track.number, "reason": reason})
        assert rig.fails() == [f"/sample/1/load {reason}"]
        rig.seconds(0.2)
        assert rig.out[-1].tolist() == [0.25, 0.25], "the part in memory plays"
        assert track.state == "broken" and rig.core.track_table.has(track)
        rig.restart_control()
        rig.seconds(0.1)
        assert rig.out[-1].tolist() == [0.25, 0.25]
    finally:
        rig.close()
