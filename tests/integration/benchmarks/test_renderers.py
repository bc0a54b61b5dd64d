"""The programs that render the scene: each that is installed gives what the scene says.

On a machine without any of them this project's own is left, and the texts that are made for the
others.
"""

import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import material, usage
from benchmarks.renderers import all_renderers, csound, ffmpeg, ours, sox
from benchmarks.renderers.base import Interpreters, Renderer, program_version
from benchmarks.renderers.synthdef import Definition, message, score
from benchmarks.scene import FLAT, Deck, Scene, Stem, mix_scene

SECONDS = 2.0
TONES = {440.0: 0.5, 1000.0: 0.25, 3000.0: 0.5}  # a stem each, and its gain
LEVEL = 0.8


@pytest.fixture(scope="module")
def installed() -> list[Renderer]:
    """The programs on this machine. They are started to find out: not in each worker."""
    return [each for each in all_renderers(Interpreters()) if each.version() is not None]


@pytest.fixture
def tones(tmp_path: Path) -> list[Stem]:
    folder = tmp_path / "tones, it's a name"
    folder.mkdir()
    time = np.arange(round(SECONDS * material.RATE)) / material.RATE
    stems = []
    for hertz, gain in TONES.items():
        path = folder / f"{hertz:g}.wav"
        wave = 0.3 * np.sin(2.0 * np.pi * hertz * time)
        soundfile.write(path, np.column_stack((wave, wave)), material.RATE, subtype="PCM_16")
        stems.append(Stem(str(path), gain))
    return stems


def rendered(renderer: Renderer, scene: Scene, folder: Path) -> np.ndarray:
    out = folder / "out.wav"
    out.unlink(missing_ok=True)  # of another program
    usage.run(renderer.command(scene, folder, out), folder)
    assert soundfile.info(out).subtype == "FLOAT"
    samples, rate = soundfile.read(out, always_2d=True)
    assert rate == scene.sample_rate
    found: np.ndarray = samples
    return found


def amplitude(samples: np.ndarray, hertz: float) -> float:
    window = np.hanning(len(samples))
    turn = np.exp(-2j * np.pi * hertz * np.arange(len(samples)) / material.RATE)
    return float(2.0 * np.abs(np.sum(samples * window * turn)) / np.sum(window))


def test_a_scene_survives_being_written() -> None:
    scene = mix_scene(0.2)
    assert Scene.from_json(scene.to_json()) == scene


def test_the_mix_is_four_decks_of_four_stems_crossfaded() -> None:
    scene = mix_scene(0.2)
    assert [len(deck.stems) for deck in scene.decks] == [4, 4, 4, 4]
    assert len({stem.path for deck in scene.decks for stem in deck.stems}) == 16
    assert [(deck.begin > 0, deck.end > 0) for deck in scene.decks] == [
        (True, False), (True, False), (False, True), (False, True),
    ]  # fmt: skip
    assert not any(deck.flat for deck in scene.decks)
    assert scene.limiter
    assert scene.rate == 1.06
    assert scene.frames == int(0.2 * 44100 / 1.06)


def test_names_are_unique_and_this_project_comes_first(installed: list[Renderer]) -> None:
    every = all_renderers(Interpreters())
    names = [each.name for each in every]
    assert len(set(names)) == len(names)
    assert names[0] == ours.NAME
    assert installed[0].name == ours.NAME
    assert all(each.does and each.get for each in every)
    programs = {name.split()[0].rstrip(",") for name in names}
    assert programs == {
        "crowdstream", "ffmpeg", "sox", "pedalboard", "scsynth", "csound", "pyo", "numpy",
    }  # fmt: skip


def test_rate_gains_level_and_fade_are_the_scenes(
    installed: list[Renderer], tones: list[Stem], tmp_path: Path
) -> None:
    decks = (
        Deck(tuple(tones[:2]), FLAT, LEVEL),
        Deck(tuple(tones[2:]), FLAT, LEVEL, "out"),
    )
    scene = Scene(decks, SECONDS, limiter=False)
    quarter = scene.frames // 4
    for renderer in installed:
        samples = rendered(renderer, scene, tmp_path)
        assert len(samples) == pytest.approx(scene.frames, abs=600), renderer.name
        for channel in range(2):
            middle = samples[quarter : 3 * quarter, channel]
            for number, (hertz, gain) in enumerate(TONES.items()):
                expected = 0.3 * gain * LEVEL * (0.5 if number == 2 else 1.0)
                found = amplitude(middle, 1.06 * hertz)
                assert found == pytest.approx(expected, rel=0.04), renderer.name
        begin = amplitude(samples[quarter : 2 * quarter, 0], 1.06 * 3000.0)
        end = amplitude(samples[2 * quarter : 3 * quarter, 0], 1.06 * 3000.0)
        assert end / begin == pytest.approx(0.375 / 0.625, rel=0.03), renderer.name


