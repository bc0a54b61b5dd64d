"""Rendering of sets: each command at its frame, and the correct end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from crowdstream.audiofile.errors import AudioFileError
from crowdstream.offline.renderer import RenderError
from tests.support.offline_server import RATE, Rig, bundle_at, level, place, write
from tests.support.set_rendering import mix, score

PLAY = "0 /deck/A/load steady.wav\n"


def first(out: np.ndarray) -> int:
    """Return the first frame that is not silent."""
    return int(np.flatnonzero(out[:, 0])[0])


def test_a_command_takes_effect_at_its_second(folder: Path) -> None:
    out, _ = mix(folder, PLAY + "0.5 /deck/A/play")
    assert first(out) == round(0.5 * RATE)


def test_a_command_at_the_start_takes_effect_on_the_first_frame(folder: Path) -> None:
    out, _ = mix(folder, PLAY + "0 /deck/A/play")
    assert first(out) == 0
    assert out[0, 0] == 0.25


def test_loads_are_complete_before_the_next_command(folder: Path) -> None:
    out, _ = mix(folder, "1 /deck/A/load numbers.wav\n1 /deck/A/seek 2\n1 /deck/A/play")
    assert first(out) == RATE
    assert place(out[RATE + 100, 0]) == (2 * RATE + 100) % 8192


def test_simultaneous_commands_take_effect_on_the_same_frame(folder: Path) -> None:
    both = "".join(f"0 /deck/{d}/load steady.wav\n0.25 /deck/{d}/play\n" for d in "AB")
    out, _ = mix(folder, both)
    assert first(out) == round(0.25 * RATE)
    assert out[first(out), 0] == 0.5


def test_samples_and_queued_announcements_are_part_of_the_mix(folder: Path) -> None:
    times = "20 0.1 0.1 0.2 0.2"
    out, summary = mix(
        folder,
        PLAY + "0 /deck/A/play\n0 /sample/1/load steady.wav\n0 /sample/1/level 0.5\n"
        f"0.25 /sample/1/play\n0.5 /announce steady.wav {times}\n0.5 /announce steady.wav {times}",
    )
    heard = out[:, 0]
    assert heard[round(0.2 * RATE)] == 0.25
    assert heard[round(0.45 * RATE)] == 0.375
    assert heard[round(0.69 * RATE)] == pytest.approx(0.0375, abs=1e-6)
    assert heard[round(1.5 * RATE)] == pytest.approx(0.2875, abs=1e-6)
    # The second one follows after the music has ended.
    assert heard[round(4.5 * RATE)] == pytest.approx(0.25, abs=1e-6)
    assert 4.9 * RATE <= len(out) < 5.3 * RATE
    assert not summary.warnings


def test_inputs_play_bit_for_bit_from_the_beginning_to_their_end(folder: Path) -> None:
    out, _ = mix(folder, "", inputs=[folder / "numbers.wav"])
    expected, _rate = soundfile.read(folder / "numbers.wav", dtype="float32", always_2d=True)
    assert np.array_equal(out[: len(expected)], np.broadcast_to(expected, (len(expected), 2)))
    assert len(expected) <= len(out) <= len(expected) + round(0.005 * RATE)
    # The step at the end of the file decays.
    assert np.abs(np.diff(out[len(expected) - 1 :, 0])).max() < 0.01


def test_talkover_of_an_input_ducks_the_music_of_a_set(folder: Path) -> None:
    voice = np.concatenate([level(0.5, 0.0), level(0.5, 0.5)])
    write(folder / "voice.wav", voice)
    out, _ = mix(
        folder,
        PLAY + "0 /input/1/talkover 1\n0 /input/1/talkover/depth 20\n"
        "0 /input/1/talkover/attack 0.1\n0 /input/1/level 0.5\n0 /deck/A/play",
        inputs=[folder / "voice.wav"],
    )
    assert out[round(0.4 * RATE), 0] == 0.25
    assert out[round(0.8 * RATE), 0] == pytest.approx(0.025 + 0.25, abs=1e-4)


def test_a_second_input_is_a_second_file_at_another_rate(folder: Path) -> None:
    write(folder / "other.wav", level(1, 0.125, 22050), 22050)
    out, _ = mix(
        folder, "0 /input/1/mute", inputs=[folder / "steady.wav", folder / "other.wav"]
    )
    assert out[round(0.5 * RATE), 0] == pytest.approx(0.125, abs=1e-3)


def test_an_input_that_a_set_needs_and_lacks_is_an_error(folder: Path) -> None:
    with pytest.raises(RenderError, match="there is no input 1: it needs --input"):
        mix(folder, "0 /input/1/level 0.5")


def test_an_input_that_is_no_audio_file_is_an_error(folder: Path) -> None:
    (folder / "text.wav").write_text("words")
    with pytest.raises(AudioFileError, match=r"text\.wav"):
        mix(folder, "", inputs=[folder / "text.wav"])


def test_times_need_not_be_in_order(folder: Path) -> None:
    out, _ = mix(folder, "0.5 /deck/A/play\n" + PLAY)
    assert first(out) == round(0.5 * RATE)


def test_a_beat_refers_to_the_clock(folder: Path) -> None:
    out, _ = mix(folder, PLAY + "@3 /deck/A/play", bpm=90.0, base_bpm=90.0)
    assert first(out) == 2 * RATE


def test_a_beat_follows_a_tempo_change(folder: Path) -> None:
    # 4 beats at 120, then 60: the 20 ms ramp counts as a step in its middle.
    out, _ = mix(folder, PLAY + "@6 /deck/A/play\n2 /set_tempo 60")
    assert first(out) == pytest.approx(4 * RATE - 0.005 * RATE, abs=0.006 * RATE)


def test_times_of_commands_count_from_the_start(folder: Path) -> None:
    out, _ = mix(folder, PLAY + "0 /start_group 0.75 A")
    assert first(out) == round(0.75 * RATE)


def test_the_mix_ends_in_silence(folder: Path) -> None:
    out, summary = mix(folder, PLAY + "0.5 /deck/A/play")
    assert 2.5 * RATE <= len(out) < 2.6 * RATE
    assert out[-1].any()
    assert not summary.warnings


def test_silence_before_the_last_command_is_kept(folder: Path) -> None:
    out, _ = mix(folder, PLAY + "0 /deck/A/play\n9 /deck/A/play")
    assert 11 * RATE <= len(out) < 11.1 * RATE
    assert not out[3 * RATE : 9 * RATE].any()


@pytest.mark.parametrize("end", ["1.5 end", "@3 END"])
def test_a_set_can_define_its_end(folder: Path, end: str) -> None:
    out, _ = mix(folder, f"{PLAY}0 /deck/A/play 0 1\n{end}\n7 /deck/A/stop")
    assert len(out) == round(1.5 * RATE)
    assert out[-1, 0] == 0.25


def test_a_duration_shortens_the_mix(folder: Path) -> None:
    out, _ = mix(folder, PLAY + "0 /deck/A/play\n1.5 end", 0.7)
    assert len(out) == round(0.7 * RATE)


def test_an_endless_loop_is_ended_with_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crowdstream.offline.renderer.MAX_LOOP_SECONDS", 5.0)
    out, summary = mix(folder, PLAY + "0 /deck/A/play 0 1")
    assert 5 * RATE <= len(out) < 5.3 * RATE
    assert "add a line with a time and `end`" in summary.warnings[0]


def test_an_empty_set_is_an_empty_mix(folder: Path) -> None:
    assert len(mix(folder, "# nothing\n\n")[0]) == 0
    assert len(mix(folder, "", 1.0)[0]) == RATE


def test_a_score_is_the_same_set(folder: Path) -> None:
    text = "0 /deck/A/load steady.wav\n0.25 /deck/A/play\n0.5 /deck/A/eq/mid 0.3\n1.75 end"
    binary = score(
        (0.0, [("/deck/A/load", ("steady.wav",))]),
        (0.25, [("/deck/A/play", ())]),
        (0.5, [("/deck/A/eq/mid", (0.3,))]),
        (1.75, []),
    )
    assert np.array_equal(mix(folder, text)[0], mix(folder, binary)[0])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 /deck/A/play", "line 1: /deck/A/play: deck A has no track: cue or load one"),
        (PLAY + "1 /deck/A/seek 3", "line 2: /deck/A/seek: position: 3 s is past the end"),
        ("0 /deck/A/load broken.wav", "line 1: /deck/A/load: .*broken.wav"),
        ("0 /deck/A/load broken.wav\n9 /set_tempo 60", "line 1: /deck/A/load: .*broken.wav"),
    ],
)
def test_a_failing_command_is_reported_with_its_line(folder: Path, text: str, reason: str) -> None:
    (folder / "broken.wav").write_bytes(b"RIFF" + bytes(2000))
    with pytest.raises(RenderError, match=reason):
        mix(folder, text)


def test_a_time_in_the_past_is_a_warning(folder: Path) -> None:
    _, summary = mix(folder, PLAY + "1 /start_group 0.5 A")
    (warning,) = summary.warnings
    assert "line 2: /start_group names a time that passed 0.500 s ago" in warning


@pytest.mark.parametrize("memory", [64 << 20, 4 << 20])
def test_reading_ahead_does_not_change_the_samples(memory: int, folder: Path) -> None:
    write(folder / "long.wav", np.random.default_rng(1).uniform(-0.3, 0.3, (40 * RATE, 2)))
    text = (
        "0 /deck/A/load long.wav\n0 /deck/A/rate 1.06\n0 /deck/A/play\n"
        "3 /deck/A/seek 35\n4 /deck/A/rate 4\n4.5 /deck/A/seek 1\n6 end"
    )
    whole, _ = mix(folder, text, whole=True)
    streamed, _ = mix(folder, text, memory=memory)
    assert np.array_equal(whole, streamed)


def test_too_little_memory_is_reported_with_the_figures(folder: Path) -> None:
    write(folder / "long.wav", np.zeros((40 * RATE, 2)))
    with pytest.raises(RenderError, match=r"line 1: .*MB wanted.*--cache-mb"):
        mix(folder, "0 /deck/A/load long.wav", memory=1 << 20)


def test_the_render_matches_the_server_for_the_same_packets(folder: Path) -> None:
    """The same commands, as packets with time tags, block by block, at the same frames."""
    write(folder / "noise.wav", np.random.default_rng(2).uniform(-0.3, 0.3, (3 * RATE, 2)))
    timed = [
        (0.0, "/deck/A/play", (0.0, 1)),
        (0.1, "/deck/A/rate", (1.06,)),
        (0.4, "/deck/B/play", ()),
        (0.7, "/deck/A/eq/low", (0.2, 0.5)),
        (0.9, "/set_tempo", (126.0,)),
        (1.3, "/deck/B/level", (0.1, 0.3)),
        (1.6, "/deck/A/seek", (0.77,)),
    ]
    loads = [(f"/deck/{d}/load", name) for d, name in (("A", "noise.wav"), ("B", "numbers.wav"))]
    text = "".join(f"0 {address} {name}\n" for address, name in loads)
    text += "".join(f"{t} {a} {' '.join(map(str, v))}\n" for t, a, v in timed) + "2 end"
    out, _ = mix(folder, text)
    rig = Rig(block=480)
    try:
        for address, name in loads:
            rig.send(address, str(folder / name))
        rig.run(RATE)  # time to load
        zero = rig.desk.frame + 2000
        for seconds, address, values in timed:
            rig.raw(bundle_at(rig.tag_of(zero + round(seconds * RATE)), address, *values))
        rig.seconds(2.5)
        assert not rig.fails() and not rig.heard("/late")
        assert np.array_equal(rig.out[zero : zero + 2 * RATE], out)
    finally:
        rig.close()


def test_the_level_of_a_file_is_preserved(folder: Path) -> None:
    samples = level(1, 0.125)
    write(folder / "exact.wav", samples)
    out, _ = mix(folder, "0 /deck/A/load exact.wav\n0 /deck/A/play")
    assert np.array_equal(out[: RATE - 2000], samples[: RATE - 2000])
