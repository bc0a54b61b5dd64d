"""Commands at beats: the next beat, bar or phrase, or a given beat; they move with the tempo."""

from __future__ import annotations

from pathlib import Path

import pytest

from crowdstream.osc.codec import Double, build
from tests.support.offline_server import RATE, Rig, bundle, level, stem_of, write

BEAT = RATE // 2  # at 120 beats a minute


@pytest.fixture
def cued(rig: Rig, tmp_path: Path) -> Rig:
    """Cue a constant on deck A, and let the clock run for a while."""
    rig.send("/cue", "A", str(write(tmp_path / "long.wav", level(20))))
    rig.run(round(1.3 * BEAT))
    return rig


@pytest.mark.parametrize(
    ("quantum", "beat"), [(0.25, 1.5), (1.0, 2.0), ("beat", 2.0), ("bar", 4.0), (8, 8.0)]
)
def test_a_start_at_the_next_beat_is_exact_to_the_frame(
    cued: Rig, quantum: float | str, beat: float
) -> None:
    cued.send("/clock/next", quantum, "/deck/A/play")
    cued.run(10 * BEAT)
    assert cued.first_sound() == round(beat * BEAT)
    assert not cued.heard("/late")
    assert not cued.fails()


def test_a_phrase_is_eight_bars(rig: Rig) -> None:
    rig.send("/clock/meter", 3)
    rig.run(BEAT)
    rig.send("/clock/next", "phrase", "/deck/A/level", 0.5)
    assert [beat for beat, *_ in rig.core.scheduler._beats] == [24.0]


def test_a_command_at_a_beat_moves_with_the_tempo(cued: Rig) -> None:
    cued.send("/clock/at", 16.0, "/deck/A/play")
    cued.run(2 * BEAT)
    cued.send("/clock/tempo", 180.0, 4.0)
    cued.run(20 * BEAT)
    frame = cued.first_sound()
    beats = cued.core.beat_clock
    assert beats.beat(frame - 1) < 16.0 <= beats.beat(frame) + 1e-9
    assert frame < 16 * BEAT - 2000


def test_a_start_at_a_beat_is_exact_after_months(cued: Rig) -> None:
    core, later = cued.core, 2e7  # 108 days at 128 beats a minute
    core.publish_clock(core.beat_clock.jump(later, cued.desk.frame, cued.desk.frame))
    cued.send("/clock/at", Double(later + 4.0), "/deck/A/play")
    cued.run(6 * BEAT)
    assert not cued.fails() and not cued.heard("/late")
    assert cued.first_sound() == 4 * BEAT


def test_a_start_that_is_with_the_engine_moves_with_the_tempo(cued: Rig) -> None:
    cued.send("/clock/at", 2.25, "/deck/A/play")
    assert cued.core.track_table.deck_track(0).pending_starts, (
        "the beat is near, so the engine has the start"
    )
    cued.send("/clock/tempo", 60.0)
    cued.run(4 * BEAT)
    frame = cued.first_sound()
    beats = cued.core.beat_clock
    assert beats.beat(frame - 1) < 2.25 <= beats.beat(frame) + 1e-9
    assert frame > round(2.25 * BEAT) + 5000


def test_a_ramp_that_is_with_the_engine_moves_with_the_tempo(cued: Rig) -> None:
    cued.send("/deck/A/play")
    cued.run(1024)
    cued.send("/clock/at", 2.25, "/deck/A/level", 0.0, 0.005)
    cued.send("/clock/tempo", 60.0)
    cued.run(4 * BEAT)
    begun = cued.first_sound()
    changed = begun + int((cued.out[begun:, 0] < 0.2499).argmax())
    beats = cued.core.beat_clock
    assert beats.beat(changed - 2) < 2.25 <= beats.beat(changed) + 1e-9


def test_mute_is_quantized(cued: Rig) -> None:
    cued.send("/deck/A/play")
    cued.send("/deck/A/quantize", 4)
    cued.send("/deck/A/stem/1/mute", 1)
    cued.run(4 * BEAT)
    assert cued.out[4 * BEAT - 1, 0] == 0.25
    assert not cued.out[4 * BEAT + 2000 :].any()


@pytest.mark.parametrize(
    ("address", "arguments"),
    [("/deck/A/stop", ()), ("/deck/A/level", (0.0, 0.005)), ("/deck/A/seek", (1.0,)),
     ("/deck_levels", (0.0,)), ("/deck/A/stem/1", (0.0,)), ("/stop_stem", (100,))],
)
def test_every_scheduled_command_can_act_at_a_beat(
    cued: Rig, address: str, arguments: tuple[float, ...]
) -> None:
    cued.send("/deck/A/play")
    cued.run(1024)
    cued.send("/clock/at", 4.0, address, *arguments)
    cued.run(4 * BEAT)
    out = cued.out[:, 0]
    assert out[4 * BEAT - 1] == 0.25
    changed = 4 * BEAT + int((out[4 * BEAT :] != 0.25).argmax()) if address != "/deck/A/seek" else 0
    if changed:
        assert changed - 4 * BEAT <= 1
    else:
        position = int(cued.desk.voices["position"][0])
        assert position == RATE + cued.desk.frame - 4 * BEAT


