"""Kernels loaded from a file: numba is not imported, and the output is bit-identical."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from contrib.wheel import copy_sources
from crowdstream.engine.jit import kernel_cache
from crowdstream.engine.precompiled import load, ship, shipped_file
from tests.support.environment import PROJECT, child_environment

SET = "0 /deck/A/load numbers.wav\n0 /deck/A/rate 1.06\n0 /deck/A/eq/mid 0.4\n0 /deck/A/play\n"
PROGRAM = """
import sys
from crowdstream.cli import main
status = main(["render", "mix.txt", "out.wav", "--quiet", "--duration", "2"])
print("numba" if "numba" in sys.modules else "file", status)
"""


@pytest.fixture
def place(folder: Path) -> Path:
    (folder / "mix.txt").write_text(SET, encoding="utf-8")
    # Copy numba's compiled code, so that the test need not wait for the compiler.
    shutil.copytree(
        kernel_cache.folder(), folder / "cache", ignore=shutil.ignore_patterns("*.code")
    )
    return folder


def render(place: Path, project: Path = PROJECT) -> tuple[str, str]:
    """The source of the kernels ("numba" or "file"), and the hash of the rendered file."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM], cwd=place,
        env=child_environment(
            NUMBA_CACHE_DIR=str(place / "cache"), PYTHONPATH=str(project)
        ), capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    source, status = done.stdout.split()
    assert status == "0" and not done.stderr
    return source, hashlib.sha256((place / "out.wav").read_bytes()).hexdigest()


def test_the_second_start_needs_no_compiler_and_renders_the_same_bits(place: Path) -> None:
    assert render(place)[0] == "numba"
    first = render(place)
    assert first[0] == "file"
    (code,) = (place / "cache").glob("*.code")
    code.write_bytes(code.read_bytes()[:1000])
    assert render(place) == ("numba", first[1])
    assert render(place) == first
    # If the file can't be saved, numba loads the kernels each time.
    code.unlink()
    code.mkdir()
    assert render(place) == ("numba", first[1])


def test_a_package_with_machine_code_needs_no_compiler(
    place: Path, tmp_path: Path
) -> None:
    first = render(place)
    package = copy_sources(tmp_path)
    ship(package)
    shutil.rmtree(place / "cache")
    assert render(place, tmp_path) == ("file", first[1])
    # The code is refused if it was made from other sources.
    assert load(shipped_file(package), kernel_cache.digest())
    with pytest.raises(ValueError, match="other sources"):
        load(shipped_file(package), "0" * 64)
