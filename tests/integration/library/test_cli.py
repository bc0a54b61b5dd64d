"""`crowdstream analyze`: incremental analysis, output, exit status and interruption."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from crowdstream.cli import main
from crowdstream.library.cli import analyze
from crowdstream.library.database import Library
from tests.support.analyze_command import Analyze, Sound, analyze_here
from tests.support.server import PROJECT, WAIT_SECONDS, until

PROGRAM = """
import sys
from tests.support.analyze_command import analyze_here
sys.exit(analyze_here(*sys.argv[1:]))
"""

Output = pytest.CaptureFixture[str]


def test_only_new_and_changed_tracks_are_analysed(
    tmp_path: Path, run: Analyze, sound: Sound, capsys: Output
) -> None:
    music = tmp_path / "music"
    for name in ("drums", "bass"):
        sound(music / "song" / f"{name}.wav")
    sound(music / "b.flac")
    (music / "bad.wav").write_bytes(b"RIFF????WAVE")
    assert run(music) == 1
    first = capsys.readouterr()
    assert "3 tracks: 2 analysed, 0 already known, 1 bad" in first.out
    assert f"{music / 'bad.wav'}: its WAV header ends" in first.err
    # A second run analyses nothing, not even the bad track, and starts no worker.
    assert run(music) == 1
    assert "3 tracks: 0 analysed, 2 already known, 1 bad" in capsys.readouterr().out
    # A changed file, a file replaced by one of the same size and time, and a repaired file.
    sound(music / "song" / "bass.wav", 0.7)
    before = os.stat(music / "b.flac")
    (music / "new.flac").write_bytes(bytes(before.st_size))
    os.utime(music / "new.flac", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(music / "new.flac", music / "b.flac")
    sound(music / "bad.wav")
    run(music)
    assert "0 already known" in capsys.readouterr().out
    assert run(music, "--again") == 1  # b.flac now holds only zeros
    assert "2 analysed, 0 already known, 1 bad" in capsys.readouterr().out


def test_new_inode_numbers_cause_no_new_analysis(
    tmp_path: Path, run: Analyze, sound: Sound, capsys: Output
) -> None:
    file = sound(tmp_path / "music" / "a.wav")
    assert run(tmp_path / "music") == 0
    shutil.copy2(file, tmp_path / "copy")
    os.replace(tmp_path / "copy", file)  # the same content and time, another inode
    assert run(tmp_path / "music") == 0
    assert "0 analysed, 1 already known" in capsys.readouterr().out.splitlines()[-1]


def test_tags_that_an_earlier_version_did_not_read_are_added_without_an_analysis(
    tmp_path: Path, run: Analyze, sound: Sound, place: Path, capsys: Output
) -> None:
    file = sound(tmp_path / "music" / "a.flac")
    samples, rate = soundfile.read(file)
    with soundfile.SoundFile(file, "w", rate, samples.ndim) as opened:
        opened.genre = "Dub; Reggae"
        opened.write(samples)
    assert run(tmp_path / "music") == 0
    with Library(place) as library:
        row = library.row(str(file))
        assert row is not None and row.labels == ("Dub", "Reggae")
        del row.tags["labels"]
        library.put([row])
    assert run(tmp_path / "music") == 0
    assert "0 analysed, 1 already known" in capsys.readouterr().out.splitlines()[-1]
    with Library(place) as library:
        [entry] = library.find()
        assert entry.labels == ("Dub", "Reggae")
    assert run("--set", "tags=lounge, late", file) == 0
    with Library(place) as library:
        [entry] = library.find()
        assert entry.labels == ("lounge", "late")


def test_moved_and_copied_tracks_are_not_analysed_again(
    tmp_path: Path, run: Analyze, sound: Sound, place: Path, capsys: Output
) -> None:
    file = sound(tmp_path / "old" / "a.wav")
    assert run(file, "--set", "key=3B") == 0
    (tmp_path / "new").mkdir()
    os.rename(file, tmp_path / "new" / "b.wav")
    assert run(tmp_path / "new") == 0
    assert "0 analysed, 0 already known, 1 moved or copied" in capsys.readouterr().out
    with Library(place) as library:
        [entry] = library.find()
        assert (entry.path, entry.name) == (str(tmp_path / "new" / "b.wav"), "b")
        assert entry.key == "3B"  # a correction moves with the track
    shutil.copy2(tmp_path / "new" / "b.wav", tmp_path / "new" / "c.wav")
    assert run(tmp_path / "new") == 0
    with Library(place) as library:
        assert [entry.key for entry in library.find()] == ["3B", "8A"]


def test_copies_that_move_together_do_not_share_a_correction(
    tmp_path: Path, run: Analyze, sound: Sound, place: Path, capsys: Output
) -> None:
    first = sound(tmp_path / "old" / "a.wav", 0.1)
    for number in range(20):
        shutil.copy2(first, tmp_path / "old" / f"b{number:02}.wav")
    assert run(tmp_path / "old") == 0
    assert run("--set", "key=3B", first) == 0
    os.rename(tmp_path / "old", tmp_path / "new")
    capsys.readouterr()
    assert run(tmp_path / "new") == 0
    assert "0 analysed, 0 already known, 21 moved or copied" in capsys.readouterr().out
    with Library(place) as library:
        keys = [entry.key for entry in library.find()]
        assert len(keys) == 21 and keys.count("3B") == 1


def test_missing_tracks_are_kept_until_they_are_forgotten(
    tmp_path: Path, run: Analyze, sound: Sound, place: Path, capsys: Output
) -> None:
    music = tmp_path / "music"
    sound(music / "a.wav")
    file = sound(music / "b.wav")
    assert run(music, "--set", "bpm=99", "--quiet") == 1  # ambiguous: the folder holds two tracks
    assert "--set requires the track itself" in capsys.readouterr().err
    assert run(music) == 0
    os.rename(file, tmp_path / "away")
    assert run(music) == 0
    assert "1 gone" in capsys.readouterr().out
    with Library(place) as library:
        assert len(library.find()) == 1
    os.rename(tmp_path / "away", file)
    assert run(music) == 0
    assert "2 already known" in capsys.readouterr().out
    # Tracks on an unmounted disk are not marked as gone.
    os.rename(music, tmp_path / "unmounted")
    assert run(music) == 1
    with Library(place) as library:
        assert len(library.find()) == 2
    os.rename(tmp_path / "unmounted", music)
    file.unlink()
    assert run(music, "--forget") == 0
    with Library(place) as library:
        assert len(library.known()) == 1


def test_a_sidecar_takes_precedence_over_corrections_by_set(
    tmp_path: Path, run: Analyze, sound: Sound, place: Path, capsys: Output
) -> None:
    file = sound(tmp_path / "a.wav", 20.0)
    sidecar = tmp_path / "a.crowdstream.toml"
    assert run(file, "--set", "bpm=60", "--set", "title=Mine", "--set", "vocals=none") == 0
    assert run(file, "--again", "--sidecar") == 0

    def known() -> tuple[float | None, str, str | None]:
        with Library(place) as library:
            [entry] = library.find()
            return entry.bpm, entry.title, entry.key

    assert known() == (60.0, "Mine", "8A")
    assert "bpm = 60" in sidecar.read_text(encoding="utf-8")
    sidecar.write_text('[track]\nkey = "5A"\ntitle = "Theirs"\n', encoding="utf-8")
    assert run(file) == 0
    assert known() == (60.0, "Theirs", "5A")
    capsys.readouterr()
    assert run(file, "--set", "key=6A") == 1
    assert "it sets key, and takes precedence over --set" in capsys.readouterr().err
    sidecar.write_text('[track]\nkey = "H9"\n', encoding="utf-8")
    for _ in range(2):  # each run reports it
        assert run(file) == 1
        assert "a.crowdstream.toml line 2: key 'H9' is unknown" in capsys.readouterr().err
    assert known() == (60.0, "Theirs", "5A")  # the last valid corrections
    sidecar.unlink()
    assert run(file, "--set", "bpm=") == 0
    assert known() == (120.0, "Mine", "8A")


def test_tracks_are_listed_as_text_and_as_json(
    tmp_path: Path, run: Analyze, sound: Sound, capsys: Output
) -> None:
    sound(tmp_path / "m" / "a song.wav")
    sound(tmp_path / "m" / "b.wav")
    (tmp_path / "m" / "bad.wav").write_bytes(b"RIFF????WAVE")
    run(tmp_path / "m")
    capsys.readouterr()
    assert run("--list") == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert run("--list", "--search", "SONG", "--bpm", "119-121", "--key", "Am,5A") == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split()[:4] == ["120.00", "8A", "0.60", "-9.5"] and "a song" in line
    assert run("--json", "--energy", "0.5-1", tmp_path / "m" / "b.wav") == 0
    about = json.loads(capsys.readouterr().out)
    assert about["name"] == "b" and about["analysis"]["tempo"]["bpm"] == 120.0
    assert run("--bad") == 0
    assert "bad.wav: its WAV header ends" in capsys.readouterr().out
    assert run("--list", "--key", "9A") == 1


def test_missing_and_empty_folders_are_reported(
    tmp_path: Path, run: Analyze, capsys: Output
) -> None:
    assert run(tmp_path / "nowhere") == 1
    assert "nowhere: there is no such file or folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty") == 1
    assert "no tracks here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "no folder given"),
        (["--list", "--set", "key=8A"], "--set requires a track"),
        (["x", "--set", "key=Q"], "write it as 8A"),
        (["x", "--set", "mood=good"], "unknown key 'mood'"),
        (["x", "--set", "bpm"], "not KEY=VALUE"),
        (["x", "--set", "bpm=fast"], "bpm is not a number"),
        (["x", "--set", "vocals=1-b"], "vocals must be spans in seconds"),
        (["x", "--jobs", "0"], "from 1 to 1024"),
        (["x", "--bpm", "100-120"], "require --list"),
        (["--list", "--bpm", "slow"], "not LOW-HIGH"),
        (["--list", "--key", "Q"], "is not a musical key"),
        (["x", "--nonsense"], "unrecognized"),
    ],
)
def test_invalid_options_give_one_line_and_exit_status_2(
    arguments: list[str], reason: str, capsys: Output
) -> None:
    with pytest.raises(SystemExit) as ended:
        analyze(arguments)
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert reason in message and len(message.splitlines()) == 1


def test_a_damaged_library_is_moved_aside_only_with_new_library(
    tmp_path: Path, run: Analyze, sound: Sound, place: Path, capsys: Output
) -> None:
    file = sound(tmp_path / "a.wav")
    place.write_bytes(b"rubbish" * 1000)
    assert run(file) == 1
    assert "--new-library" in capsys.readouterr().err
    assert place.read_bytes() == b"rubbish" * 1000
    assert run(file, "--new-library") == 0
    [aside] = tmp_path.glob("library.db.old-*")
    assert aside.read_bytes() == b"rubbish" * 1000
    assert run("--list") == 0
    folder = tmp_path / "folder.db"
    folder.mkdir()
    assert analyze_here("--library", folder, file) == 1
    assert "folder.db: it can't be used" in capsys.readouterr().err


def test_an_interrupted_run_is_resumed_by_the_next_one(
    tmp_path: Path, sound: Sound, place: Path
) -> None:
    for number in range(25):
        sound(tmp_path / "m" / f"{number:02}.wav", 0.01)
    sound(tmp_path / "m" / "endless.wav", 0.01)
    command = [
        sys.executable, "-c", PROGRAM, "--library", str(place), str(tmp_path / "m")
    ]  # fmt: skip
    ended, kept = [], []
    for number in (signal.SIGKILL, signal.SIGTERM):
        (tmp_path / "m" / "endless.begun").unlink(missing_ok=True)
        process = subprocess.Popen(
            command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        until((tmp_path / "m" / "endless.begun").exists)
        process.send_signal(number)
        out, err = process.communicate(timeout=WAIT_SECONDS)
        ended.append((process.returncode, "finished tracks are saved" in err))
        with Library(place, write=False) as library:
            kept.append(len(library.find()))
    assert ended == [(-signal.SIGKILL, False), (130, True)]
    # SIGKILL loses the results of the last seconds, SIGTERM loses nothing.
    assert 20 <= kept[0] <= kept[1] == 25
    assert f"26 tracks: {25 - kept[0]} analysed, {kept[0]} already known" in out


def test_analyze_is_a_subcommand_with_help(tmp_path: Path, capsys: Output) -> None:
    assert main(["analyze", str(tmp_path / "nowhere")]) == 1
    assert (tmp_path / "data" / "crowdstream" / "library.db").exists()
    with pytest.raises(SystemExit) as ended:
        main(["analyze", "--help"])
    assert ended.value.code == 0
    assert "Exit status: 0 success" in " ".join(capsys.readouterr().out.split())
