"""Backup and restore: nothing is lost or written elsewhere, and wrong files are refused."""

from __future__ import annotations

import gzip
import io
import json
import os
import sqlite3
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crowdstream import backup as module
from crowdstream.backup import FORMAT, MANIFEST, Archive, BackupError, Plan, backup, restore
from crowdstream.library import default_path, schema
from crowdstream.library.database import Library
from crowdstream.settings.files import state_folder, user_config_path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with a library, settings, a token, a schedule and sets."""
    home = tmp_path / "home"
    for name in (*(f"XDG_{one}_HOME" for one in ("CONFIG", "DATA", "CACHE", "STATE")),
                 "STATE_DIRECTORY"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    for name in [name for name in os.environ if name.startswith("CROWDSTREAM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    settings = user_config_path(os.environ).parent
    settings.mkdir(parents=True)
    schedule = home / "venue" / "hours.toml"
    schedule.parent.mkdir()
    schedule.write_text("# hours\n")
    (settings / "config.toml").write_text(f'schedule = "{schedule}"\nport = 12345\n')
    (settings / "http-token").write_text("secret-token\n")
    (settings / "http-token").chmod(0o600)
    sets = home / "sets"
    sets.mkdir()
    (sets / "friday.toml").write_text("# friday\n")
    (sets / "notes.txt").write_text("no set\n")
    with Library(default_path()) as library:
        library._db.execute(
            "CREATE TABLE kept (value TEXT) STRICT"  # stands for what an analysis has found
        )
        library._db.execute("INSERT INTO kept VALUES ('corrected')")
    return home


def value() -> str:
    """What the library holds."""
    with sqlite3.connect(default_path()) as database:
        found = str(database.execute("SELECT value FROM kept").fetchone()[0])
    database.close()
    return found


def saved(tmp_path: Path, *options: str) -> Path:
    """Make a backup."""
    file = tmp_path / "backup.tar.gz"
    assert backup([str(file), *options]) == 0
    return file


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*")) if path.is_file()
    }  # fmt: skip


def test_everything_returns_on_an_empty_machine(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(tmp_path, "--include", str(home / "sets"))
    assert "keep it private" in capsys.readouterr().out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == [file.name]
    before = contents(home)
    home.rename(tmp_path / "lost")
    home.mkdir()
    assert restore([str(file), "--yes"]) == 0
    after = contents(home)
    library = str(default_path().relative_to(home))
    wanted = {name for name in before if not name.startswith(library)} - {"sets/notes.txt"}
    assert set(after) == wanted | {library}
    assert all(after[name] == before[name] for name in wanted)
    assert value() == "corrected"
    token = user_config_path(os.environ).parent / "http-token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600


def test_the_key_of_the_rooms_and_own_midi_mappings_are_included(
    tmp_path: Path, home: Path
) -> None:
    key, pads = home / "venue" / "rooms.key", home / "venue" / "pads.toml"
    key.write_text("a secret of all the rooms\n")
    key.chmod(0o600)
    pads.write_text("# pads\n")
    learned = state_folder(os.environ) / "midi-learned-nano.toml"
    learned.parent.mkdir(parents=True)
    learned.write_text("# learned\n")
    with (user_config_path(os.environ).parent / "config.toml").open("a") as config:
        config.write(f'rooms_key_file = "{key}"\nmidi_map = ["korg-nanokontrol2", "{pads}"]\n')
    file = saved(tmp_path)
    home.rename(tmp_path / "lost")
    home.mkdir()
    assert restore([str(file), "--yes"]) == 0
    assert pads.read_text() == "# pads\n"
    restored = user_config_path(os.environ).parent / "restored"
    assert (restored / "rooms.key").read_text() == "a secret of all the rooms\n"
    assert stat.S_IMODE((restored / "rooms.key").stat().st_mode) == 0o600
    assert (restored / learned.name).read_text() == "# learned\n"
    assert len([*restored.iterdir()]) == 2, "not the mapping that comes with the program"


def test_moved_files_of_the_same_name_are_all_restored(tmp_path: Path) -> None:
    folder = user_config_path(os.environ).parent / "restored"
    folder.mkdir()
    (folder / "set.toml").write_text("# of an earlier restore\n")
    for name in ("a", "b"):
        (tmp_path / "usb" / name).mkdir(parents=True)
        (tmp_path / "usb" / name / "set.toml").write_text(f"# {name}\n")
    file = saved(tmp_path, "--include", str(tmp_path / "usb"))
    (folder / "set.toml").unlink()
    assert restore([str(file), "--yes"]) == 0
    assert contents(folder) == {
        "set.toml": b"# of an earlier restore\n", "set-2.toml": b"# a\n", "set-3.toml": b"# b\n",
    }  # fmt: skip


def test_replaced_files_are_kept(tmp_path: Path, home: Path) -> None:
    file = saved(tmp_path, "--include", str(home / "sets" / "friday.toml"))
    (home / "sets" / "friday.toml").write_text("# changed\n")
    with sqlite3.connect(default_path()) as database:
        database.execute("UPDATE kept SET value = 'newer'")
    database.close()
    assert restore([str(file), "--yes"]) == 0
    assert value() == "corrected"
    assert (home / "sets" / "friday.toml").read_text() == "# friday\n"
    [old] = (home / "sets").glob("friday.toml.old-*")
    assert old.read_text() == "# changed\n"
    [library] = default_path().parent.glob("library.db.old-*")
    with sqlite3.connect(library) as database:
        assert database.execute("SELECT value FROM kept").fetchone() == ("newer",)
    database.close()


def test_a_library_in_use_is_saved_and_restored(tmp_path: Path) -> None:
    reader = sqlite3.connect(default_path())
    writer = sqlite3.connect(default_path())
    writer.execute("INSERT INTO kept VALUES ('not committed')")
    file = saved(tmp_path)
    writer.commit()
    writer.execute("UPDATE kept SET value = 'newer'")
    writer.commit()
    assert reader.execute("SELECT value FROM kept").fetchall() == [("newer",)] * 2
    assert restore([str(file), "--yes"]) == 0
    # Programs that have it open see the restored library, and can write to it.
    assert reader.execute("SELECT value FROM kept").fetchall() == [("corrected",)]
    writer.execute("INSERT INTO kept VALUES ('after')")
    writer.commit()
    assert len(reader.execute("SELECT value FROM kept").fetchall()) == 2
    reader.close()
    writer.close()


def test_nothing_is_changed_without_confirmation(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = saved(tmp_path)
    before = contents(home)
    monkeypatch.setattr("builtins.input", lambda _text: "no")
    assert restore([str(file)]) == 1
    assert restore([str(file), "--check"]) == 0
    assert contents(home) == before
    monkeypatch.setattr("builtins.input", lambda _text: "y")
    assert restore([str(file)]) == 0


def test_an_existing_backup_is_not_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(tmp_path)
    before = file.read_bytes()
    assert backup([str(file)]) == 2
    assert "--force" in capsys.readouterr().err and file.read_bytes() == before
    assert backup([str(file), "--force"]) == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["missing/backup.tar.gz"], "is not a folder"),
        (["b.tar.gz", "--include", "nowhere"], "neither a set file nor a folder"),
        (["b.tar.gz", "--library", "nowhere.db"], "there is no library"),
        (["b.tar.gz", "--config", "nowhere.toml"], "can be read"),
    ],
)
def test_a_backup_that_would_be_incomplete_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], reason: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert backup(arguments) == 2
    assert reason in capsys.readouterr().err
    assert {one.name for one in tmp_path.iterdir()} == {"home"}


def test_a_damaged_library_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for ending in ("-wal", "-shm"):
        Path(f"{default_path()}{ending}").unlink(missing_ok=True)
    default_path().write_bytes(b"no database" * 100)
    assert backup([str(tmp_path / "b.tar.gz")]) == 2
    assert "the library can't be read" in capsys.readouterr().err


def test_a_full_disk_leaves_no_part_of_a_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write", full)
    assert backup([str(tmp_path / "b.tar.gz")]) == 1
    assert "the disk is full" in capsys.readouterr().err
    assert {one.name for one in tmp_path.iterdir()} == {"home"}


def test_a_full_disk_while_restoring_changes_nothing(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(tmp_path, "--include", str(home / "sets"))
    (home / "sets" / "friday.toml").write_text("# changed\n")
    before = contents(home)
    usual, count = os.replace, 0

    def full(source: Any, target: Any) -> None:
        nonlocal count
        count += 1
        if count == 2:
            raise OSError(28, "No space left on device", str(target))
        usual(source, target)

    monkeypatch.setattr(os, "replace", full)
    assert restore([str(file), "--yes"]) == 1
    assert "the disk is full" in capsys.readouterr().err
    after = contents(home)
    library = str(default_path().relative_to(home))
    assert {name: data for name, data in after.items() if not name.startswith(library)} == {
        name: data for name, data in before.items() if not name.startswith(library)
    }


# Archives that are not what they seem ------------------------------------------------------------

Change = Callable[[dict[str, Any], dict[str, bytes]], None]


def rewritten(file: Path, change: Change) -> Path:
    """Change the manifest and the members of a backup."""
    with tarfile.open(file) as archive:
        members = {
            one.name: file_.read() for one in archive if (file_ := archive.extractfile(one))
        }
    manifest = json.loads(members.pop(MANIFEST))
    change(manifest, members)
    made = file.with_name("changed.tar.gz")
    with tarfile.open(made, "w:gz") as archive:
        for name, data in {MANIFEST: json.dumps(manifest).encode(), **members}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return made


def _newer(manifest: dict[str, Any], _members: dict[str, bytes]) -> None:
    manifest["format"] = FORMAT + 1


def _another(manifest: dict[str, Any], members: dict[str, bytes]) -> None:
    members["1"] = members["1"][:-1] + b"!"


def _missing(_manifest: dict[str, Any], members: dict[str, bytes]) -> None:
    del members["1"]


def _extra(_manifest: dict[str, Any], members: dict[str, bytes]) -> None:
    members["../evil"] = b"x"


def _outside(manifest: dict[str, Any], _members: dict[str, bytes]) -> None:
    manifest["files"][1]["path"] = "../../.bashrc"


def _absolute(manifest: dict[str, Any], _members: dict[str, bytes]) -> None:
    manifest["files"][1]["path"] = "/etc/passwd"


def _twice(manifest: dict[str, Any], _members: dict[str, bytes]) -> None:
    manifest["files"][1]["path"] = manifest["files"][2]["path"]


def _kind(manifest: dict[str, Any], _members: dict[str, bytes]) -> None:
    manifest["files"][1]["kind"] = "program"


def _name(manifest: dict[str, Any], _members: dict[str, bytes]) -> None:
    manifest["files"][1]["name"] = "../1"


def _size(manifest: dict[str, Any], _members: dict[str, bytes]) -> None:
    manifest["files"][1]["size"] = 1 << 60


def _types(manifest: dict[str, Any], _members: dict[str, bytes]) -> None:
    manifest["files"] = {"0": 1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_newer, "in a format that this version does not know"),
        (_another, "in it is damaged"),
        (_missing, "it is incomplete"),
        (_extra, "does not name ../evil"),
        (_outside, "lies outside the settings"),
        (_absolute, "lies outside the settings"),
        (_twice, "names a place twice"),
        (_kind, "its manifest is damaged"),
        (_name, "its manifest is damaged"),
        (_size, "its manifest is damaged"),
        (_types, "its manifest is damaged"),
    ],
)
def test_a_changed_archive_is_refused_before_anything_is_changed(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str], change: Change, reason: str
) -> None:
    file = rewritten(saved(tmp_path), change)
    before = contents(home)
    assert restore([str(file), "--yes"]) == 2
    assert reason in capsys.readouterr().err
    assert contents(home) == before


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"\x1f\x8b", gzip.compress(b"", mtime=0), gzip.compress(b"x" * 2000, mtime=0),
     gzip.compress(b"\0" * 20000, mtime=0)],
    ids=["empty", "short", "cut", "nothing", "no tar", "empty tar"],
)  # fmt: skip
def test_another_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes
) -> None:
    file = tmp_path / "x"
    file.write_bytes(data)
    assert restore([str(file), "--yes"]) == 2
    error = capsys.readouterr().err
    assert str(file) in error and len(error.splitlines()) == 1


def test_a_missing_file_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert restore([str(tmp_path / "nowhere")]) == 2
    assert "can't be read" in capsys.readouterr().err


@pytest.mark.parametrize("cut", [100, 1000])
def test_a_truncated_archive_is_refused(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str], cut: int
) -> None:
    file = saved(tmp_path)
    file.write_bytes(file.read_bytes()[:-cut])
    before = contents(home)
    assert restore([str(file), "--yes"]) == 2
    assert contents(home) == before and capsys.readouterr().err


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "link.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        entry = tarfile.TarInfo(MANIFEST)
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    with pytest.raises(BackupError, match="is not a file"):
        Archive(file)


@pytest.mark.parametrize(
    "path", ["/etc/cron.d/x.toml", "~/.cargo/config.toml", "~/run.sh", "relative.toml"]
)
def test_other_files_go_only_to_harmless_places(tmp_path: Path, home: Path, path: str) -> None:
    place = path.replace("~", str(home))

    def change(manifest: dict[str, Any], _members: dict[str, bytes]) -> None:
        manifest["files"][-1]["path"] = place

    with Archive(rewritten(saved(tmp_path), change)) as archive:
        assert archive.members[-1].kind == "other"
        [step] = [one for one in Plan(archive).steps if one.moved]
        folder = user_config_path(os.environ).parent / "restored"
        assert step.target == folder / Path(path).name


def test_a_library_of_a_newer_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(tmp_path)
    monkeypatch.setattr(schema, "STEPS", schema.STEPS[:-1])
    assert restore([str(file), "--yes"]) == 2
    assert "a newer version of CrowdStream has written its library" in capsys.readouterr().err
    assert backup([str(tmp_path / "again.tar.gz")]) == 2
    assert "make the backup with that version" in capsys.readouterr().err


def test_a_present_library_that_is_damaged_is_moved_aside(tmp_path: Path) -> None:
    file = saved(tmp_path)
    for ending in ("-wal", "-shm"):
        Path(f"{default_path()}{ending}").unlink(missing_ok=True)
    default_path().write_bytes(b"no database" * 100)
    assert restore([str(file), "--yes"]) == 0
    assert value() == "corrected"
    assert len(list(default_path().parent.glob("library.db.old-*"))) == 1
