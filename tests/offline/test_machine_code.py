"""The kernels from a file: without numba, and the same bits."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server import PROJECT

SET = "0 /deck/A/load numbers.wav\n0 /deck/A/rate 1.06\n0 /deck/A/eq/mid 0.4\n0 /deck/A/play\n"
PROGRAM = """
import sys
from crowdstream.cli import main
status = main(["render", "mix.txt", "out.wav", "--quiet", "--seconds", "2"])
print("numba" if "numba" in sys.modules else "file", status)
"""


@pytest.fixture
def place(folder: Path) -> Path:
    (folder / "mix.txt").write_text(SET, encoding="utf-8")
    return folder


def render(place: Path) -> tuple[str, str]:
    """What has loaded the kernels, and the hash of the file."""
    env = {**os.environ, "PYTHONPATH": str(PROJECT), "XDG_CACHE_HOME": str(place / "cache")}
    # The compiler's own cache stays: a test need not wait for it.
    env["NUMBA_CACHE_DIR"] = numba_cache()
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM], cwd=place, env=env, capture_output=True, text=True,
        timeout=110, check=True,
    )  # fmt: skip
    who, status = done.stdout.split()
    assert status == "0" and not done.stderr
    return who, hashlib.sha256((place / "out.wav").read_bytes()).hexdigest()


def numba_cache() -> str:
    """Where the compiler keeps what it has made of these sources."""
    import crowdstream.engine.jit  # noqa: F401  (it chooses)

    return os.environ["NUMBA_CACHE_DIR"]


def test_the_second_time_there_is_no_compiler_and_the_bits_are_the_same(place: Path) -> None:
    assert render(place)[0] == "numba"
    first = render(place)
    assert first[0] == "file"
    (code,) = (place / "cache/crowdstream/kernels").glob("*.code")
    code.write_bytes(code.read_bytes()[:1000])
    assert render(place) == ("numba", first[1])
    assert render(place) == first


def test_where_nothing_can_be_kept_it_renders_all_the_same(place: Path) -> None:
    (place / "cache").write_text("a file where a folder should be")
    assert render(place)[0] == "numba"
