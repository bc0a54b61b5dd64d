"""Reading of set files in all formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from crowdstream.dj.setfile.errors import SetError
from crowdstream.offline.cues import Set
from crowdstream.offline.dj_set import read_dj_set
from crowdstream.offline.osc_score import is_score, read_score
from crowdstream.offline.text_set import read_text
from crowdstream.system.text import printable

DJ_SUFFIX = ".toml"
MAX_BYTES = 32 << 20  # a binary score for a night; text sets have lower limits of their own


def read_set(path: Path) -> Set:
    """Return the set in a file: text, a binary OSC score, or a DJ's set. Raises `SetError`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SetError(f"{printable(path)}: it can't be read ({error.strerror})") from None
    if len(data) > MAX_BYTES:
        raise SetError(f"{printable(path)}: it has more than {MAX_BYTES} bytes")
    return reader(data, path)(data, path)


def reader(data: bytes, path: Path) -> Callable[[bytes, Path], Set]:
    """Return the function that reads a file with these contents."""
    if path.suffix.lower() == DJ_SUFFIX:
        return read_dj_set
    return read_score if is_score(data) else read_text
