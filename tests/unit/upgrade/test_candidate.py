"""Which installations can be upgraded to, and the reasons for those that can't."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from crowdstream.supervisor.upgrade import PROTOCOL
from crowdstream.system.installation import Installation
from crowdstream.upgrade import candidate
from crowdstream.upgrade.candidate import (
    KERNEL_BYTES,
    MB,
    WHEEL_BYTES,
    BadCandidate,
    Server,
    Wheel,
    check,
    find,
    install,
    numbers,
)

RUNNING = Installation("/old/bin/python", "/old", "0.5.0")


def server(**changes: Any) -> Server:
    """The running server."""
    hello = {
        "running": RUNNING, "started": RUNNING, "layout": "abc", "protocol": PROTOCOL, "pid": 1,
        "busy": "", "service": False, "environment": {"HOME": "/"},
    }  # fmt: skip
    return Server.of({**hello, **changes}, (os.geteuid(), os.getegid()))


def checkout(folder: Path) -> Path:
    """A checkout with its environment."""
    (folder / "crowdstream").mkdir(parents=True)
    (folder / "crowdstream" / "__init__.py").write_text("")
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    return folder


def test_a_checkout_is_run_by_its_own_environment(tmp_path: Path) -> None:
    path = checkout(tmp_path / "new")
    found = find(path)
    # Not the file that the link refers to, which would not find the environment's packages.
    assert found.python == str(path / ".venv" / "bin" / "python") and found.root == str(path)
    assert find(path, Path(sys.executable)).python == sys.executable


def test_an_environment_contains_the_package(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    (site / "crowdstream").mkdir(parents=True)
    (site / "crowdstream" / "__init__.py").write_text("")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    assert find(tmp_path)[:2] == (str(tmp_path / "bin" / "python"), str(site))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "can't be read: No such file"),
        ("file", "is neither a folder nor a wheel"),
        ("empty", "is not CrowdStream"),
        ("bare", "start-crowdstream.sh --install-only first"),
    ],
)
def test_a_path_without_an_installation_is_refused(
    tmp_path: Path, name: str, reason: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    shutil.rmtree(checkout(tmp_path / "bare") / ".venv")
    with pytest.raises(BadCandidate, match=reason) as raised:
        find(tmp_path / name)
    assert str(tmp_path / name) in str(raised.value)


def test_a_folder_that_may_not_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_path: Any) -> list[str]:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "listdir", denied)
    with pytest.raises(BadCandidate, match="can't be read: Permission denied"):
        find(checkout(tmp_path / "new"))


def test_a_python_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCandidate, match="nowhere does not exist"):
        find(checkout(tmp_path / "new"), tmp_path / "nowhere")


# What an installation says of itself ---------------------------------------------------------

NEW = Installation("/new/bin/python", "/new", "")


class Programs:
    """Replaces the programs of an installation; each call returns the next answer."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.modules: list[str] = []

    def __call__(self, command: list[str], **_options: Any) -> Any:
        self.modules.append(command[3])
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, output, error = answer
        return subprocess.CompletedProcess(command, status, output, error)


def about(**changes: Any) -> tuple[int, bytes, bytes]:
    """The answer of an installation that is in order."""
    said = {
        "version": "0.6.0", "root": "/new", "layout": "abc", "protocol": PROTOCOL, "kernels": True,
        "faults": [], **changes,
    }  # fmt: skip
    import json

    return 0, b"printed by a library\n" + json.dumps(said).encode() + b"\n", b""


def checked(
    monkeypatch: pytest.MonkeyPatch, *answers: Any, older: bool = False, **changes: Any
) -> tuple[Installation, bool, list[str]]:
    """Check `NEW`, whose programs give these answers; return what was reported, too."""
    programs = Programs(*answers)
    reports: list[str] = []
    monkeypatch.setattr(subprocess, "run", programs)
    found, live = check(NEW, server(**changes), reports.append, older)
    assert not programs.answers
    return found, live, reports


