"""Files with compiled parts of kernels, so that an interrupted compilation can be resumed.

There is one file per part. Its name is a hash of everything that the code is generated from
(`part_keys.py`), and it starts with a digest of its content. It is written under a temporary name
and then renamed. A truncated or modified file is deleted, and its part is compiled again. There is
no fsync: a power failure loses the parts of the last seconds, whereas one fsync per part would take
longer on an SD card.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import time
from pathlib import Path

from crowdstream.engine.jit.stale_caches import UNUSED_SECONDS
from crowdstream.system.private_dirs import check_private

MAX_STORE_BYTES = 64_000_000
"""Limit of the store. All parts of one version take 4 MB."""
MAX_UNFINISHED_SECONDS = 3600.0
"""Age at which a temporary file is deleted, because the writing process was killed."""
_DIGEST_BYTES = hashlib.sha256().digest_size
_NAME = re.compile(r"[0-9a-f]{64}(\.\d+-\d+)?")


class PartStore:
    """Byte strings under keys of 64 hexadecimal digits. No method raises `OSError`."""

    def __init__(self, folder: Path | None, max_bytes: int = MAX_STORE_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._bytes: int | None = None  # size of the folder, known after the first write
        self._numbers = itertools.count()

    def load(self, key: str) -> bytes | None:
        """Return the content saved under a key; None if there is none or it is damaged."""
        if self._folder is None:
            return None
        path = self._folder / key
        try:
            data = path.read_bytes()
        except OSError:
            return None
        digest, content = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        if hashlib.sha256(key.encode() + content).digest() != digest:
            self.discard(key)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # mark it as used
        return content

    def save(self, key: str, content: bytes) -> bool:
        """Save content under a key. Returns whether that succeeded."""
        if self._folder is None:
            return False
        data = hashlib.sha256(key.encode() + content).digest() + content
        path = self._folder / key
        unfinished = self._folder / f"{key}.{os.getpid()}-{next(self._numbers)}"
        try:
            check_private(self._folder)
            try:
                with unfinished.open("xb") as file:
                    file.write(data)
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)
        except OSError:
            return False
        self._bytes = self.prune() if self._bytes is None else self._bytes + len(data)
        if self._bytes > self._max_bytes:
            self._bytes = self.prune()
        return True

    def discard(self, key: str) -> None:
        """Delete the content under a key."""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                (self._folder / key).unlink()

    def prune(self) -> int:
        """Delete entries that have been unused for a month, and the oldest ones above the limit.

        Above the limit, entries are deleted until three quarters of the limit remain. Returns the
        remaining bytes.
        """
        if self._folder is None:
            return 0
        now = time.time()
        kept: list[tuple[float, int, Path]] = []
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                if not (name := _NAME.fullmatch(path.name)):
                    continue
                with contextlib.suppress(OSError):  # gone meanwhile
                    status = path.lstat()
                    age = now - status.st_mtime
                    if age > (MAX_UNFINISHED_SECONDS if name[1] else UNUSED_SECONDS):
                        path.unlink()
                    elif not name[1]:
                        kept.append((status.st_mtime, status.st_size, path))
        total = sum(size for _used, size, _path in kept)
        aim = self._max_bytes if total <= self._max_bytes else self._max_bytes * 3 // 4
        for _used, size, path in sorted(kept):
            if total <= aim:
                break
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size
        return total
