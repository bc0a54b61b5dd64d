"""Folders of music that may disappear and return: what is there, analysed or not, and from when.

A `MusicFolder` looks at its place once a second, in a thread of its own: reading a stick that is
about to die may block for half a minute, and the DJ must not wait for it. The DJ reads the latest
`Contents`, which never change. `MusicSources` chooses between the DJ's folder and its fallback.
"""

from __future__ import annotations

import contextlib
import logging
import math
import operator
import os
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from crowdstream.dj.autopilot.background_analysis import entries_as_they_are
from crowdstream.dj.autopilot.track_selector import Source
from crowdstream.dj.planning.candidates import (
    Candidates,
    is_unchanged,
    merged,
    of_analyses,
    of_library,
)
from crowdstream.dj.setfile.model import SetEntry
from crowdstream.library import default_path
from crowdstream.library.database import Library, LibraryError, LibraryNotFound
from crowdstream.library.models import Query
from crowdstream.library.stick_library import StickNotWritable, fetch, merge, store, working_copy
from crowdstream.system.removable import Memory, Place, Presence, SystemPaths, look
from crowdstream.system.text import printable

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # between two looks at a folder
ANSWER_SECONDS = 0.5  # a folder that takes longer to answer counts as missing
LOAD_SECONDS = 10.0  # between two readings of the library, once it has tracks
STORE_SECONDS = 10.0  # between two copies of the library to a stick
MAX_AS_THEY_ARE = 8  # tracks that are not analysed, to choose from
RETURN_SECONDS = 35.0  # from a folder's return to the end of other music, at the next phrase

NOTHING = of_analyses({})


class Analyst(Protocol):
    """Analyses a folder in the background; see `BackgroundAnalysis`."""

    @property
    def running(self) -> bool:
        """Whether an analysis is running."""

    @property
    def progress(self) -> dict[str, Any]:
        """Progress of the analysis; empty if nothing is analysed."""

    def tick(self, now: float, soon: bool) -> None:
        """Start a run when it is due. `soon`: nothing is analysed yet."""

    def end(self) -> None:
        """Stop a running analysis."""


@dataclass(frozen=True)
class Contents:
    """What was found in a folder.

    `root`: None while the folder is missing, for the reason `problem`. `last`: where
    it is, or was last. `number`: increases when other music is there. `since`: time of the folder's
    return, None if it has been there from the start. `earlier`: tracks that were there before.
    `as_they_are`: tracks that are not analysed.
    """

    root: Path | None = None
    problem: str = "it is being searched"
    last: Path | None = None
    number: int = 0
    since: float | None = None
    library: Path = field(default_factory=Path)
    candidates: Candidates = NOTHING
    earlier: Candidates = NOTHING
    as_they_are: tuple[SetEntry, ...] = ()