def test_a_newer_version_with_the_same_layout_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checked(monkeypatch, about()) == (NEW._replace(version="0.6.0"), True, [])
    assert checked(monkeypatch, about(version="0.5.0"))[1], "the same version, changed"


@pytest.mark.parametrize("changes", [{"layout": "def"}, {"protocol": PROTOCOL + 1}])
def test_another_layout_or_protocol_needs_a_restart(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    assert not checked(monkeypatch, about(**changes))[1]
    assert not checked(monkeypatch, about(), **changes)[1]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (OSError(errno.ENOEXEC, "Exec format error"), "is for another architecture"),
        (OSError(errno.EACCES, "Permission denied"), "the server's user may not run"),
        (OSError(errno.EIO, "Input/output error"), "does not start: Input/output error"),
        (subprocess.TimeoutExpired("x", 60), "did not end within 60 s"),
        ((1, b"", b"Traceback\nImportError: libm.so"), "does not start: ImportError: libm.so"),
        ((1, b"", b"x: No module named crowdstream.upgrade"), "it is older than this one"),
        ((0, b"hello\n", b""), "does not start: no output"),
        ((0, b"[1]\n", b""), "does not start"),
        (about(version="0.4.9"), "version 0.4.9 is older than 0.5.0, which is running"),
        (about(root="/elsewhere"), "imports CrowdStream from /elsewhere, not from /new"),
        (about(faults=["x: SyntaxError: bad", "y"]), "does not start: x: SyntaxError: bad"),
    ],
)
def test_a_bad_installation_is_refused(
    monkeypatch: pytest.MonkeyPatch, answer: Any, reason: str
) -> None:
    with pytest.raises(BadCandidate, match=reason) as raised:
        checked(monkeypatch, answer)
    assert len(str(raised.value).splitlines()) == 1


def test_an_older_version_is_accepted_if_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checked(monkeypatch, about(version="0.4.9"), older=True)[0].version == "0.4.9"


def test_the_running_installation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadCandidate, match="is the installation that is running"):
        checked(monkeypatch, running=Installation("/x", "/new", "0.5.0"))


def test_missing_kernels_are_compiled_first(monkeypatch: pytest.MonkeyPatch) -> None:
    programs = Programs(about(kernels=False), (0, b"", b""), about())
    monkeypatch.setattr(subprocess, "run", programs)
    reports: list[str] = []
    assert check(NEW, server(), reports.append)[1]
    assert programs.modules == [candidate.PROBE_MODULE, "crowdstream", candidate.PROBE_MODULE]
    assert "compiling" in reports[0]


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([(1, b"", b"MemoryError")], "can't be compiled: MemoryError"),
        ([(0, b"", b""), about(kernels=False)], "could not be saved"),
    ],
)
def test_kernels_that_can_not_be_compiled_are_a_reason(
    monkeypatch: pytest.MonkeyPatch, answers: list[Any], reason: str
) -> None:
    with pytest.raises(BadCandidate, match=reason):
        checked(monkeypatch, about(kernels=False), *answers)


def usage(free: int) -> Any:
    """A disk with so much free space."""
    return lambda _path: shutil._ntuple_diskusage(free, 0, free)


def test_a_full_disk_is_noticed_before_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", usage(KERNEL_BYTES - 1))
    with pytest.raises(BadCandidate, match="31 MB are free, and compiled kernels need 32 MB"):
        checked(monkeypatch, about(kernels=False))


def test_versions_are_compared_as_numbers() -> None:
    assert numbers("0.10.0") > numbers("0.9.9") and numbers("1.2.3rc1") == (1, 2, 3)


def test_programs_run_as_the_servers_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    mine = server()
    other = Server(**{**mine.__dict__, "account": (1000, 1001)})
    assert other.identity() == {"user": 1000, "group": 1001, "extra_groups": [1001]}
    assert Server(**{**mine.__dict__, "account": (0, 0)}).identity() == {}
    assert other.variables()["HOME"] == "/" and "CROWDSTREAM_HTTP_TOKEN" not in other.variables()


