"""Build a wheel whose first start needs no compiler.

    python -P -m contrib.wheel [FOLDER]

The wheel contains the mixing kernels as machine code for any processor of this machine's
architecture: x86-64 without extensions, or aarch64. `crowdstream compile` makes faster kernels for
the actual processor. Build the wheel on one machine of each architecture. It is written to FOLDER
(default: dist), and its path is printed.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PROCESSORS = {"x86_64": "x86-64", "aarch64": "generic"}
"""LLVM's name of the baseline processor of each architecture that wheels are built for."""
FILES = ("pyproject.toml", "requirements.txt", "README.md", "LICENSE", "audio_server.py")
_SHIP = """
import pathlib, sys
from crowdstream.engine.precompiled import ship
ship(pathlib.Path(sys.argv[1]))
"""


def copy_sources(place: Path) -> Path:
    """Copy the sources of a wheel; return the package in the copy."""
    for name in FILES:
        shutil.copy2(PROJECT / name, place / name)
    ignored = shutil.ignore_patterns("__pycache__", "*.code")
    return Path(shutil.copytree(PROJECT / "crowdstream", place / "crowdstream", ignore=ignored))


def compile_into(package: Path, processor: str, cache: Path) -> None:
    """Compile the kernels for a processor (LLVM's name) and write them into the package."""
    env = {
        **os.environ, "NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": "",
        "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(package.parent),
    }  # fmt: skip
    subprocess.run(
        [sys.executable, "-P", "-c", _SHIP, str(package)], check=True, env=env, cwd=package.parent
    )


def build(place: Path, folder: Path, *options: str) -> Path:
    """Build the wheel of a copy with pip's `options`; return its path in `folder`."""
    kind = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    (place / "setup.cfg").write_text(f"[bdist_wheel]\nplat_name = {kind}\n", encoding="utf-8")
    made = place / "made"
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *options]
    subprocess.run([*pip, "-w", str(made), str(place)], check=True)
    (wheel,) = made.glob("*.whl")
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy2(wheel, folder))


def main(argv: Sequence[str] | None = None) -> int:
    """Build the wheel and return the exit status."""
    parser = argparse.ArgumentParser(description="Build a wheel with compiled mixing kernels.")
    parser.add_argument("folder", nargs="?", type=Path, default=PROJECT / "dist")
    options = parser.parse_args(argv)
    processor = PROCESSORS.get(platform.machine())
    if processor is None:
        print(f"wheel: no wheels are built for {platform.machine()}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "sources"
        place.mkdir()
        compile_into(copy_sources(place), processor, Path(name) / "cache")
        print(build(place, options.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
