"""The MIDI clock in both directions: ticks of the server's clock, and the loop that follows one."""

from __future__ import annotations

import random

import pytest

from crowdstream.midi.clock_in import (
    GAP_SECONDS,
    MAX_PULL,
    ClockFollower,
    steered_tempo,
)
from crowdstream.midi.clock_out import (
    CONTINUE,
    SONG_POSITION,
    START,
    STOP,
    TICK,
    TICKS,
    ClockSender,
)
from crowdstream.timing.output_clock import OutputClock
from tests.support.offline_server import RATE, Rig, level, write


class Receiver:
    """Drives a clock sender by rendering, and keeps its messages with their frames."""

    def __init__(self, rig: Rig, meter: int = 4) -> None:
        self.rig = rig
        self.messages: list[tuple[int, list[int]]] = []
        self.sender = ClockSender(
            rig.desk, lambda message: self.messages.append((rig.desk.frame, message)),
            OutputClock(rig.desk, lambda: rig.time), lambda: rig.time, lambda: meter,
        )  # fmt: skip

    def run(self, seconds: float) -> None:
        """Render in small blocks, with a turn after each."""
        until = self.rig.desk.frame + round(seconds * RATE)
        while self.rig.desk.frame < until:
            self.rig.run(64)
            self.sender.turn()

    def kinds(self) -> list[int]:
        """Status bytes other than ticks."""
        return [message[0] for _, message in self.messages if message[0] != TICK]

    def ticks(self) -> list[int]:
        """Frames of the ticks."""
        return [frame for frame, message in self.messages if message[0] == TICK]


def test_ticks_follow_the_clock_and_its_tempo() -> None:
    with Rig() as rig:
        rig.send("/clock/reset")
        receiver = Receiver(rig)
        receiver.run(2.0)
        assert len(receiver.ticks()) == pytest.approx(4 * TICKS, abs=2)
        assert receiver.kinds() == []
        rig.send("/clock/tempo", 240.0)
        rig.run(2048)
        receiver.run(0.1)
        before = len(receiver.ticks())
        receiver.run(2.0)
        assert len(receiver.ticks()) - before == pytest.approx(8 * TICKS, abs=2)


def test_receivers_start_at_a_beat_with_its_position_and_stop(tmp_path: object) -> None:
    with Rig() as rig:
        rig.send("/clock/reset")
        path = write(tmp_path / "track.wav", level(2.0))  # type: ignore[operator]
        rig.send("/deck/A/load", str(path))
        rig.run(1024)
        receiver = Receiver(rig)
        receiver.run(1.2)
        rig.send("/deck/A/play")
        receiver.run(1.0)
        assert receiver.kinds() == [SONG_POSITION, CONTINUE]
        at = next(n for n, (_, one) in enumerate(receiver.messages) if one[0] == SONG_POSITION)
        assert receiver.messages[at][1] == [SONG_POSITION, 12, 0]  # beat 3, in sixteenths
        assert receiver.messages[at + 2][1] == [TICK]
        frame = receiver.messages[at][0]
        assert frame == pytest.approx(1.5 * RATE + rig.desk.limiter["delay"], abs=200)
        receiver.run(4.0)
        assert receiver.kinds() == [SONG_POSITION, CONTINUE, STOP]


def test_a_reset_of_the_clock_stops_and_starts_at_zero(tmp_path: object) -> None:
    with Rig() as rig:
        path = write(tmp_path / "track.wav", level(8.0))  # type: ignore[operator]
        rig.send("/deck/A/load", str(path))
        rig.run(1024)
        rig.send("/deck/A/play")
        receiver = Receiver(rig)
        receiver.run(1.3)
        rig.send("/clock/reset")
        receiver.run(1.0)
        assert receiver.kinds()[:4] == [SONG_POSITION, CONTINUE, STOP, SONG_POSITION]
        receiver.sender.stop()
        receiver.sender.stop()
        assert receiver.kinds()[-1] == STOP


@pytest.mark.parametrize("stalled", [0.03, 0.1, 0.2])
def test_receivers_are_at_the_right_beat_after_a_stall(tmp_path: object, stalled: float) -> None:
    with Rig() as rig:
        rig.send("/clock/reset")
        path = write(tmp_path / "track.wav", level(8.0))  # type: ignore[operator]
        rig.send("/deck/A/load", str(path))
        rig.run(1024)
        rig.send("/deck/A/play")
        receiver = Receiver(rig)
        receiver.run(1.3)
        rig.run(round(stalled * RATE))  # the process does not run
        receiver.run(1.7)
        position = -1
        for _, message in receiver.messages:
            if message[0] == SONG_POSITION:
                position = (message[1] | message[2] << 7) * TICKS // 4 - 1
            position += message == [TICK]
        audible = rig.desk.frame - rig.desk.limiter["delay"]
        assert position == pytest.approx(rig.core.beat_clock.beat(audible) * TICKS, abs=1.0)


