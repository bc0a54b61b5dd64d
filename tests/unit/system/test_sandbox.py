"""Restrictions of processes that read files, computed without restricting this one."""

from __future__ import annotations

import errno
import struct
from pathlib import Path

import pytest

from crowdstream.doctor.software import confinement
from crowdstream.system import sandbox
from crowdstream.system.process import PROJECT
from crowdstream.system.sandbox import Report, network_filter, readable

ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EACCES


def verdict(machine: str, architecture: int, call: int, argument: int) -> int:
    """The filter's result for a system call: interprets the BPF program."""
    program = list(struct.iter_unpack("HBBI", network_filter(machine)))
    data = {0: call, 4: architecture, 16: argument}
    value = at = 0
    while True:
        operation, yes, no, operand = program[at]
        if operation == 0x06:
            return int(operand)
        if operation == 0x20:
            value = data[operand]
        else:
            holds = value == operand if operation == 0x15 else value >= operand
            at += yes if holds else no
        at += 1


@pytest.mark.parametrize(
    ("machine", "architecture", "socket_call"),
    [("x86_64", 0xC000003E, 41), ("aarch64", 0xC00000B7, 198)],
)
def test_the_filter_admits_only_local_sockets(
    machine: str, architecture: int, socket_call: int
) -> None:
    assert verdict(machine, architecture, socket_call, 1) == ALLOW
    for family in (0, 2, 10, 16, 17, 40, 0xFFFFFFFF):
        assert verdict(machine, architecture, socket_call, family) == REFUSE
    for other in (0, 1, 9, 56, 257, 444):
        assert verdict(machine, architecture, other, 2) == ALLOW
    assert verdict(machine, architecture, 425, 1) == REFUSE, "io_uring has sockets of its own"
    assert verdict(machine, architecture, 0x40000000 | 41, 1) == REFUSE, "x32"
    assert verdict(machine, 0x40000003, 102, 1) == REFUSE, "calls of another architecture"


def test_without_media_folders_everything_is_readable() -> None:
    assert readable([]) == [Path("/")]


def test_with_media_folders_nothing_else_in_homes_is_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "people" / "pi"
    (home / "Music").mkdir(parents=True)
    (home / "Music" / "a.wav").touch()
    (home / ".ssh").mkdir()
    (tmp_path / "people" / "eve").mkdir()
    (tmp_path / "usb").mkdir()
    monkeypatch.setenv("HOME", str(home))
    found = readable([home / "Music"])
    assert home / "Music" in found and PROJECT in found
    assert tmp_path / "usb" in found and tmp_path / "people" / "eve" in found
    for closed in (home, home / ".ssh", home.parent, tmp_path, Path("/"), Path("/home")):
        assert closed not in found
    assert Path("/usr") in found and Path("/etc") in found


def test_the_parent_of_a_later_mount_point_is_readable(tmp_path: Path) -> None:
    assert tmp_path.resolve() in readable([tmp_path / "not-there-yet"])
    (tmp_path / "empty").mkdir()
    assert tmp_path.resolve() in readable([tmp_path / "empty"])


def test_doctor_reports_missing_restrictions() -> None:
    assert confinement(Report(True, True)).state == "ok"
    check = confinement(Report(True, False, "the kernel has no Landlock"))
    assert (check.state, check.text) == ("warn", "the kernel has no Landlock")


def test_the_sandbox_can_be_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sandbox.SANDBOX_VARIABLE, "no")
    assert sandbox.confine([]) == Report(False, False, "CROWDSTREAM_SANDBOX=no")
