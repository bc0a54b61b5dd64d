"""Write a file in place of another one, atomically."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def replace_file(path: Path, data: bytes, mode: int) -> None:
    """Write a file with these contents and permissions in place of `path`, atomically.

    Its folder must exist. Raises `OSError`; then the previous file is unchanged.
    """
    import tempfile  # it imports a dozen modules, and most starts write nothing

    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