def test_a_start_at_beat_zero_is_a_start_message() -> None:
    with Rig() as rig:
        receiver = Receiver(rig)
        receiver.sender._start(0)
        assert receiver.kinds() == [START]


@pytest.mark.parametrize("meter", [3, 4, 5, 7])
def test_a_position_beyond_the_range_of_midi_is_at_the_same_place_in_its_bar(meter: int) -> None:
    with Rig() as rig:
        receiver = Receiver(rig, meter)
        for beat in (4095, 4096, 100_000):
            receiver.sender._start(beat)
            _, low, high = receiver.messages[-2][1]
            assert max(low, high) < 128
            assert (low | high << 7) % (4 * meter) == 4 * (beat % meter)


def follow(
    bpm: float, seconds: float, jitter: float = 0.0, follower: ClockFollower | None = None,
    begin: float = 100.0, seed: int = 1, lost: float = 0.0,
) -> ClockFollower:  # fmt: skip
    """Feed ticks of a clock, each late by up to `jitter` seconds."""
    made = follower or ClockFollower()
    random_ = random.Random(seed)
    step = 60.0 / bpm / TICKS
    for number in range(round(seconds / step)):
        if random_.random() >= lost:
            made.tick(begin + number * step + random_.uniform(0.0, jitter))
    return made


@pytest.mark.parametrize("bpm", [20.5, 87.0, 128.0, 250.0, 399.0])
@pytest.mark.parametrize("jitter", [0.0, 0.002])
def test_the_loop_locks_to_the_tempo(bpm: float, jitter: float) -> None:
    follower = follow(bpm, 12.0, jitter)
    assert follower.locked
    assert follower.bpm == pytest.approx(bpm, rel=2e-3)
    assert follower.error < 0.003


def test_beats_are_known_after_a_start() -> None:
    follower = ClockFollower()
    follow(120.0, 6.0, 0.001, follower)
    assert follower.locked and follower.beat(106.0) is None
    follower.start()
    follow(120.0, 6.0, 0.001, follower, 106.0)
    # The ticks are late by 0.5 ms on average.
    assert follower.running and follower.beat(112.0005) == pytest.approx(12.0, abs=0.004)
    follower.stop()
    follow(120.0, 3.0, 0.001, follower, 112.0)  # it sends ticks while it is stopped
    assert follower.beat(115.0) is None
    follower.resume()
    follow(120.0, 2.0, 0.001, follower, 115.0)
    assert follower.beat(117.0005) == pytest.approx(12.0 + 4.0, abs=0.004)
    follower.stop()
    follower.song_position(64)
    follower.resume()
    follow(120.0, 6.0, 0.001, follower, 117.0)
    assert follower.beat(123.0005) == pytest.approx(16.0 + 12.0, abs=0.004)


def test_lost_ticks_do_not_move_the_beats() -> None:
    follower = ClockFollower()
    follow(120.0, 6.0, 0.0, follower)
    follower.start()
    follow(120.0, 20.0, 0.0005, follower, 106.0, lost=0.05)
    assert follower.locked
    assert follower.beat(126.0) == pytest.approx(40.0, abs=0.05)


def test_a_new_tempo_is_followed() -> None:
    follower = follow(120.0, 8.0)
    follow(126.0, 10.0, 0.0, follower, 108.0)
    assert follower.locked and follower.bpm == pytest.approx(126.0, rel=1e-3)


def test_a_clock_that_stops_is_noticed() -> None:
    follower = follow(120.0, 8.0)
    follower.check(108.0 + 0.5 * GAP_SECONDS)
    assert follower.locked
    follower.check(108.0 + 1.5 * GAP_SECONDS)
    assert not follower.locked and follower.bpm == 0.0 and follower.beat(110.0) is None


@pytest.mark.parametrize("bpm", [5.0, 1000.0, 100000.0])
def test_absurd_tempos_are_counted_and_not_followed(bpm: float) -> None:
    follower = follow(bpm, 10.0)
    assert not follower.locked and follower.bpm == 0.0
    assert follower.absurd > 0 or bpm < 10.0
    follow(120.0, 8.0, 0.0, follower, 200.0)
    assert follower.locked


def test_the_tempo_pulls_towards_the_other_beats_by_a_limited_amount() -> None:
    assert steered_tempo(120.0, 0.0) == 120.0
    assert steered_tempo(120.0, 0.01) == pytest.approx(120.3)
    assert steered_tempo(120.0, 0.4) == pytest.approx(120.0 * (1.0 + MAX_PULL))
    assert steered_tempo(120.0, 0.9) == pytest.approx(117.0)
    assert steered_tempo(120.0, 3.0) == pytest.approx(120.0)
    assert steered_tempo(120.0, 3.0, 4.0) == pytest.approx(120.0 * (1.0 - MAX_PULL))
    assert steered_tempo(120.0, 4.01, 4.0) == pytest.approx(120.3)
    assert steered_tempo(120.0, 1.0, 3.0) == pytest.approx(120.0 * (1.0 + MAX_PULL))
    assert steered_tempo(399.0, 0.4) == 400.0
