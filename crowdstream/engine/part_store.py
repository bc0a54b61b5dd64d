"""Compiled parts of kernels in files, so that an interrupted compilation continues where it ended.

A file holds one part: its name is a hash of all that its code is made from (`part_keys.py`), and it
begins with a hash of what follows. It is written beside its place and then renamed. An entry that
was cut off or changed is deleted and compiled again. Nothing is flushed to the disk on purpose: a
power failure costs the parts of the last seconds, and each flush of a memory card would cost more.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import time
from pathlib import Path

from crowdstream.caches import UNUSED_SECONDS
from crowdstream.private import check_private

MAX_STORE_BYTES = 64_000_000
"""All parts of one version take about an eighth of that."""
MAX_UNFINISHED_SECONDS = 3600.0
"""A file that was being written when its process was killed is deleted after that."""
_DIGEST_BYTES = hashlib.sha256().digest_size
_NAME = re.compile(r"[0-9a-f]{64}(\.\d+-\d+)?")


class PartStore:
    """Bytes by a key of 64 hexadecimal digits. Every failure reads as "nothing is kept"."""

    def __init__(self, folder: Path | None, max_bytes: int = MAX_STORE_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._bytes: int | None = None  # in the folder, once something was written
        self._numbers = itertools.count()

    def load(self, key: str) -> bytes | None:
        """What is kept under a key, unless it is damaged."""
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
            os.utime(path)  # in use
        return content

    def save(self, key: str, content: bytes) -> bool:
        """Keep something; whether that was possible."""
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
        self._bytes = self._prune() if self._bytes is None else self._bytes + len(data)
        if self._bytes > self._max_bytes:
            self._bytes = self._prune()
        return True

    def discard(self, key: str) -> None:
        """Delete what is of no use."""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                (self._folder / key).unlink()

    def _prune(self) -> int:
        # Delete what is old, then what was not used for longest, down to three quarters of the
        # limit; returns the bytes that stay.
        now = time.time()
        kept: list[tuple[float, int, Path]] = []
        with contextlib.suppress(OSError):
            assert self._folder is not None
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
