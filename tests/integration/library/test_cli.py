"""`crowdstream analyze`: what it does again, what it says, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_only_what_is_new_or_has_changed_is_done(
    tmp_path: Path, run: Analyze, sound: Sound, capsys: Output
) -> None:
    music = tmp_path / "music"
    for name in ("drums", "bass"):
        sound(music / "song" / f"{name}.wav")
    sound(music / "b.flac")
    (music / "bad.wav").write_bytes(b"RIFF????WAVE")
    assert run(music) == 1
    first = capsys.readouterr()
    assert "3 tracks: 2 analysed, 0 known before, 1 bad" in first.out
    assert f"{music / 'bad.wav'}: its WAV header ends" in first.err
    # Nothing again, not the bad one either; and no worker is needed for that.
    assert run(music) == 1
    assert "3 tracks: 0 analysed, 2 known before, 1 bad" in capsys.readouterr().out
    # Changed, replaced by one of the same size and time, mended.
    sound(music / "song" / "bass.wav", 0.7)
    before = os.stat(music / "b.flac")
    (music / "new.flac").write_bytes(bytes(before.st_size))
    os.utime(music / "new.flac", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(music / "new.flac", music / "b.flac")
    sound(music / "bad.wav")
    run(music)
    assert "0 known before" in capsys.readouterr().out
    assert run(music, "--again") == 1  # b.flac holds nothing now
    assert "2 analysed, 0 known before, 1 bad" in capsys.readouterr().out



def test_a_disk_that_numbers_its_files_anew_changes_nothing(
    tmp_path: Path, run: Analyze, sound: Sound, capsys: Output
) -> None:
    file = sound(tmp_path / "music" / "a.wav")
    assert run(tmp_path / "music") == 0
    shutil.copy2(file, tmp_path / "copy")
    os.replace(tmp_path / "copy", file)  # the same, with another inode
    assert run(tmp_path / "music") == 0
    assert "0 analysed, 1 known before" in capsys.readouterr().out.splitlines()[-1]


def test_what_was_moved_or_copied_is_not_done_again(
    tmp_path: Path, run: Analyze, sound: Sound, place: Path, capsys: Output
) -> None:
    file = sound(tmp_path / "old" / "a.wav")
    assert run(file, "--set", "key=3B") == 0
    (tmp_path / "new").mkdir()
    os.rename(file, tmp_path / "new" / "b.wav")
    assert run(tmp_path / "new") == 0
    assert "0 analysed, 0 known before, 1 moved or copied" in capsys.readouterr().out
    with Library(place) as library:
        [entry] = library.find()
        assert (entry.path, entry.name) == (str(tmp_path / "new" / "b.wav"), "b")
        assert entry.key == "3B"  # what was said of it moves with it
    shutil.copy2(tmp_path / "new" / "b.wav", tmp_path / "new" / "c.wav")
    assert run(tmp_path / "new") == 0
    with Library(place) as library:
        assert [entry.key for entry in library.find()] == ["3B", "8A"]


def test_copies_that_move_together_share_no_correction(
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
    assert "0 analysed, 0 known before, 21 moved or copied" in capsys.readouterr().out
    with Library(place) as library:
        keys = [entry.key for entry in library.find()]
        assert len(keys) == 21 and keys.count("3B") == 1


def test_what_is_gone_is_kept_until_it_is_forgotten(
    tmp_path: Path, run: Analyze, sound: Sound, place: Path, capsys: Output
) -> None:
    music = tmp_path / "music"
    sound(music / "a.wav")
    file = sound(music / "b.wav")
    assert run(music, "--set", "bpm=99", "--quiet") == 1  # which one?
    assert "--set is for tracks that are named" in capsys.readouterr().err
    assert run(music) == 0
    os.rename(file, tmp_path / "away")
    assert run(music) == 0
    assert "1 gone" in capsys.readouterr().out
    with Library(place) as library:
        assert len(library.find()) == 1
    os.rename(tmp_path / "away", file)
    assert run(music) == 0
    assert "2 known before" in capsys.readouterr().out
    # A disk that is not there says nothing about what is on it.
    os.rename(music, tmp_path / "unmounted")
    assert run(music) == 1
    with Library(place) as library:
        assert len(library.find()) == 2
    os.rename(tmp_path / "unmounted", music)
    file.unlink()
    assert run(music, "--forget") == 0
    with Library(place) as library:
        assert len(library.known()) == 1


def test_corrections_by_hand_and_in_a_sidecar(
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
    assert "it says key, and goes before --set" in capsys.readouterr().err
    sidecar.write_text('[track]\nkey = "H9"\n', encoding="utf-8")
    for _ in range(2):  # each time: it is still wrong
        assert run(file) == 1
        assert "a.crowdstream.toml line 2: key is 'H9'" in capsys.readouterr().err
    assert known() == (60.0, "Theirs", "5A")  # what was read from it last
    sidecar.unlink()
    assert run(file, "--set", "bpm=") == 0
    assert known() == (120.0, "Mine", "8A")


def test_lists(tmp_path: Path, run: Analyze, sound: Sound, capsys: Output) -> None:
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


def test_nothing_there(tmp_path: Path, run: Analyze, capsys: Output) -> None:
    assert run(tmp_path / "nowhere") == 1
    assert "nowhere: there is no such file or folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty") == 1
    assert "no tracks here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "which folder?"),
        (["--list", "--set", "key=8A"], "of which track?"),
        (["x", "--set", "key=Q"], "write it as 8A"),
        (["x", "--set", "mood=good"], "'mood' can't be set"),
        (["x", "--set", "bpm"], "not KEY=VALUE"),
        (["x", "--set", "bpm=fast"], "bpm is not a number"),
        (["x", "--set", "vocals=1-b"], "vocals are seconds"),
        (["x", "--jobs", "0"], "from 1 to 1024"),
        (["x", "--bpm", "100-120"], "go with --list"),
        (["--list", "--bpm", "slow"], "not LOW-HIGH"),
        (["--list", "--key", "Q"], "is no key"),
        (["x", "--nonsense"], "unrecognized"),
    ],
)
def test_wrong_options_are_one_line_and_status_two(
    arguments: list[str], reason: str, capsys: Output
) -> None:
    with pytest.raises(SystemExit) as ended:
        analyze(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert reason in said and len(said.splitlines()) == 1


def test_a_damaged_library_is_told_and_put_aside_only_when_asked(
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


def test_it_is_stopped_or_killed_and_goes_on(tmp_path: Path, sound: Sound, place: Path) -> None:
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
        out, said = process.communicate(timeout=WAIT_SECONDS)
        ended.append((process.returncode, "what was done is kept" in said))
        with Library(place, write=False) as library:
            kept.append(len(library.find()))
    assert ended == [(-signal.SIGKILL, False), (130, True)]
    # Who is killed without a warning loses the last few; who is stopped loses nothing.
    assert 20 <= kept[0] <= kept[1] == 25
    assert f"26 tracks: {25 - kept[0]} analysed, {kept[0]} known before" in out


def test_it_is_a_command(tmp_path: Path, capsys: Output) -> None:
    assert main(["analyze", str(tmp_path / "nowhere")]) == 1
    assert (tmp_path / "data" / "crowdstream" / "library.db").exists()
    with pytest.raises(SystemExit) as ended:
        main(["analyze", "--help"])
    assert ended.value.code == 0
    assert "Exit status: 0 all is well" in " ".join(capsys.readouterr().out.split())
