"""Cache of folder verdicts in the user's cache directory, valid until a file in the folder changes.

There is one small file per folder. A process that has compared a folder's audio (`folder.py`)
writes it; the server's control process, which must not read audio itself, reads it. A cache that
can't be written is not an error: the verdict is then kept for the lifetime of the process.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crowdstream.audiofile.stems.folder import SEVERAL, STEMS, TRACKS, LeftOut, StemFile, Verdict
from crowdstream.system.private_dirs import create_private_folder

VERSION = 2  # of the classification; a change invalidates cached verdicts
MAX_BYTES = 1 << 16  # of one cache file
MAX_KEPT = 1000  # verdicts in memory, a few kilobytes each
MAX_FILES = 50_000  # cache files, of about 500 bytes each
PRUNE_EVERY = 1000  # files written between prunings; the first write of a process prunes, too

_kept: OrderedDict[tuple[str, str], tuple[list[Any], Verdict]] = OrderedDict()
_lock = threading.Lock()
_written = 0


def cache_folder() -> Path:
    """Return `$XDG_CACHE_HOME/crowdstream/folders`; XDG_CACHE_HOME defaults to `~/.cache`."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(home)) / "crowdstream" / "folders"


def recall(folder: Path, files: Sequence[Path], foreign: Sequence[Path] = ()) -> Verdict | None:
    """Return the cached verdict on a folder with these files; None if there is none.

    files: those that a deck can load. foreign: other audio files.
    """
    marks = marks_of(files, foreign)
    key = _key(folder)
    with _lock:
        kept = _kept.get(key)
    if kept is not None and kept[0] == marks:
        return kept[1]
    verdict = _read(_place(key), [*files, *foreign], marks)
    if verdict is not None:
        _keep(key, marks, verdict)
    return verdict


def remember(folder: Path, marks: list[Any], verdict: Verdict) -> None:
    """Cache the verdict on a folder.

    marks: `marks_of` its files before they were read. If a file has changed since, the verdict may
    be wrong, and is not valid for the new file.
    """
    key = _key(folder)
    _keep(key, marks, verdict)
    text = json.dumps(
        {
            "version": VERSION,
            "files": marks,
            "kind": verdict.kind,
            "reason": verdict.reason,
            "firm": verdict.not_stems,
            "stems": [[stem.name, stem.path.name] for stem in verdict.stems],
            "left_out": [
                [one.path.name, one.reason, one.lost, one.track] for one in verdict.left_out
            ],
        }
    )
    if len(text) > MAX_BYTES:
        return
    place = _place(key)
    with contextlib.suppress(OSError):
        base = place.parent.parent
        create_private_folder(base.parent, base.name, place.parent.name)
        _prune(place.parent)
        handle, temporary = tempfile.mkstemp(".part", dir=place.parent)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(text)
            os.replace(temporary, place)
        except OSError:
            os.unlink(temporary)
            raise


def _prune(folder: Path) -> None:
    # Delete the oldest cache files above the limit; their folders have probably been deleted.
    global _written
    _written += 1
    if (_written - 1) % PRUNE_EVERY:
        return
    with os.scandir(folder) as entries:
        found = [(entry.stat().st_mtime_ns, entry.path) for entry in entries]
    for _, path in sorted(found)[: max(0, len(found) - MAX_FILES)]:
        os.unlink(path)


def _keep(key: tuple[str, str], marks: list[Any], verdict: Verdict) -> None:
    with _lock:
        _kept[key] = marks, verdict
        _kept.move_to_end(key)
        while len(_kept) > MAX_KEPT:
            _kept.popitem(last=False)


def _key(folder: Path) -> tuple[str, str]:
    return str(cache_folder()), os.path.abspath(folder)


def _place(key: tuple[str, str]) -> Path:
    return Path(key[0]) / f"{hashlib.sha256(os.fsencode(key[1])).hexdigest()[:32]}.json"


def marks_of(files: Sequence[Path], foreign: Sequence[Path] = ()) -> list[Any]:
    """Return the state of a folder's files, for which a verdict is valid; see `recall`."""
    return [_marks(files), _marks(foreign)]


def _marks(files: Sequence[Path]) -> list[Any]:
    # Name, size in bytes and modification time in ns of each file. Neither changes when a file
    # becomes readable, but the verdict may.
    marks: list[Any] = []
    for file in files:
        mark = [file.name, -1, 0]
        with contextlib.suppress(OSError, ValueError):
            status = os.stat(file)
            if os.access(file, os.R_OK):
                mark = [file.name, status.st_size, status.st_mtime_ns]
        marks.append(mark)
    return marks


def _read(place: Path, files: Sequence[Path], marks: list[Any]) -> Verdict | None:
    try:
        with place.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        known = json.loads(data) if len(data) <= MAX_BYTES else {}
        if known["version"] != VERSION or known["files"] != marks:
            return None
        by_name = {file.name: file for file in files}
        kind = {STEMS: STEMS, TRACKS: TRACKS, SEVERAL: SEVERAL}[known["kind"]]
        return Verdict(
            kind,
            str(known["reason"]),
            tuple(StemFile(str(name), by_name[file]) for name, file in known["stems"]),
            tuple(
                LeftOut(by_name[file], str(reason), bool(lost), bool(track))
                for file, reason, lost, track in known["left_out"]
            ),
            is_final=True,
            not_stems=bool(known["firm"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
