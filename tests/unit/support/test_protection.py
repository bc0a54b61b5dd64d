"""Tests leave the machine's own files alone, whoever runs them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def test_nothing_is_written_to_the_system_even_through_a_link(tmp_path: Path) -> None:
    program = Path("/usr/bin/crowdstream-test-of-writing")
    link = tmp_path / "link"
    link.symlink_to(program)
    try:
        for path in (program, link):
            with pytest.raises(PermissionError, match="tests must not write to /usr/bin/"):
                path.write_text("text")
            with pytest.raises(PermissionError, match="tests must not write to /usr/bin/"):
                os.open(path, os.O_WRONLY | os.O_CREAT)
        assert not program.exists()
    finally:
        program.unlink(missing_ok=True)


def test_the_system_is_readable_and_temporary_folders_are_writable(tmp_path: Path) -> None:
    assert Path("/etc/passwd").read_text()
    (tmp_path / "file").write_text("text")
