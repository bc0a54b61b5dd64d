"""Shared memory, free memory and swap, compared with the settings."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from crowdstream.doctor.check import FAIL, OK, WARN, Check, Machine
from crowdstream.settings import Settings

OTHER_MB = 300  # all processes together, excluding the stems
MIN_SHM = 64 << 20  # /dev/shm, where JACK keeps its buffers


def try_shared(size: int) -> str:
    """Allocate an anonymous file of `size` bytes; return "" or the reason for the failure.

    The system promises more memory than it has, so the available memory is checked separately.
    """
    try:
        fd = os.memfd_create("crowdstream-doctor", os.MFD_CLOEXEC)
    except (OSError, AttributeError) as error:
        return str(getattr(error, "strerror", None) or error)
    try:
        os.ftruncate(fd, size)  # does not use any memory yet
    except (OSError, OverflowError) as error:
        return str(getattr(error, "strerror", None) or error)
    finally:
        os.close(fd)
    return ""


def meminfo(machine: Machine) -> dict[str, int]:
    """Parse /proc/meminfo; values in MB."""
    text = machine.read("/proc/meminfo") or ""
    found = re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)
    return {name: int(kilobytes) // 1024 for name, kilobytes in found}


def shared_memory(
    machine: Machine, settings: Settings, attempt: Callable[[int], str] = try_shared
) -> Check:
    """Check the memory block that the processes share: `--cache-mb` plus what the mixer needs."""
    name, wanted = "shared memory", settings.effective_cache_mb
    data = {"wanted_mb": wanted}
    fix = f"lower --cache-mb (now {wanted} MB)"
    if reason := attempt(wanted << 20):
        return Check(name, FAIL, f"cannot allocate {wanted} MB: {reason}", fix, data)
    limit = machine.read("/sys/fs/cgroup/memory.max") or ""
    limits = {"this machine has": meminfo(machine).get("MemTotal", wanted + OTHER_MB)}
    if limit.isdigit():
        limits["this cgroup is limited to"] = int(limit) >> 20
    for whose, most in limits.items():
        if most < wanted + OTHER_MB:
            data["limit_mb"] = most
            return Check(name, FAIL, f"{wanted} MB for stems and {OTHER_MB} MB for the rest are "
                         f"needed, but {whose} {most} MB", fix, data)
    try:
        space = os.statvfs(machine.resolve("/dev/shm"))  # nosec B108  # only reads its size
        size = space.f_blocks * space.f_frsize
    except OSError:
        size = 0
    data["dev_shm_mb"] = size >> 20
    if size < MIN_SHM:
        return Check(name, WARN, f"{wanted} MB are available; /dev/shm has {size >> 20} MB, too "
                     "little for JACK", "sudo mount -o remount,size=256m /dev/shm", data)
    return Check(name, OK, f"{wanted} MB are available", data=data)


def free_memory(machine: Machine, settings: Settings) -> Check | None:
    """Compare the free memory with `--cache-mb`; None if the system does not report it."""
    info = meminfo(machine)
    if "MemAvailable" not in info:
        return None
    there, wanted = info["MemAvailable"], settings.effective_cache_mb + OTHER_MB
    data = {"available_mb": there, "wanted_mb": wanted}
    if there < wanted:
        return Check("free memory", WARN, f"{there} MB, but {settings.effective_cache_mb} MB for "
                     f"stems and {OTHER_MB} MB for the rest may be used", "close other programs, "
                     f"or lower --cache-mb to {max(16, there - OTHER_MB)}", data)
    return Check("free memory", OK, f"{there} MB, up to {wanted} MB may be used", data=data)


def swap(machine: Machine) -> Check:
    """Check where the system swaps to; an SD card is slow and wears out."""
    lines = (machine.read("/proc/swaps") or "").splitlines()[1:]
    places = [line.split()[0] for line in lines if line.split()]
    slow = [place for place in places if not place.startswith("/dev/zram")]
    data = {"places": places}
    if slow:
        fix = "sudo systemctl disable --now dphys-swapfile" if "/var/swap" in slow else (
    f"sudo swapoff {' '.join(slow)}, and remove it from /etc/fstab"
        )
        return Check("swap", WARN, f"on {', '.join(slow)}: swapped-out stems come back too late; "
                     "no swap, or zram, is better", fix, data)
    return Check("swap", OK, "zram" if places else "none", data=data)