# Wheels --------------------------------------------------------------------------------------


def wheel(
    folder: Path, name: str = "crowdstream-0.6.0-py3-none-any.whl", project: str = "crowdstream"
) -> Path:
    """Write a wheel without contents."""
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        metadata = f"Metadata-Version: 2.1\nName: {project}\nVersion: 0.6.0\n"
        archive.writestr(f"{project}-0.6.0.dist-info/METADATA", metadata)
    return path


def test_nothing_that_another_users_process_names_is_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_named: Any) -> None:
        commands.append(command)
        raise subprocess.CalledProcessError(1, command)

    named = tmp_path / "theirs" / "bin" / "python"
    named.parent.mkdir(parents=True)
    named.symlink_to(sys.executable)
    mine = server(running=Installation(str(named), str(tmp_path / "theirs"), "0.5.0"))
    other = Server(**{**mine.__dict__, "account": (os.geteuid() + 1, 1)})
    monkeypatch.setattr(subprocess, "run", run)
    wheel = Wheel(tmp_path / "new.whl", "9.0.0")
    for one, python in ((mine, str(named)), (other, sys.executable)):
        with pytest.raises(BadCandidate):
            install(wheel, one, tmp_path / "new", lambda _text: None)
        assert commands.pop()[0] == python
    assert other.trusted() == Installation.own()
    assert Server(**{**mine.__dict__, "account": (0, 0)}).trusted() == mine.running


def test_a_wheel_names_its_version(tmp_path: Path) -> None:
    assert Wheel.read(wheel(tmp_path)).version == "0.6.0"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.whl", "can't be read: No such file"),
        ("text.whl", "is not a wheel, or it is damaged"),
        ("cut.whl", "is not a wheel, or it is damaged"),
        ("other-1.0-py3-none-any.whl", "is not CrowdStream, but other"),
        ("crowdstream-0.6.0-py3-none-linux_sparc64.whl", "is for another architecture"),
    ],
)
def test_a_wrong_wheel_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "text.whl").write_text("no archive")
    (tmp_path / "cut.whl").write_bytes(wheel(tmp_path).read_bytes()[:-10])
    wheel(tmp_path, "other-1.0-py3-none-any.whl", "other")
    wheel(tmp_path, "crowdstream-0.6.0-py3-none-linux_sparc64.whl")
    with pytest.raises(BadCandidate, match=reason):
        Wheel.read(tmp_path / name)


def test_a_wheel_with_damaged_contents_is_refused(tmp_path: Path) -> None:
    path = wheel(tmp_path)
    data = bytearray(path.read_bytes())
    data[data.index(b"Metadata-Version")] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadCandidate, match="damaged"):
        Wheel.read(path)


def test_a_failed_installation_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Wheel.read(wheel(tmp_path))
    place = tmp_path / "opt" / "crowdstream-0.6.0"
    for failure in (OSError(errno.ENOSPC, "No space left on device"),
                    subprocess.CalledProcessError(1, "venv")):
        programs = Programs(failure)
        monkeypatch.setattr(
            subprocess, "run", lambda command, _run=programs, **_options: _run(["", "", "", ""])
        )
        with pytest.raises(BadCandidate, match="the installation failed"):
            install(made, server(), place, lambda _text: None)
        assert list((tmp_path / "opt").iterdir()) == []


def test_a_wheel_is_not_installed_where_something_is(tmp_path: Path) -> None:
    made = Wheel.read(wheel(tmp_path))
    (tmp_path / "there").mkdir()
    with pytest.raises(BadCandidate, match="exists already"):
        install(made, server(), tmp_path / "there", lambda _text: None)


def test_a_wheel_is_not_installed_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", usage(WHEEL_BYTES - MB))
    with pytest.raises(BadCandidate, match="39 MB are free, and a new version need"):
        install(Wheel.read(wheel(tmp_path)), server(), tmp_path / "x" / "y", lambda _text: None)
    assert not (tmp_path / "x" / "y").exists()
