"""Find a folder that may be on a removable file system, and notice when that one is replaced.

    folder = parse_place("label:MUSIC")
    presence = look(folder)
    presence.root                        # None while the file system is not mounted

A label is looked up in `/dev/disk/by-label`, and the mount point of its device in
`/proc/self/mountinfo`. Every call looks again, as a stick may be mounted elsewhere the next time.
Reading a file system that is about to disappear may block for as long as the kernel repeats the
read: call `look` in a thread that nothing waits for.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from crowdstream.system.safe_open import nearest_spelling
from crowdstream.system.text import printable

LABEL = "label:"
MAX_NAMES = 10_000  # names in the top folder that take part in an identity
_HEX = re.compile(rb"\\x([0-9a-fA-F]{2})")  # udev: bytes of a name in /dev/disk/by-label
_OCTAL = re.compile(rb"\\([0-7]{3})")  # the kernel: bytes of a path in mountinfo


@dataclass(frozen=True)
class SystemPaths:
    """Where the system describes its file systems. Tests use other folders."""

    by_label: Path = Path("/dev/disk/by-label")
    by_uuid: Path = Path("/dev/disk/by-uuid")
    mountinfo: Path = Path("/proc/self/mountinfo")
    block_devices: Path = Path("/sys/dev/block")


@dataclass(frozen=True)
class Place:
    """A folder, by its path or by the label of the file system whose top folder it is."""

    path: Path = Path()
    label: str = ""

    def __str__(self) -> str:
        return printable(LABEL + self.label if self.label else str(self.path))


@dataclass(frozen=True)
class Mount:
    """A line of mountinfo. `device`: major and minor number, such as "8:17"."""

    device: str
    point: str
    source: str


@dataclass(frozen=True)
class Presence:
    """What was found at a place.

    `root`: the folder; None if it is not there or cannot be read. `problem`: the reason.
    `identity`: differs if another file system, or another folder, is in the same place.
    `removable`: it is the top folder of a file system that can be unplugged.
    """

    root: Path | None
    problem: str = ""
    identity: tuple[object, ...] = ()
    removable: bool = False


@dataclass
class Memory:
    """Devices that have existed: one that no longer does was unplugged. One for all calls."""

    devices: set[str] = field(default_factory=set)


def parse_place(text: str) -> Place:
    """Return the place that a user names: `label:NAME` or a folder. Raise ValueError."""
    if text.startswith(LABEL):
        label = text[len(LABEL) :]
        if not label or "\0" in label:
            raise ValueError(f"{LABEL} requires the label of a file system, such as {LABEL}MUSIC")
        return Place(label=label)
    return Place(Path(os.path.abspath(os.path.expanduser(text))))


def mounts(paths: SystemPaths) -> list[Mount]:
    """Return all mounts, the latest last; none if the system does not list them."""
    found = []
    try:
        lines = paths.mountinfo.read_bytes().splitlines()
    except OSError:
        return []
    for line in lines:
        before, _, after = line.partition(b" - ")
        fields, more = before.split(), after.split()
        if len(fields) < 6 or len(more) < 2:
            continue
        device, point = fields[2].decode(), _unescape(_OCTAL, fields[4], 8)
        found.append(Mount(device, point, _unescape(_OCTAL, more[1], 8)))
    return found


def _unescape(pattern: re.Pattern[bytes], text: bytes, base: int) -> str:
    return os.fsdecode(pattern.sub(lambda found: bytes([int(found[1], base) & 255]), text))


def device_of(label: str, paths: SystemPaths) -> Path | None:
    """Return the device file of the file system with a label, or None.

    A label may be given as it is, or as udev spells it in `/dev/disk/by-label` (`MY\\x20MUSIC`).
    """
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(paths.by_label)):
            if label in (name, _unescape(_HEX, os.fsencode(name), 16)):
                device = Path(os.path.realpath(paths.by_label / name))
                return device if device.exists() else None
    return None


def look(place: Place, paths: SystemPaths | None = None, memory: Memory | None = None) -> Presence:
    """Return what is at a place now. Never raises: an error is a `problem`."""
    paths, memory = paths or SystemPaths(), memory or Memory()
    listed = mounts(paths)
    if place.label:
        device = device_of(place.label, paths)
        if device is None:
            return Presence(None, f"no file system with the label {printable(place.label)} is "
                            "plugged in")  # fmt: skip
        mount = _mount_of(device, listed)
        if mount is None:
            return Presence(None, f"the file system with the label {printable(place.label)} is not "
                            "mounted")  # fmt: skip
        root = Path(mount.point)
    else:
        root = nearest_spelling(place.path)
        mount = None
    try:
        root = Path(os.path.realpath(root, strict=True))
        mount = mount or _mount_at(str(root), listed)
        if mount is not None and _is_unplugged(mount, paths, memory):
            return Presence(None, f"the device of {printable(root)} was unplugged")
        with os.scandir(root) as entries:
            names = sorted(entry.name for entry, _ in zip(entries, range(MAX_NAMES), strict=False))
        status, system = os.stat(root), os.statvfs(root)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return Presence(None, f"{printable(root)} cannot be read ({reason})")
    visible = tuple(name for name in names if not name.startswith("."))
    if not visible:
        return Presence(None, f"{printable(root)} is empty")
    what: object = ""
    removable = False
    if mount is not None and mount.point == str(root) != "/":
        # The names only where the file system has no other identity: files may be added.
        what = _uuid(mount.source, paths) or hash(visible)
        removable = bool(place.label) or _is_removable(mount, paths)
    identity = (str(root), status.st_dev, status.st_ino, system.f_fsid, what)
    return Presence(root, "", identity, removable)


def _mount_of(device: Path, listed: list[Mount]) -> Mount | None:
    number = ""
    with contextlib.suppress(OSError):
        status = os.stat(device)
        number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}" if status.st_rdev else ""
    for mount in reversed(listed):
        # btrfs has a device number of its own.
        if mount.device == number or os.path.realpath(mount.source) == str(device):
            return mount
    return None


def _mount_at(path: str, listed: list[Mount]) -> Mount | None:
    # The mount that contains a real path: the latest one of those with the longest mount point.
    best: Mount | None = None
    for mount in listed:
        inside = path == mount.point or path.startswith(mount.point.rstrip("/") + "/")
        if inside and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def _is_unplugged(mount: Mount, paths: SystemPaths, memory: Memory) -> bool:
    # A file system stays mounted without its device, and its cached names can still be listed.
    if mount.device.startswith("0:"):
        return False
    if (paths.block_devices / mount.device).exists():
        memory.devices.add(mount.device)
        return False
    # A container may not show devices at all.
    return mount.device in memory.devices


def _is_removable(mount: Mount, paths: SystemPaths) -> bool:
    # The system reports memory cards and sticks as removable, and USB disks only by their bus.
    device = Path(os.path.realpath(paths.block_devices / mount.device))
    if "/usb" in str(device):
        return True
    for folder in (device, device.parent):  # a partition is in the folder of its disk
        with contextlib.suppress(OSError):
            return (folder / "removable").read_text(encoding="ascii").strip() == "1"
    return False


def _uuid(source: str, paths: SystemPaths) -> str:
    device = os.path.realpath(source)
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(paths.by_uuid)):
            if os.path.realpath(paths.by_uuid / name) == device:
                return name
    return ""
