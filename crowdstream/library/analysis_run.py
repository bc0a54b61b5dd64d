"""Analysing what lies in folders: what is new or has changed is worked at, the rest is known."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from crowdstream.analysis.result import VERSION, Analysis
from crowdstream.library.corrections import Corrections
from crowdstream.library.database import Library
from crowdstream.library.job import Job, probe
from crowdstream.library.models import Known, Row, stamp_of
from crowdstream.library.scanner import STEM_FILE, Finder, Found, sidecar_mark, spelled_path
from crowdstream.library.sidecar import SidecarError, read_sidecar, write_sidecar
from crowdstream.library.worker_pool import Answer
from crowdstream.system.text import printable

WRITE_SECONDS = 2.0  # at most so much is lost when everything is killed
MISTAKEN = -1  # mark of a sidecar that means nothing: it is looked at again each time
MAX_ROWS = 20  # of one transaction: a millisecond or so each, while others wait


class Workers(Protocol):
    """Who does jobs: a pool of this machine, or a cluster."""

    def answers(
        self, jobs: Iterable[Job], under_way: Callable[[Job, float], None], /
    ) -> Iterator[tuple[Job, Answer]]:
        """Each job with its answer, as it comes; `under_way` hears how much of one is done."""


class View(Protocol):
    """Who looks on."""

    def found(self, count: int) -> None:
        """So many tracks are found."""

    def begin(self, jobs: int, size: int) -> None:
        """So many are to be analysed, of so many bytes."""

    def under_way(self, job: Job, share: float) -> None:
        """So much of one of them is done, 0 to 1."""

    def done(self, job: Job) -> None:
        """One of them is."""

    def trouble(self, path: str, reason: str) -> None:
        """A path is bad, or passed over."""


@dataclass
class Summary:
    """How a run went: numbers of tracks.

    `tracks` were found; of them `analysed` were now, `known` before, `taken` over from where they
    lay before; `bad` are those that can't be used, `later` those to be tried again next time.
    `gone` were known and are not there any more. `trouble`: folders, files and sidecars that could
    not be read. `skipped`: stem files without PyAV. `foreign`: files in formats that no deck loads.
    """

    tracks: int = 0
    analysed: int = 0
    known: int = 0
    taken: int = 0
    bad: int = 0
    later: int = 0
    gone: int = 0
    trouble: int = 0
    skipped: int = 0
    foreign: int = 0
    whole: bool = False  # it came to its end

    @property
    def good(self) -> bool:
        """Whether all that was found can be used, and something was."""
        return self.whole and self.tracks > 0 and not (
            self.bad or self.later or self.trouble or self.skipped
        )  # fmt: skip


@dataclass
class AnalysisRun:
    """One run over files and folders (`tops`). `again`: also what has not changed.

    `cache`: where stem files are unpacked; `unpacks`: whether they can be. `media_roots`: folders
    that links may lead into. `explained`: what each folder was taken for, and why.
    """

    library: Library
    tops: Sequence[str]
    view: View
    cache: str
    unpacks: bool = True
    again: bool = False
    summary: Summary = field(default_factory=Summary)
    media_roots: Sequence[str] = ()
    explained: list[tuple[str, str]] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    _moved: set[str] = field(default_factory=set)
    _alike: dict[str, dict[str, list[str]]] = field(default_factory=dict)  # by stamp, by probe

    def look(self) -> list[Job]:
        """Find the tracks, note what was moved, came back or is gone; what is left to analyse."""
        finder = Finder(self._trouble, self.unpacks, self.media_roots)
        for found in finder.find(self.tops):
            self.found.append(found)
            self.view.found(len(self.found))
        self.summary.tracks = len(self.found)
        self.summary.skipped = finder.skipped
        self.summary.foreign = finder.foreign
        self.explained = finder.explained
        roots = [os.path.realpath(spelled_path(top)) for top in self.tops]
        known = self.library.known(roots)
        self._note_gone(known, finder.unread)
        jobs: list[Job] = []
        rows: list[Row] = []
        for number, found in enumerate(self.found):
            before = known.get(found.path)
            if not self._is_known(found, before, rows):
                jobs.append(
                    Job(number, found.path, found.kind, found.name, found.files, self.cache)
                )
            if len(rows) >= MAX_ROWS:
                self.library.put(rows)
                rows.clear()
        self.library.put(rows)
        self.library.forget(self._moved)
        return jobs

    def work(self, jobs: Sequence[Job], workers: Workers) -> None:
        """Have jobs done, and keep what comes of them. What is interrupted is done next time."""
        self.view.begin(len(jobs), sum(job.size for job in jobs))
        rows: list[Row] = []
        write_at = time.monotonic() + WRITE_SECONDS
        try:
            for job, answer in workers.answers(jobs, self.view.under_way):
                rows.append(self._row(self.found[job.number], answer))
                self.view.done(job)
                if len(rows) >= MAX_ROWS or time.monotonic() >= write_at:
                    self.library.put(rows)
                    rows.clear()
                    write_at = time.monotonic() + WRITE_SECONDS
        finally:
            self.library.put(rows)
        self.summary.whole = True

    def write_sidecars(self) -> list[str]:
        """Write a sidecar beside every good track that was found; what went wrong."""
        told = []
        for found in self.found:
            row = self.library.row(found.path)
            if row is None or row.corrected is None:
                continue
            try:
                write_sidecar(found.sidecar, row.corrected, row.title, row.artist)
            except SidecarError as error:
                told.append(str(error))
                continue
            mark = sidecar_mark(found.sidecar)
            if mark != row.sidecar:
                row.sidecar = mark
                self.library.put([row])
        return told

    def _is_known(self, found: Found, before: Known | None, rows: list[Row]) -> bool:
        if self.again:
            return False
        if before is None:
            return self._take_over(found, rows)
        if before.version != VERSION or not self._is_same(found, before):
            return False
        if found.kind == STEM_FILE and not before.error and not os.path.isdir(before.play):
            return False  # what was unpacked has been deleted
        moved = found.files != before.files
        if moved or (found.sidecar_mark != before.sidecar):
            row = self.library.row(found.path)
            if row is None:
                return False
            row.files = found.files
            self._read_sidecar(found, row)
            rows.append(row)
        if before.error:
            self.summary.bad += 1
            self.view.trouble(found.path, before.error)
        else:
            self.summary.known += 1
        return True

    def _is_same(self, found: Found, before: Known) -> bool:
        if stamp_of(found.files) != before.stamp:
            return False
        pairs = zip(found.files, before.files, strict=True)
        if all(now.inode == then.inode for now, then in pairs) or not before.probe:
            return True
        # Some file systems number their files anew each time they are mounted.
        return _probe(found) == before.probe

    def _take_over(self, found: Found, rows: list[Row]) -> bool:
        """Whether the same files were known under another path, and what is known of them is."""
        if found.kind == STEM_FILE:
            return False  # unpacked by its path
        alike = self._like(found)
        row = self.library.row(alike[-1]) if alike else None
        if row is None or row.version != VERSION or row.kind != found.kind:
            return False
        if row.path in self._moved or os.path.exists(row.path):
            row.corrections = Corrections()  # a copy: what was said is of another one
        else:
            self._moved.add(row.path)
            if len(alike) > 1:
                alike.pop()
        row.path = row.play = found.path
        row.files, row.name, row.written = found.files, found.name, Corrections()
        self._read_sidecar(found, row)
        rows.append(row)
        self.summary.taken += 1
        return True

    def _like(self, found: Found) -> list[str]:
        # Paths of known tracks that are the same, those that have been moved last. They are looked
        # for once: there may be a hundred thousand copies.
        stamp = stamp_of(found.files)
        if stamp not in self._alike:
            by_probe: dict[str, list[str]] = {}
            for path, made in self.library.with_stamp(stamp):
                by_probe.setdefault(made, []).append(path)
            for paths in by_probe.values():
                paths.sort(key=lambda path: not os.path.exists(path))
            self._alike[stamp] = by_probe
        probes = self._alike[stamp]
        made = _probe(found) if probes else ""
        return probes.get(made, []) if made else []

    def _row(self, found: Found, answer: Answer) -> Row:
        row = Row(found.path, found.path, found.kind, found.files, found.name)
        version = answer["analysis"]["version"] if "analysis" in answer else VERSION
        if version != VERSION:
            reason = f"a worker has another version of CrowdStream: {version}, not {VERSION}"
            answer = {"error": reason, "passing": True}
        if "error" in answer:
            row.error = str(answer["error"])
            row.version = 0 if answer["passing"] else VERSION
            if answer["passing"]:
                self.summary.later += 1
            else:
                self.summary.bad += 1
            self.view.trouble(found.path, row.error)
        else:
            row.analysis = Analysis.from_dict(answer["analysis"])
            row.version = row.analysis.version
            row.tags, row.probe, row.play = answer["tags"], answer["probe"], answer["play"]
            self.summary.analysed += 1
        self._read_sidecar(found, row)
        return row

    def _read_sidecar(self, found: Found, row: Row) -> None:
        # A mistake in it leaves what was read from it before, and is told each time.
        vars(row).pop("corrected", None)
        try:
            row.written = read_sidecar(found.sidecar)
            row.sidecar = found.sidecar_mark
        except SidecarError as error:
            self.summary.trouble += 1
            self.view.trouble("", str(error))
            row.sidecar = MISTAKEN

    def _note_gone(self, known: dict[str, Known], unread: Sequence[str]) -> None:
        there = {found.path for found in self.found}
        gone = [
            one for path, one in known.items()
            if path not in there and not one.gone
            and not any(path == top or path.startswith(top.rstrip("/") + "/") for top in unread)
        ]  # fmt: skip
        back = [one.number for path, one in known.items() if path in there and one.gone]
        self.summary.gone = len(gone)
        self.library.mark_gone([one.number for one in gone])
        self.library.mark_gone(back, False)

    def _trouble(self, path: str, reason: str) -> None:
        self.summary.trouble += 1
        self.view.trouble(path, reason)


def _probe(found: Found) -> str:
    try:
        return probe(found.files)
    except OSError:
        return ""


def shown(path: str, reason: str) -> str:
    """One line on a path."""
    return f"{printable(path)}: {reason}" if path else reason
