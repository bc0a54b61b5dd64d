"""Announcements: the mix gives way in time for the first word, and returns after the last one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from crowdstream.control.decks.announcer import MAX_ANNOUNCEMENT_SECONDS, MAX_ANNOUNCEMENTS
from crowdstream.desk.ramps import RAMP_DUCK
from crowdstream.engine.voice.voice import TAIL
from tests.support.offline_server import RATE, Rig, count, level, place, write
from tests.unit.control.state.test_snapshotter import RestartableRig

MUSIC, WORDS = 0.25, 0.5
SECONDS = 0.8  # of the announcement
DEPTH, ATTACK, HOLD, RELEASE, AHEAD = 20.0, 0.2, 0.1, 0.4, 0.3
DUCKED = MUSIC * 0.1
TIMES = (DEPTH, ATTACK, HOLD, RELEASE, AHEAD)
LOW_RATE = 8000


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A constant in place of speech: where it is, and how loud, shows in each frame."""
    return str(write(tmp_path_factory.mktemp("words") / "words.wav", level(SECONDS, WORDS)))


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write(tmp_path_factory.mktemp("music") / "music.wav", level(20, MUSIC)))


@pytest.fixture
def playing(music: str) -> Iterator[RestartableRig]:
    with RestartableRig() as rig:
        rig.send("/notify", 1)
        start_music(rig, music)
        yield rig


def start_music(rig: Rig, music: str) -> None:
    rig.send("/deck/A/load", music)
    rig.seconds(0.1)
    rig.send("/deck/A/play")
    rig.seconds(0.1)


def states(rig: Rig) -> list[tuple[str, str]]:
    return [(state, name) for _number, state, name in rig.heard("/announcement")]


def test_the_mix_is_down_before_the_first_word_and_up_after_the_last(
    playing: RestartableRig, words: str
) -> None:
    begin = len(playing.out)
    playing.send("/announce", words, *TIMES)
    playing.seconds(3)
    out = playing.out[begin:, 0]
    first = int(np.flatnonzero(out > 0.4)[0])
    last = first + round(SECONDS * RATE) - 1
    falls = int(np.flatnonzero(out < MUSIC)[0])
    assert first - falls == pytest.approx(AHEAD * RATE, abs=2)
    down = int(np.flatnonzero(out <= DUCKED * 1.0001)[0])
    assert down - falls == pytest.approx(ATTACK * RATE, abs=2)
    assert np.allclose(out[down:first], DUCKED, atol=1e-6)
    assert np.allclose(out[first : last + 1], DUCKED + WORDS, atol=1e-6), "nothing is cut"
    quiet = last + 1 + TAIL
    rises = quiet + int(np.flatnonzero(out[quiet:] > DUCKED * 1.0001)[0])
    assert rises - last == pytest.approx(HOLD * RATE, abs=2 * playing.block)
    up = rises + int(np.flatnonzero(out[rises:] >= MUSIC)[0])
    assert up - rises == pytest.approx(RELEASE * RATE, abs=2)
    assert np.all(out[up:] == MUSIC), "afterwards, the mix is bit-exact again"
    # Nothing but the words themselves is a step.
    steps = np.abs(np.diff(np.delete(out, np.arange(first, quiet))))
    assert steps.max() <= 1.01 * (MUSIC - DUCKED) / (ATTACK * RATE)
    assert states(playing) == [("waiting", "words"), ("playing", "words"), ("ended", "words")]
    assert not playing.fails()


def test_samples_and_the_masters_effects_are_below_the_announcement(
    playing: RestartableRig, words: str, tmp_path: Path
) -> None:
    playing.send("/sample/1/load", str(write(tmp_path / "pad.wav", level(3, 0.125))))
    playing.send("/mix/fx/insert", 1, "gate", "low", 0.0)
    playing.seconds(0.1)
    playing.send("/sample/1/play")
    playing.send("/announce", words, *TIMES)
    playing.seconds(0.9)
    # A gate that is closed would silence the announcement too, if it were before it.
    assert playing.out[-1, 0] >= WORDS
    playing.send("/mix/announcements", 0.5)
    playing.seconds(0.1)
    mixed = float(playing.out[-1, 0])
    assert mixed - 0.1 * (MUSIC + 0.125) <= WORDS / 2 + 1e-6


def test_announcements_follow_each_other_while_the_mix_stays_down(
    playing: RestartableRig, words: str
) -> None:
    begin = len(playing.out)
    for _ in range(2):
        playing.send("/announce", words, *TIMES)
    playing.seconds(0.1)
    assert playing.status()["announcements"] == 1
    assert playing.status()["announcement"] == "words"
    playing.seconds(3.5)
    out = playing.out[begin:, 0]
    spoken = np.flatnonzero(np.diff((out > 0.4).astype(int)))
    assert len(spoken) == 4
    assert np.allclose(out[spoken[1] + TAIL : spoken[2] + 1], DUCKED, atol=1e-6)
    assert spoken[2] - spoken[1] == pytest.approx(AHEAD * RATE + TAIL, abs=5 * playing.block)
    assert out[-1] == MUSIC