def test_the_equaliser_attenuates_its_bands(
    installed: list[Renderer], tones: list[Stem], tmp_path: Path
) -> None:
    low = tmp_path / "low.wav"
    time = np.arange(round(SECONDS * material.RATE)) / material.RATE
    wave = 0.3 * np.sin(2.0 * np.pi * 50.0 * time)
    soundfile.write(low, np.column_stack((wave, wave)), material.RATE)
    stems = (Stem(str(low), 1.0), tones[2])
    scene = Scene((Deck(stems, (0.5, 1.0, 1.0), LEVEL),), SECONDS, limiter=False)
    for renderer in installed:
        samples = rendered(renderer, scene, tmp_path)[10_000:70_000, 0]
        low_part, high_part = amplitude(samples, 53.0), amplitude(samples, 3180.0)
        assert low_part == pytest.approx(0.3 * 0.5 * LEVEL, rel=0.1), renderer.name
        assert high_part == pytest.approx(0.3 * 0.5 * LEVEL, rel=0.05), renderer.name


def test_the_whole_mix_is_rendered(installed: list[Renderer], tmp_path: Path) -> None:
    scene = mix_scene(1.0)
    for renderer in installed:
        samples = rendered(renderer, scene, tmp_path)
        assert len(samples) >= 0.99 * scene.frames, renderer.name
        for part in np.array_split(samples, 4):
            assert 0.02 < float(np.std(part)) < 0.4, renderer.name
        assert float(np.max(np.abs(samples))) < 1.5, renderer.name


def test_a_missing_program_has_no_version() -> None:
    assert program_version("no-such-program-1", pattern="x") is None
    assert Interpreters().find("no_such_module_1", "1") is None


def test_a_module_is_found_in_an_interpreter_that_has_it(tmp_path: Path) -> None:
    refuses = tmp_path / "python3"
    refuses.write_text("#!/bin/sh\nexit 1\n")
    refuses.chmod(0o755)
    found = Interpreters([str(refuses), sys.executable]).find("json, math", "math.floor(7.5)")
    assert found == (sys.executable, "7")


def test_ffmpeg_converts_each_stem_or_their_sum() -> None:
    scene = mix_scene(0.2)
    single = ffmpeg.FFmpeg("soxr", summed=False).graph(scene)
    summed = ffmpeg.FFmpeg("swr", summed=True).graph(scene)
    assert single.count("asetrate=46746") == 16
    assert summed.count("asetrate=46746") == 4
    for graph in (single, summed):
        assert graph.count("equalizer=") == 4
        assert graph.count("afade=type=out") == graph.count("afade=type=in") == 2
        assert graph.count("alimiter=") == 1


def test_sox_runs_a_tree_of_itself(tmp_path: Path) -> None:
    scene = mix_scene(0.2)
    command = sox.Sox(summed=False).command(scene, tmp_path, tmp_path / "out.wav")
    decks = [word for word in command if word.startswith("|")]
    assert len(decks) == 4
    for deck in decks:
        inner = shlex.split(deck[1:])
        stems = [shlex.split(word[1:]) for word in inner if word.startswith("|")]
        assert len(stems) == 4
        assert all("rate" in stem for stem in stems)
        assert "rate" not in inner
    assert command[-3:-1] == ["gain", "-l"]


def test_csound_uses_every_stem_once() -> None:
    scene = mix_scene(0.2)
    document = csound.Csound("linear").document(scene)
    for deck in scene.decks:
        for stem in deck.stems:
            assert document.count(f'"{stem.path}", 1.06, 0, 0, 0, 2') == 1
    assert document.count("rbjeq") == 4 * 2 * 3


def test_a_definition_is_encoded_according_to_the_format() -> None:
    made = Definition("x")
    tone = made.unit("SinOsc", 2, [440.0, 0.0])[0]
    made.unit("Out", 2, [0.0, made.operate(2, tone, 0.5)], 0)
    assert made.encoded() == (
        b"SCgf" + bytes.fromhex("00000002 0001") + b"\x01x"
        + bytes.fromhex("00000003 43dc0000 00000000 3f000000")
        + bytes.fromhex("00000000 00000000 00000003")
        + b"\x06SinOsc" + bytes.fromhex("02 00000002 00000001 0000")
        + bytes.fromhex("ffffffff 00000000 ffffffff 00000001 02")
        + b"\x0cBinaryOpUGen" + bytes.fromhex("02 00000002 00000001 0002")
        + bytes.fromhex("00000000 00000000 ffffffff 00000002 02")
        + b"\x03Out" + bytes.fromhex("02 00000002 00000000 0000")
        + bytes.fromhex("ffffffff 00000001 00000001 00000000")
        + bytes.fromhex("0000")
    )  # fmt: skip


def test_a_score_is_bundles_with_their_lengths() -> None:
    said = message("/a", 1, "hi", b"xyz")
    assert said == b"/a\0\0,isb\0\0\0\0\0\0\0\x01hi\0\0\0\0\0\x03xyz\0"
    whole = score([(0.5, [said])])
    assert whole == (
        (16 + 4 + len(said)).to_bytes(4, "big") + b"#bundle\0" + (1 << 31).to_bytes(8, "big")
        + len(said).to_bytes(4, "big") + said
    )  # fmt: skip
