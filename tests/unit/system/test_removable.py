"""Removable folders are found by label or path, and unplugged or replaced ones are noticed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crowdstream.system.removable import Memory, Place, SystemPaths, look, parse_place


class FakeSystem:
    """Folders that describe devices and mounts as the system does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = SystemPaths(
            folder / "by-label", folder / "by-uuid", folder / "mountinfo", folder / "block"
        )
        for path in (self.paths.by_label, self.paths.by_uuid, self.paths.block_devices):
            path.mkdir(parents=True)
        self.lines: list[str] = []
        self.mount(Path("/"), "overlay", "0:1")

    def plug(self, name: str, label: str, uuid: str, number: str = "8:17") -> Path:
        """Add a device file, and the links that udev makes for it."""
        device = self.folder / name
        device.touch()
        for links, link in ((self.paths.by_label, label), (self.paths.by_uuid, uuid)):
            (links / link).unlink(missing_ok=True)
            (links / link).symlink_to(device)
        (self.paths.block_devices / number).mkdir(exist_ok=True)
        return device

    def mount(self, point: Path, source: Path | str, number: str = "8:17") -> None:
        shown = str(point).replace("\\", "\\134").replace(" ", "\\040")
        self.lines.append(f"30 1 {number} / {shown} rw,relatime shared:1 - vfat {source} rw")
        self.paths.mountinfo.write_text("\n".join(self.lines) + "\n")


@pytest.fixture
def system(tmp_path: Path) -> FakeSystem:
    return FakeSystem(tmp_path / "system")


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    folder = tmp_path / "media" / "MY MUSIC"
    folder.mkdir(parents=True)
    (folder / "a.wav").touch()
    return folder


@pytest.mark.parametrize("label", ["MY MUSIC", "MY\\x20MUSIC"])
def test_a_label_is_found_once_its_file_system_is_plugged_in_and_mounted(
    system: FakeSystem, stick: Path, label: str
) -> None:
    place = parse_place(f"label:{label}")
    assert look(place, system.paths).root is None
    device = system.plug("sdb1", "MY\\x20MUSIC", "AB-CD")
    presence = look(place, system.paths)
    assert presence.root is None and "is not mounted" in presence.problem
    system.mount(stick, device)
    presence = look(place, system.paths)
    assert presence.root == stick and presence.removable and not presence.problem
    (system.paths.by_label / "MY\\x20MUSIC").unlink()
    assert "is plugged in" in look(place, system.paths).problem


def test_a_label_is_found_at_the_latest_mount_point(system: FakeSystem, stick: Path) -> None:
    device = system.plug("sdb1", "MUSIC", "AB-CD")
    other = stick.parent / "other"
    system.mount(other, device)
    system.mount(stick, device)
    assert look(parse_place("label:MUSIC"), system.paths).root == stick


def test_a_system_without_labels_or_mounts_is_no_error(tmp_path: Path, stick: Path) -> None:
    missing = SystemPaths(*[tmp_path / "none"] * 4)
    assert look(parse_place("label:MUSIC"), missing).root is None
    assert look(Place(stick), missing).root == stick


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda folder: folder.rename(folder.with_name("away")), "cannot be read"),
        (lambda folder: (folder / "a.wav").unlink(), "is empty"),
        (lambda folder: (folder / "a.wav").rename(folder / ".a.wav"), "is empty"),
    ],
)
def test_a_missing_or_empty_folder_is_not_there(
    system: FakeSystem, stick: Path, damage: Callable[[Path], Any], problem: str
) -> None:
    place = Place(stick)
    before = look(place, system.paths)
    assert before.root == stick and not before.removable
    damage(stick)
    presence = look(place, system.paths)
    assert presence.root is None and problem in presence.problem


def test_a_folder_that_cannot_be_listed_is_not_there(
    system: FakeSystem, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "scandir", refuse)
    assert "Input/output error" in look(Place(stick), system.paths).problem


def test_a_mount_whose_device_was_unplugged_is_not_there(system: FakeSystem, stick: Path) -> None:
    memory = Memory()
    system.mount(stick, system.plug("sdb1", "MUSIC", "AB-CD"))
    assert look(Place(stick / "."), system.paths, memory).root == stick
    (system.paths.block_devices / "8:17").rmdir()
    assert "unplugged" in look(Place(stick), system.paths, memory).problem
    # A container may not show its devices: only one that was seen can be missed.
    assert look(Place(stick), system.paths, Memory()).root == stick


def test_another_folder_or_file_system_in_the_same_place_is_noticed(
    system: FakeSystem, stick: Path
) -> None:
    first = look(Place(stick), system.paths)
    (stick / "b.wav").touch()
    assert look(Place(stick), system.paths).identity == first.identity
    stick.rename(stick.with_name("away"))
    stick.mkdir()
    (stick / "a.wav").touch()
    assert look(Place(stick), system.paths).identity != first.identity

    system.mount(stick, system.plug("sdb1", "ONE", "AB-CD"))
    one = look(Place(stick), system.paths)
    (system.paths.by_uuid / "AB-CD").unlink()
    system.plug("sdb1", "TWO", "EF-01")
    assert look(Place(stick), system.paths).identity != one.identity


@pytest.mark.parametrize(
    ("device", "removable", "expected"),
    [("pci0/usb1/1-1/block/sdb/sdb1", "0", True), ("pci0/mmc/block/mmcblk0/mmcblk0p1", "1", True),
     ("pci0/ata1/block/sda/sda1", "0", False)],
)  # fmt: skip
def test_a_fixed_disk_is_not_removable(
    system: FakeSystem, stick: Path, device: str, removable: str, expected: bool
) -> None:
    folder = system.folder / device
    folder.mkdir(parents=True)
    (folder.parent / "removable").write_text(removable + "\n")
    (system.paths.block_devices / "8:1").symlink_to(folder)
    system.mount(stick, "/dev/sda1", "8:1")
    assert look(Place(stick), system.paths).removable is expected


@pytest.mark.parametrize("text", ["label:", "label:a\0b"])
def test_an_invalid_label_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="label"):
        parse_place(text)
    assert str(parse_place("label:A")) == "label:A" and parse_place("a").path.is_absolute()