def test_the_words_are_the_files_at_any_tempo(playing: RestartableRig, tmp_path: Path) -> None:
    said = str(write(tmp_path / "count.wav", count(0.5)))
    playing.send("/deck/A/stop")
    playing.send("/set_tempo", 180.0)
    playing.seconds(0.1)
    begin = len(playing.out)
    playing.send("/announce", said, *TIMES)
    playing.seconds(1)
    first = playing.first_sound(begin)
    assert [place(sample) for sample in playing.out[first : first + 8000, 0]] == list(range(8000))


def test_skip_fades_the_current_one_out_and_the_next_follows(
    playing: RestartableRig, words: str
) -> None:
    for _ in range(2):
        playing.send("/announce", words, *TIMES)
    playing.seconds(0.6)
    begin = len(playing.out)
    playing.send("/announce/skip")
    playing.seconds(0.1)
    tail = playing.out[begin:, 0]
    assert np.abs(np.diff(tail)).max() <= 1.01 * WORDS / 256
    assert np.allclose(tail[-100:], DUCKED, atol=1e-6)
    playing.seconds(1.0)
    assert [state for state, _ in states(playing)].count("playing") == 2


def test_clear_removes_all_and_the_mix_returns(playing: RestartableRig, words: str) -> None:
    for _ in range(3):
        playing.send("/announce", words, *TIMES)
    playing.seconds(0.6)
    playing.send("/announce/clear")
    playing.seconds(1)
    assert playing.out[-1, 0] == MUSIC
    assert sorted(state for state, _ in states(playing)) == [
        "cancelled", "cancelled", "ended", "playing", "waiting", "waiting", "waiting",
    ]
    assert playing.core.track_table.tracks() == [playing.core.track_table.deck_track(0)]


def test_a_missing_broken_or_endless_file_leaves_the_music_alone(
    music: str, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF\0\0\0\0WAVEjunk")
    endless = write(
        tmp_path / "endless.wav", level(MAX_ANNOUNCEMENT_SECONDS + 60, rate=LOW_RATE), LOW_RATE
    )
    with Rig(rate=LOW_RATE) as rig:
        start_music(rig, music)
        begin = len(rig.out)
        for file in (tmp_path / "missing.wav", broken, endless):
            rig.send("/announce", str(file))
            rig.seconds(0.5)
        assert len(rig.fails()) == 3
        assert "missing.wav" in rig.fails()[0]
        assert "the maximum is 600 s" in rig.fails()[2]
        assert np.ptp(rig.out[begin:, 0]) < 1e-4
        assert rig.core.announcer.waiting() == [] and rig.core.announcer.current is None


def test_a_failed_announcement_does_not_hold_up_the_queue(
    playing: RestartableRig, words: str, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF\0\0\0\0WAVEjunk")
    playing.send("/announce", str(broken), *TIMES)
    playing.send("/announce", words, *TIMES)
    playing.seconds(2.5)
    assert ("failed", "broken") in states(playing)
    assert ("ended", "words") in states(playing)


def test_the_queue_is_limited(playing: RestartableRig, words: str) -> None:
    playing.send("/announce", words, *TIMES)
    playing.seconds(0.1)
    for _ in range(MAX_ANNOUNCEMENTS + 1):
        playing.send("/announce", words, *TIMES)
    assert playing.fails() == [f"/announce {MAX_ANNOUNCEMENTS} announcements are waiting already"]


def test_everything_stops_and_the_mix_returns(playing: RestartableRig, words: str) -> None:
    playing.send("/announce", words, *TIMES)
    playing.seconds(0.6)
    playing.send("/mixer_cleanup")
    playing.seconds(1)
    assert playing.out[-1, 0] == 0.0
    assert playing.desk.ramps["value"][RAMP_DUCK] == 1.0


@pytest.mark.parametrize("at", [0.05, 0.2, 0.6, 1.15, 1.25])
def test_a_crash_of_control_in_the_middle_changes_nothing(
    playing: RestartableRig, words: str, at: float
) -> None:
    playing.send("/announce", words, *TIMES)
    playing.send("/announce", words, *TIMES)
    playing.seconds(at)
    playing.restart_control()
    playing.seconds(3.5)
    out = playing.out[:, 0]
    edges = np.flatnonzero(np.diff((out > 0.4).astype(int)))
    assert len(edges) == 4, "both are heard"
    assert edges[1] - edges[0] == edges[3] - edges[2]
    assert edges[1] - edges[0] == pytest.approx(SECONDS * RATE, abs=TAIL)
    assert out[-1] == MUSIC
    assert len(playing.core.track_table.tracks()) == 1