def test_a_command_at_a_past_beat_acts_immediately_and_is_reported_late(cued: Rig) -> None:
    cued.send("/clock/at", 1.0, "/deck/A/play")
    cued.run(1024)
    [(address, seconds)] = cued.heard("/late")
    assert address == "/deck/A/play"
    assert seconds == pytest.approx(0.3 * 0.5, abs=2 * 256 / RATE)
    assert cued.out[-1, 0] == 0.25


def test_starts_and_stops_of_a_deck_with_a_quantum_are_quantized(cued: Rig) -> None:
    cued.send("/deck/A/quantize", 4)
    cued.send("/deck/A/play")
    assert cued.status()["waiting"] == 1
    cued.run(6 * BEAT)
    assert cued.first_sound() == 4 * BEAT
    cued.send("/deck/A/stop")
    cued.run(4 * BEAT)
    assert cued.out[8 * BEAT - 1, 0] == 0.25
    assert not cued.out[8 * BEAT + 300].any()


def test_the_common_quantum_applies_to_decks_without_one(cued: Rig) -> None:
    cued.send("/clock/quantize", "bar")
    cued.send("/deck/A/quantize", 2)
    assert cued.status()["deck.A.quantize"] == 2.0
    assert cued.status()["deck.B.quantize"] == 4.0
    cued.send("/deck/A/quantize", 0)
    assert cued.status()["deck.A.quantize"] == 4.0
    cued.send("/clock/quantize", 0)
    assert cued.status()["deck.A.quantize"] == 0.0


def test_a_command_with_its_own_time_is_not_quantized(cued: Rig) -> None:
    cued.send("/deck/A/quantize", 32)
    at = cued.desk.frame / RATE + 0.1
    cued.raw(bundle(at, build("/deck/A/play", ())))
    cued.run(RATE)
    assert cued.first_sound() == round(at * RATE) + cued.block


def test_commands_at_the_same_beat_act_in_the_order_they_were_sent(
    cued: Rig, tmp_path: Path
) -> None:
    cued.send("/cue", "B", stem_of(tmp_path, 1))
    cued.run(1024)
    cued.send("/clock/at", 4.0, "/deck/A/play")
    cued.send("/clock/at", 4.0, "/deck/B/play")
    cued.send("/clock/at", 4.0, "/deck/A/stop")
    cued.run(6 * BEAT)
    assert cued.first_sound(channel=1) == 4 * BEAT
    assert not cued.out[4 * BEAT + 1000 :, 0].any()


@pytest.mark.parametrize(
    ("address", "arguments", "reason"),
    [
        ("/clock/at", (8.0, "/no/such"), "unknown address"),
        ("/clock/at", (8.0, "/deck/A/level", 9.0), "out of range"),
        ("/clock/at", (8.0, "/deck/A/level"), "missing"),
        ("/clock/at", (8.0, "/deck/A/load", "x.wav"), "cannot be scheduled"),
        ("/clock/at", (8.0, "/clock/at", 9.0, "/deck/A/stop"), "cannot be scheduled"),
        ("/clock/at", (-1.0, "/deck/A/stop"), "out of range"),
        ("/clock/next", (0, "/deck/A/stop"), "out of range"),
        ("/clock/next", ("eon", "/deck/A/stop"), "nor one of beat, bar, phrase"),
        ("/clock/quantize", (0.1,), "0 or 0.25 to 32"),
        ("/deck/A/quantize", (33,), "out of range"),
    ],
)
def test_invalid_times_and_commands_are_refused_with_the_reason(
    cued: Rig, address: str, arguments: tuple[object, ...], reason: str
) -> None:
    before, waiting = cued.state(), len(cued.core.scheduler)
    cued.send(address, *arguments)
    [fail] = cued.fails()
    assert fail.startswith(address)
    assert reason in fail
    assert cued.state() == before
    assert len(cued.core.scheduler) == waiting


def test_a_command_that_fails_at_its_beat_is_reported_then(cued: Rig) -> None:
    cued.send("/clock/at", 4.0, "/deck/B/play")
    cued.run(4 * BEAT)
    assert cued.fails() == ["/deck/B/play deck B has no track: cue or load one"]
