"""Checks of the installed services, of the DJ's music and of its library."""

from __future__ import annotations

import errno
import os
import socket
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from crowdstream.doctor import cli, network, service
from crowdstream.doctor.check import Check, Machine
from crowdstream.library.database import Library, examine_library
from crowdstream.library.schema import STEPS
from crowdstream.settings import Settings, validate
from crowdstream.system.removable import Presence
from tests.support.analysed_folder import analyse, music
from tests.support.doctor_machine import machine

PROJECT = Path("/opt/crowd stream")
PYTHON = f'"{PROJECT}/.venv/bin/python"'
SERVER = f'[Service]\nExecStart={PYTHON} "{PROJECT}/audio_server.py" "--port" "57130"\nUser=pi\n'
GOOD = {
    "LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active",
    "Result": "success", "NRestarts": "0", "NeedDaemonReload": "no", "ConditionResult": "yes",
}  # fmt: skip
SYSTEM = "/etc/systemd/system/"
HOME = {"HOME": "/home/pi", "USER": "pi"}
OWN = "/home/pi/.config/systemd/user/"


def dj(folder: str, *more: str) -> str:
    words = "".join(f' "{word}"' for word in ("-P", "-m", "crowdstream", "dj", folder, *more))
    return f"[Service]\nExecStart={PYTHON}{words}\n"


def systemctl(**shown: str) -> Callable[[Sequence[str]], str | None]:
    """systemctl with the state of all units."""

    def run(command: Sequence[str]) -> str | None:
        if "is-active" in command:
            return "active" if {**GOOD, **shown}["ActiveState"] == "active" else None
        return "\n".join(f"{name}={value}" for name, value in {**GOOD, **shown}.items())

    return run


def venue(root: Path, files: dict[str, str], linger: str = "yes", **shown: str) -> Machine:
    return machine(root, files, HOME, systemctl=systemctl(**shown), loginctl=linger)


# Units -----------------------------------------------------------------------------------------


def test_a_machine_without_services_is_in_order(tmp_path: Path) -> None:
    bare = machine(tmp_path)
    assert service.installed(bare) == []
    check = service.units(bare, [])
    assert check.state == "ok" and "--install-service" in check.text


def test_installed_units_are_read_as_they_were_written(tmp_path: Path) -> None:
    odd = dj("100 %%i $$HOME \\\"quoted\\\" back\\\\slash")
    units = {SYSTEM + "crowdstream.service": SERVER, OWN + "crowdstream-dj.service": odd}
    found = service.installed(venue(tmp_path, units))
    server, own_dj = found
    assert (server.name, server.is_system, server.user) == ("crowdstream.service", True, "pi")
    assert server.options() == ["--port", "57130"] == service.server_options(found)
    assert own_dj.options() == ['100 %i $HOME "quoted" back\\slash'] and not own_dj.is_system
    dynamic = "User=crowdstream\nDynamicUser=yes\n"
    (one,) = service.installed(venue(tmp_path / "b", {SYSTEM + "crowdstream.service": dynamic}))
    assert (one.user, one.command, one.options()) == ("", (), [])


def test_services_of_the_system_and_of_a_user_at_once_are_a_fault(tmp_path: Path) -> None:
    both = venue(
        tmp_path, {SYSTEM + "crowdstream.service": SERVER, OWN + "crowdstream.service": SERVER}
    )
    check = service.units(both, service.installed(both))
    assert check.state == "fail" and "--uninstall-service" in check.fix


