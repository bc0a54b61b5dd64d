"""Python and the libraries: whether they are installed and recent enough."""

from __future__ import annotations

import importlib.metadata
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path

from crowdstream.doctor.check import FAIL, OK, WARN, Check
from crowdstream.system.sandbox import Report, available

OLDEST, NEWEST = (3, 11), (3, 14)  # versions for which numba publishes packages
REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"
MP3_SINCE = (1, 1, 0)  # first libsndfile version that decodes MP3
INSTALL = "./start-crowdstream.sh --install-only"

# A requirement of an extra: `distributed>=2024.1; extra == "dask"`.
_EXTRA = re.compile(r";.*\bextra\s*==")
_LINE = re.compile(r"([A-Za-z0-9._-]+)\s*>=\s*([0-9.]+)")


def numbers(version: str) -> tuple[int, ...]:
    """Return the first three numbers of a version: 2.3rc1 is (2, 3, 1), 2 is (2, 0, 0)."""
    found = [int(number) for number in re.findall(r"\d+", version)]
    return tuple([*found, 0, 0, 0][:3])


def python(version: tuple[int, int] | None = None, bits: int | None = None) -> Check:
    """Check the interpreter. Tests pass another version and word size."""
    version = version or (sys.version_info[0], sys.version_info[1])
    bits = bits or struct.calcsize("P") * 8
    summary = f"{version[0]}.{version[1]}, {bits} bits"
    data = {"version": list(version), "bits": bits}
    if bits < 64:
        return Check("Python", FAIL, f"{summary}: numba does not support it",
                     "install a 64-bit system", data)
    if not OLDEST <= version <= NEWEST:
        return Check("Python", FAIL, f"{summary}: 3.11 to 3.14 is required", INSTALL, data)
    return Check("Python", OK, summary, data=data)


def required(text: str) -> dict[str, str]:
    """Parse the lines `name>=version` of a requirements file, without those of optional extras."""
    lines = [line.split("#")[0] for line in text.splitlines()]
    return dict(_LINE.findall("\n".join(line for line in lines if not _EXTRA.search(line))))


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def libraries(
    requirements: Path = REQUIREMENTS, installed: Callable[[str], str | None] = _installed
) -> Check:
    """Check the packages of requirements.txt."""
    try:
        wanted = required(requirements.read_text(encoding="utf-8"))
    except OSError:  # installed without the project folder
        lines = importlib.metadata.requires("crowdstream") or []
        wanted = required("\n".join(lines))
    found = {name: installed(name) for name in wanted}
    wrong = []
    for name, least in wanted.items():
        version = found[name]
        if version is None:
            wrong.append(f"{name} is missing")
        elif numbers(version) < numbers(least):
            wrong.append(f"{name} {version} is older than {least}")
    data = {"installed": found, "least": wanted}
    if wrong:
        return Check("libraries", FAIL, ", ".join(wrong), INSTALL, data)
    summary = ", ".join(f"{name} {version}" for name, version in found.items())
    return Check("libraries", OK, summary, data=data)


def formats(version: str | None = None) -> Check:
    """Check the file formats of libsndfile. Tests pass a `version`."""
    if version is None:
        try:
            import soundfile
        except (ImportError, OSError) as error:
            return Check("file formats", FAIL, f"libsndfile can't be used: {error}", INSTALL)
        version = str(soundfile.__libsndfile_version__)
    data = {"libsndfile": version}
    if numbers(version) < MP3_SINCE:
        return Check("file formats", WARN, f"libsndfile {version} does not read MP3",
             f"{INSTALL}, which installs its own", data)
    return Check("file formats", OK, f"libsndfile {version}: WAV, AIFF, FLAC, OGG, MP3",
                 data=data)


def confinement(found: Report | None = None) -> Check:
    """Check whether the processes that read files can be isolated from network and disk."""
    found = found or available()
    data = {"network": found.network, "files": found.files}
    if found.missing:
        return Check("loader's rights", WARN, found.missing,
             "a kernel 5.13 or later with Landlock: cat /sys/kernel/security/lsm", data)
    return Check("loader's rights", OK, "no network, and only the files that it needs", data=data)