class MusicFolder:
    """A folder, its library and its analysis.

    `library`: the file to use, None to keep that of a stick on the stick and others in the user's
    library. `analyst`: starts the analysis of a folder into a library; None if nothing is analysed.
    Call `start` for a thread that calls `refresh` once a second, or call `refresh`; and call `tick`
    from the DJ's thread.
    """

    def __init__(
        self, place: Place, library: Path | None = None,
        analyst: Callable[[Path, Path], Analyst] | None = None,
        paths: SystemPaths | None = None, monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.place = place
        self.contents = Contents()
        self.analyst: Analyst | None = None
        self._given = library
        self._make_analyst = analyst
        self._paths = paths or SystemPaths()
        self._memory = Memory()
        self._now = monotonic
        self._identity: tuple[object, ...] = ()
        self._stick = False  # its library is kept on it
        self._loaded_at = self._stored_at = -math.inf
        self._loaded = self._stored = 0.0  # times of the last write to the library
        self._wanted: Collection[str] | None = None  # excluded when more tracks were wanted
        self._analysed: tuple[int, Path | None] = (0, None)  # what the analyst works on
        self._ended = threading.Event()

    # The folder's thread

    def start(self) -> None:
        """Start a thread that calls `refresh` once a second."""
        # A daemon: it may wait for a dead stick when the DJ ends.
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self.refresh()
            except Exception:  # whatever a dying stick causes, the DJ plays on
                log.exception("%s: it could not be searched", self.place)
            self._ended.wait(LOOK_SECONDS)

    def refresh(self) -> None:
        """Look at the folder and its library, and replace `contents`."""
        presence = look(self.place, self._paths, self._memory)
        if presence.root is None:
            self._leave(presence.problem)
            return
        if self.contents.root is None or presence.identity != self._identity:
            self._enter(presence)
        self._read_library()
        self._find_more()
        self._store()

    def _leave(self, problem: str) -> None:
        before = self.contents
        if before.root is not None:
            log.warning("%s is gone: %s", self.place, problem)
        elif before.problem != problem:
            log.info("waiting for %s: %s", self.place, problem)
        earlier = before.candidates if before.candidates.cards else before.earlier
        self.contents = Contents(
            None, problem, before.last, before.number, None, before.library, NOTHING, earlier
        )

    def _enter(self, presence: Presence) -> None:
        before, root = self.contents, presence.root
        assert root is not None
        other = presence.identity != self._identity
        library = before.library
        if other:
            library = self._choose_library(root, presence.removable)
        first = not before.number and before.problem == Contents.problem
        log.info("%s %s: %s", self.place, "is there" if other else "is back", printable(root))
        self._identity = presence.identity
        self._loaded_at, self._loaded = -math.inf, 0.0
        self._wanted = frozenset()
        earlier = before.candidates if before.candidates.cards else before.earlier
        self.contents = Contents(
            root, "", root, before.number + other, None if first else self._now(), library, NOTHING,
            earlier,
        )  # fmt: skip

    def _choose_library(self, root: Path, removable: bool) -> Path:
        self._stick = False
        if self._given is not None or not removable:
            return self._given or default_path()
        work = working_copy(root)
        try:
            reason = fetch(root, work)
        except (StickNotWritable, LibraryError, OSError) as error:
            log.info("%s: its analysed tracks are kept in this user's library: %s", self.place,
                     printable(str(error)))  # fmt: skip
            return default_path()
        if reason:
            log.warning("%s: its library cannot be used, and is replaced: %s", self.place,
                        printable(reason))  # fmt: skip
        self._stick = True
        self._stored = written(work)
        return work

    def _read_library(self) -> None:
        contents, now = self.contents, self._now()
        if contents.candidates.cards and now < self._loaded_at + LOAD_SECONDS:
            return
        self._loaded_at = now
        at = written(contents.library)
        if at == self._loaded:
            return
        query = Query(roots=(str(contents.root),))
        try:
            # Each reading has a connection of its own: the DJ's thread looks analyses up in it.
            library = Library(contents.library, write=False)
            found = of_library(library, query, unchanged=True)
        except LibraryNotFound:  # until the first track is analysed
            return
        except LibraryError as error:
            log.warning("%s", error)
            self._loaded = at
            return
        self._loaded = at
        self.contents = replace(self.contents, candidates=found)

    def _find_more(self) -> None:
        # Between two runs of the analysis, no track is new.
        contents, wanted = self.contents, self._wanted
        if wanted is None or contents.root is None or self._make_analyst is None:
            return
        self._wanted = None
        # What the library knows and the candidates lack is damaged, silent or too short; or it was
        # another file, on another stick.
        analysed: set[str] = set()
        with contextlib.suppress(LibraryError), Library(contents.library, write=False) as library:
            for query in (Query(roots=(str(contents.root),)),
                          Query(roots=(str(contents.root),), bad=True)):  # fmt: skip
                analysed |= {path for entry in library.find(query) if is_unchanged(entry)
                             for path in (entry.path, entry.play)}  # fmt: skip
        entries = entries_as_they_are(contents.root, analysed.union(wanted))
        self.contents = replace(
            self.contents, as_they_are=tuple(islice(entries, MAX_AS_THEY_ARE))
        )

    def _store(self) -> None:
        contents, now = self.contents, self._now()
        if not self._stick or contents.root is None or now < self._stored_at + STORE_SECONDS:
            return
        at = written(contents.library)
        if at == self._stored:
            return
        self._stored_at = now
        try:
            store(contents.library, contents.root)
            self._stored = at
        except StickNotWritable as error:
            self._stick = False
            log.warning("%s: its analysed tracks are kept in this user's library: %s", self.place,
                        error)  # fmt: skip
            try:
                merge(contents.library, default_path(), contents.root)
            except LibraryError as fault:
                log.warning("%s", fault)
                return
            self._loaded_at, self._loaded = -math.inf, 0.0
            self.contents = replace(self.contents, library=default_path())

    # The DJ's thread

    def tick(self, now: float) -> None:
        """Keep the analysis running. `now`: monotonic seconds."""
        contents = self.contents
        if self._make_analyst is None:
            return
        if contents.root is None:
            self._end_analysis()
            return
        if self._analysed != (contents.number, contents.library) or self.analyst is None:
            self._end_analysis()
            self.analyst = self._make_analyst(contents.root, contents.library)
            self._analysed = contents.number, contents.library
        self.analyst.tick(now, not contents.candidates.cards)

    def unanalysed(self, excluded: Collection[str]) -> SetEntry | None:
        """Return a track that is not analysed, and is not excluded; None if none is known."""
        contents = self.contents
        if self.analyst is None or not self.analyst.running:
            return None
        for entry in contents.as_they_are:
            if entry.path not in excluded:
                return entry
        self._wanted = frozenset(excluded)
        return None

    def contains(self, path: str) -> bool:
        """Return whether a track is in this folder, which may be missing at present."""
        contents = self.contents
        return path in contents.candidates or _is_below(path, contents.root)

    def look_now(self) -> None:
        """Look at the folder now. One that does not answer soon counts as missing."""
        found: list[Presence] = []
        looking = threading.Thread(
            target=lambda: found.append(look(self.place, self._paths, self._memory)), daemon=True
        )
        looking.start()
        looking.join(ANSWER_SECONDS)
        if not found or found[0].root is None:
            self._leave(found[0].problem if found else "it does not answer")

    def _end_analysis(self) -> None:
        # A process that waits for a dead stick takes long to end.
        analyst, self.analyst = self.analyst, None
        if analyst is not None:
            threading.Thread(target=analyst.end, daemon=True).start()

    def end(self) -> None:
        """Stop the analysis and the thread."""
        self._ended.set()
        if self.analyst is not None:
            self.analyst.end()


def written(library: Path) -> float:
    """Return the time of the last write to a library, 0 if there is none.

    Recent writes go to the write-ahead log beside it, which a reader creates, too, but empty.
    """
    times = [0.0]
    for path in (library, library.with_name(library.name + "-wal")):
        with contextlib.suppress(OSError):
            status = path.stat()
            times.append(status.st_mtime if status.st_size else 0.0)
    return max(times)


class MusicSources:
    """The DJ's folder, and other music while that one is missing or has nothing to play."""

    def __init__(
        self, main: MusicFolder, fallback: MusicFolder | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.main = main
        self.folders = (main,) if fallback is None else (main, fallback)
        self._now = monotonic
        self._parts: list[Candidates] = []
        self._merged = NOTHING
        self._chosen: set[str] = set()  # of the main folder's present music
        self._number = 0

    def start(self) -> None:
        """Start to look at the folders."""
        for folder in self.folders:
            folder.start()

    def end(self) -> None:
        """Stop the analyses and the threads."""
        for folder in self.folders:
            folder.end()

    def progress(self) -> dict[str, Any]:
        """Return the progress of a running analysis; empty if nothing is analysed."""
        running = (folder.analyst.progress for folder in self.folders if folder.analyst is not None)
        return next(filter(None, running), {})

    def candidates(self) -> Candidates:
        """Return the tracks of all folders: a track that plays may be in a missing one."""
        now = self._now()
        parts: list[Candidates] = []
        for folder in self.folders:
            # One analysis at a time: the second one would take the processor from the first.
            if folder is self.main or self.main.analyst is None or not self.main.analyst.running:
                folder.tick(now)
            parts.append(folder.contents.candidates)
        parts += [folder.contents.earlier for folder in self.folders]
        if len(parts) != len(self._parts) or any(map(operator.is_not, parts, self._parts)):
            self._merged, self._parts = merged(parts), parts
        return self._merged

    def sources(self, banned: frozenset[str]) -> Sequence[Source]:
        """Return the folders that have something to play, the preferred one first."""
        found = []
        everything = frozenset(card.path for card in self.candidates().cards)
        for folder in self.folders:
            contents = folder.contents
            paths = frozenset(card.path for card in contents.candidates.cards)
            if paths - banned or folder.unanalysed(banned) is not None:
                choose = self._choose if folder is self.main else (lambda _path: None)
                found.append(
                    Source(everything - paths, folder.unanalysed, choose, folder.contains)
                )
        return found

    def _choose(self, path: str) -> None:
        if self.main.contents.number != self._number:
            self._number = self.main.contents.number
            self._chosen.clear()
        self._chosen.add(path)

    def problem(self) -> str:
        """Return why nothing can be played, as a sentence; empty if no folder is missing."""
        missing = [f"{folder.place}: {folder.contents.problem}" for folder in self.folders
                   if folder.contents.root is None]  # fmt: skip
        return "; ".join(missing)

    def is_lost(self, path: str) -> bool:
        """Look whether the folder of a track is missing, after the track could not be read."""
        for folder in self.folders:
            if folder.contains(path):
                folder.look_now()
                return folder.contents.root is None
            if folder.contents.root is None and _is_below(path, folder.contents.last):
                return True
        return False

    def overdue(self, playing: str, following: str) -> bool:
        """Return whether other music should end, because the folder has been back for a while."""
        contents = self.main.contents
        if contents.root is None or contents.since is None or contents.number != self._number:
            return False
        waited = self._now() - contents.since >= RETURN_SECONDS
        return waited and following in self._chosen and playing not in self._chosen


def _is_below(path: str, root: Path | None) -> bool:
    return root is not None and path.startswith(str(root).rstrip(os.sep) + os.sep)