@pytest.mark.parametrize(
    ("shown", "state", "text", "fix"),
    [
        ({}, "ok", "running, and started at each boot", ""),
        ({"NRestarts": "3"}, "ok", "restarted 3 times", ""),
        ({"UnitFileState": "disabled"}, "warn", "not started at boot",
         "sudo systemctl enable crowdstream.service"),
        ({"NeedDaemonReload": "yes"}, "warn", "has changed", "sudo systemctl daemon-reload"),
        ({"ActiveState": "inactive"}, "warn", "not running",
         "sudo systemctl start crowdstream.service"),
        ({"ActiveState": "failed", "Result": "watchdog"}, "fail", "it has failed (watchdog)",
         "journalctl -u crowdstream.service -n 30"),
        ({"ActiveState": "activating", "NRestarts": "9"}, "fail", "again and again (9 restarts)",
         "journalctl"),
        ({"ActiveState": "activating"}, "warn", "not running", "start"),
    ],
)  # fmt: skip
def test_state_of_a_unit(
    tmp_path: Path, shown: dict[str, str], state: str, text: str, fix: str
) -> None:
    here = venue(tmp_path, {SYSTEM + "crowdstream.service": SERVER}, **shown)
    (unit,) = service.installed(here)
    check = service.state(here, unit, PROJECT)
    assert check.name == "crowdstream.service" and check.state == state
    assert text in check.text and fix in check.fix and bool(check.fix) == (state != "ok")


def test_a_unit_of_another_installation_is_named(tmp_path: Path) -> None:
    here = venue(tmp_path, {SYSTEM + "crowdstream.service": SERVER})
    (unit,) = service.installed(here)
    check = service.state(here, unit, Path("/home/pi/other"))
    assert check.state == "warn" and f"{PROJECT}/.venv/bin/python" in check.text
    assert "--install-service" in check.fix


def test_wrong_options_of_a_unit_are_a_fault_and_not_used(tmp_path: Path) -> None:
    for number, (options, reason) in enumerate((
        ('"--bpm" "fast"', "bpm"), ('"--no-such-option"', "--no-such-option"),
    )):
        text = SERVER.replace('"--port" "57130"', options)
        here = venue(tmp_path / str(number), {SYSTEM + "crowdstream.service": text})
        found = service.installed(here)
        check = service.state(here, found[0], PROJECT)
        assert check.state == "fail" and reason in check.text
        assert service.server_options(found) == []


def test_a_user_service_that_does_not_linger_waits_for_a_login(tmp_path: Path) -> None:
    here = venue(tmp_path, {OWN + "crowdstream.service": SERVER}, linger="no")
    check = service.state(here, service.installed(here)[0], PROJECT)
    assert check.state == "warn" and check.fix == "sudo loginctl enable-linger pi"


def test_without_an_answer_of_systemd_the_state_is_unknown(tmp_path: Path) -> None:
    here = machine(tmp_path, {SYSTEM + "crowdstream.service": SERVER})
    found = service.installed(here)
    assert service.state(here, found[0], PROJECT).text == "systemd does not report its state"
    assert not service.running(here, found)


def test_a_dj_whose_set_has_ended_is_no_fault(tmp_path: Path) -> None:
    here = venue(tmp_path, {SYSTEM + "crowdstream-dj.service": dj("/m")}, ActiveState="inactive")
    check = service.state(here, service.installed(here)[0], PROJECT)
    assert check.state == "warn" and "the set has ended" in check.text


def test_the_governor_rests_where_the_frequency_does_not_change(tmp_path: Path) -> None:
    unit = {SYSTEM + "crowdstream-governor.service": "[Service]\nExecStart=/bin/sh -c 'x'\n"}
    for condition, state in (("no", "ok"), ("yes", "warn")):
        here = venue(tmp_path / condition, unit, ActiveState="inactive", ConditionResult=condition)
        assert service.state(here, service.installed(here)[0], PROJECT).state == state


