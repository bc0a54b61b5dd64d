"""Properties of this machine: its model, the matching preset, and its memory."""

import os
import re
from pathlib import Path

# The Linux kernel provides the board's name here on machines that boot with a device tree.
MODEL_FILE = Path("/proc/device-tree/model")

MIN_MEMORY_MB = 256

REST_BYTES = 300 << 20  # of all processes together, without the decoded audio

# Memory limits of a container (cgroup, version 2 and 1).
CGROUPS = Path("/sys/fs/cgroup")
LIMIT_FILES = (CGROUPS / "memory.max", CGROUPS / "memory" / "memory.limit_in_bytes")
OWN_CGROUPS = Path("/proc/self/cgroup")

_PI = re.compile(r"Raspberry Pi (?:Compute Module )?([0-9]*)")


def machine_model(model_file: Path = MODEL_FILE) -> str | None:
    """The machine's model as named by its firmware; None if there is no name (any PC)."""
    try:
        text = model_file.read_bytes().decode("utf-8", "replace")
    except OSError:
        return None
    # Device tree strings end with a NUL.
    return "".join(c for c in text if c.isprintable()).strip() or None


def preset_for(model: str | None) -> tuple[str, str]:
    """The name of the preset for a machine of this `model`, and the reason."""
    found = _PI.match(model or "")
    if model is None or found is None:
        return "desktop", "no Raspberry Pi found"
    # "4", "5", and the keyboards "400" and "500"; empty for the first Pi and the Zeros.
    generation = int(found[1][:1] or 1)
    if generation >= 5:
        return "pi5", model
    return "pi4", model if generation == 4 else f"the smallest preset, for a {model}"


def default_cache_mb(physical_bytes: int | None = None) -> int:
    """Default memory for decoded audio in MB (2**20 bytes): half of the machine's, at least 256.

    `physical_bytes` replaces the machine's own memory. Half, because the server needs up to 300 MB
    in addition, and the system uses the rest as a file cache, so that a track that was streamed
    once is not read from the card again. A service whose limit is lower than that gets what the
    limit leaves for it, or the kernel would kill it once the memory fills.
    """
    most = 1 << 63
    if physical_bytes is None:
        physical_bytes = min(_physical_bytes(), limited_bytes())
        most = limited_bytes(service_limit_files()) - REST_BYTES
    return max(MIN_MEMORY_MB, min(physical_bytes // 2, most) // 2**20)


def service_limit_files(own: Path = OWN_CGROUPS, root: Path = CGROUPS) -> tuple[Path, ...]:
    """Files with the memory limits of this process's service and of the slices that contain it."""
    try:
        lines = own.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ()
    found = []
    for line in lines:
        _number, controllers, path = [*line.split(":", 2), "", ""][:3]
        folder, name = root, "memory.max"
        if controllers:
            folder, name = root / "memory", "memory.limit_in_bytes"
            if "memory" not in controllers.split(","):
                continue
        for part in path.strip("/").split("/"):
            folder = folder / part
            found.append(folder / name)
    return tuple(found)


def limited_bytes(files: tuple[Path, ...] = LIMIT_FILES) -> int:
    """The lowest memory limit in these files in bytes; 2**63 without a limit."""
    limit = 1 << 63
    for file in files:
        try:
            limit = min(limit, int(file.read_text()))
        except (OSError, ValueError):  # "max", or no such limits here
            continue
    return limit


def _physical_bytes() -> int:
    """Physical memory in bytes, or 0 if the system does not report it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0