def test_the_port_of_the_running_service_is_in_order(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        settings = validate(port=holder.getsockname()[1])
        assert network.port(machine(tmp_path), settings, service=True).state == "ok"
        assert network.port(machine(tmp_path), settings).state == "warn"


def test_without_options_the_doctor_checks_those_of_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = []

    def examine(_machine: Machine, settings: Settings) -> list[Check]:
        ports.append(settings.port)
        return []

    monkeypatch.setattr(cli, "examine", examine)
    here = venue(tmp_path, {SYSTEM + "crowdstream.service": SERVER})
    cli.doctor([], here)
    cli.doctor(["--port", "4000"], here)
    cli.doctor([], machine(tmp_path / "bare"))
    assert ports == [57130, 4000, 57120]


def test_the_report_has_a_line_for_each_unit(tmp_path: Path) -> None:
    here = venue(tmp_path, {SYSTEM + name: dj(str(tmp_path)) for name in
                            (service.SERVER, service.DJ, service.GOVERNOR)})  # fmt: skip
    names = [name for name, _ in cli._checks(here, validate())]
    assert names[names.index("service") :] == [
        "service", service.SERVER, service.DJ, "DJ's music", service.GOVERNOR, "library",
    ]  # fmt: skip


# Music -----------------------------------------------------------------------------------------


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of this user's library, which does not exist yet."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "crowdstream" / "library.db"


def check_music(root: Path, *words: str) -> Check:
    here = venue(root / "machine", {OWN + "crowdstream-dj.service": dj(*words)})
    return service.music(here, service.installed(here)[0])


def test_analysed_tracks_of_the_folder_are_counted(tmp_path: Path, library: Path) -> None:
    folder = music(tmp_path / "music", "abcd", 8)
    check = check_music(tmp_path, str(folder))
    assert check.state == "warn" and "4 tracks, 0 analysed" in check.text
    assert f"crowdstream analyze {folder}" in check.fix
    analyse(library, folder)
    check = check_music(tmp_path, str(folder))
    assert (check.state, check.fix) == ("ok", "") and "4 tracks, 4 analysed" in check.text
    # A track that has changed since has to be analysed again.
    track = next(path for path in sorted(folder.iterdir()) if path.is_file())
    os.utime(track, ns=(1, 1))
    assert "4 tracks, 3 analysed" in check_music(tmp_path, str(folder)).text


def test_bad_tracks_are_counted(tmp_path: Path, library: Path) -> None:
    folder = music(tmp_path / "music", "ab", 8)
    analyse(library, folder)
    with sqlite3.connect(library) as database:
        database.execute("UPDATE tracks SET error = 'no sound' WHERE id = 1")
    database.close()
    check = check_music(tmp_path, str(folder))
    assert "2 tracks, 1 analysed, 1 unusable" in check.text
    assert check.data["folders"][0]["unusable"] == 1


def test_a_folder_that_is_missing_empty_or_closed_is_a_fault(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = check_music(tmp_path, str(tmp_path / "none"))
    assert check.state == "fail" and "cannot be read (No such file or directory)" in check.text
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    check = check_music(tmp_path, str(tmp_path / "empty"))
    assert check.state == "fail" and "there are no tracks" in check.text
    folder = music(tmp_path / "music", "a", 8)
    monkeypatch.setattr(os, "access", lambda *_: False)
    check = check_music(tmp_path, str(folder))
    assert check.state == "fail" and "may not read it" in check.text and "chmod" in check.fix


def test_root_tries_as_the_user_of_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    folder = music(tmp_path / "music", "a", 8)
    tried: list[Sequence[str]] = []

    def runuser(command: Sequence[str]) -> str | None:
        tried.append(command)
        return None

    unit = dj(str(folder)) + "User=pi\n"
    here = machine(tmp_path / "m", {SYSTEM + service.DJ: unit}, HOME, runuser=runuser)
    check = service.music(here, service.installed(here)[0])
    assert check.state == "fail" and "pi may not read it" in check.text
    assert tried == [["runuser", "-u", "pi", "--", "test", "-r", str(folder)]]


def test_with_a_fallback_a_stick_may_be_missing(tmp_path: Path, library: Path) -> None:
    folder = music(tmp_path / "music", "ab", 8)
    analyse(library, folder)
    check = check_music(tmp_path, "label:MUSIC", "--dj-fallback", str(folder))
    assert check.state == "warn"
    assert "label:MUSIC: no file system with the label MUSIC is plugged in" in check.text
    assert f"fallback {folder}: 2 tracks, 2 analysed" in check.text
    assert check_music(tmp_path, "label:MUSIC").state == "fail"
    assert check_music(
        tmp_path, "label:MUSIC", "--dj-fallback", str(tmp_path / "none")
    ).state == "fail"


def test_a_set_file_must_be_readable(tmp_path: Path) -> None:
    file = tmp_path / "night.toml"
    assert check_music(tmp_path, str(file)).state == "fail"
    file.touch()
    check = check_music(tmp_path, str(file))
    assert check.state == "ok" and "night.toml" in check.text


# The library -----------------------------------------------------------------------------------


def check_library(root: Path, unit: str = "") -> Check:
    here = venue(root / "machine", {SYSTEM + service.DJ: unit} if unit else {})
    return service.library(here, service.installed(here))


def test_a_library_is_verified_and_not_changed(tmp_path: Path, library: Path) -> None:
    assert check_library(tmp_path).state == "ok"
    assert not library.exists()
    analyse(library, music(tmp_path / "music", "abc", 8))
    before = library.read_bytes()
    check = check_library(tmp_path)
    assert check.state == "ok" and f"{library}: 3 tracks" in check.text
    assert check.data["version"] == len(STEPS)
    assert library.read_bytes() == before


def test_a_damaged_or_newer_library_is_a_fault(tmp_path: Path, library: Path) -> None:
    analyse(library, music(tmp_path / "music", "abc", 8))
    with sqlite3.connect(library) as database:
        database.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    database.close()
    check = check_library(tmp_path)
    assert check.state == "fail" and "a newer version of CrowdStream has written it" in check.text
    library.write_bytes(b"SQLite format 3\0" + b"x" * 8000)
    check = check_library(tmp_path)
    assert check.state == "fail" and "damaged" in check.text and "--new-library" in check.fix


def test_an_older_library_is_not_migrated_by_a_check(tmp_path: Path, library: Path) -> None:
    library.parent.mkdir(parents=True)
    with sqlite3.connect(library) as database:
        database.executescript(STEPS[0])
        database.execute(f"PRAGMA application_id = {0x43524F57}")
        database.execute("PRAGMA user_version = 1")
    database.close()
    check = check_library(tmp_path)
    assert check.state == "ok" and "made by an earlier version" in check.text
    assert check.data["version"] == 1
    assert check_library(tmp_path).data["version"] == 1


def test_a_library_that_cannot_be_written_is_a_fault(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Library(library).close()
    monkeypatch.setattr(os, "access", lambda _path, mode: not mode & os.W_OK)
    check = check_library(tmp_path)
    assert check.state == "fail" and "may not write" in check.text and "chown" in check.fix


def test_a_library_in_another_users_folder_is_a_fault(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "exists", refuse)
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    check = check_library(tmp_path)
    assert check.state == "fail" and "Permission denied" in check.text
    assert "another user's" in check.fix


def test_the_library_is_that_of_the_services_user(tmp_path: Path, library: Path) -> None:
    dynamic = dj("/m") + "User=crowdstream\nDynamicUser=yes\n"
    check = check_library(tmp_path, dynamic)
    assert check.data["path"] == str(tmp_path / "machine/var/lib/crowdstream/library.db")
    check = check_library(tmp_path, dj("/m") + "User=root\n")
    assert check.data["path"] == "/root/.local/share/crowdstream/library.db"
    check = check_library(tmp_path, dj("/m") + "User=nobody-of-that-name\n")
    assert str(check.data["path"]).startswith("/home/nobody-of-that-name/")


def test_the_library_of_a_stick_is_read_on_the_stick(tmp_path: Path, library: Path) -> None:
    folder = music(tmp_path / "music", "ab", 8)
    kept = folder / ".crowdstream" / "library.db"
    analyse(kept, folder)
    presence = Presence(folder, removable=True)
    assert service.library_path(machine(tmp_path), None, presence) == (kept, True)
    files = sorted(kept.parent.iterdir())
    assert len(examine_library(kept, immutable=True).tracks) == 2
    assert sorted(kept.parent.iterdir()) == files
