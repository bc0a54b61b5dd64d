"""An analysis run: scan folders, and analyse the tracks that are new or have changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from crowdstream.analysis.result import VERSION, Analysis
from crowdstream.audiofile.tags import read_tags
from crowdstream.audiofile.transcode import is_complete
from crowdstream.library.corrections import Corrections
from crowdstream.library.database import Library, LibraryDamaged
from crowdstream.library.models import KnownTrack, Row, stamp_of
from crowdstream.library.scanner import STEM_FILE, FoundTrack, Scanner, sidecar_mark, spelled_path
from crowdstream.library.sidecar import SidecarError, read_sidecar, write_sidecar
from crowdstream.library.worker import Job, probe
from crowdstream.library.worker_pool import JobResult
from crowdstream.system.text import printable

WRITE_SECONDS = 2.0  # results are written this often; a kill loses no more than that
INVALID_SIDECAR = -1  # mark of a sidecar with an error: each run reads it again
MAX_ROWS = 20  # per transaction: each row takes about 1 ms, during which other writers wait


class Workers(Protocol):
    """A source of results: worker processes of this machine, or a cluster."""

    def results(
        self, jobs: Iterable[Job], under_way: Callable[[Job, float], None], /
    ) -> Iterator[tuple[Job, JobResult]]:
        """Yield each job with its answer (see `job.perform`) in order of completion.

        `under_way` is called with a running job and its progress, 0 to 1.
        """


class View(Protocol):
    """An observer of the run's progress."""

    def found(self, count: int) -> None:
        """`count` tracks have been found so far."""

    def begin(self, jobs: int, size: int) -> None:
        """The analysis of `jobs` tracks, `size` bytes in total, begins."""

    def progress(self, job: Job, share: float) -> None:
        """`share` (0 to 1) of a job is done."""

    def done(self, job: Job) -> None:
        """A job is done."""

    def problem(self, path: str, reason: str) -> None:
        """A path cannot be used, or is skipped."""


@dataclass
class Summary:
    """The counts of a run.

    tracks: found tracks.
    analysed: tracks that this run analysed.
    known: unchanged tracks that an earlier run analysed.
    moved: tracks whose analysis was copied from another path with the same files.
    bad: tracks that cannot be used.
    retry: tracks that failed for a transient reason; the next run tries them again.
    gone: tracks in the library that are no longer on the disk.
    problems: folders, files and sidecars that could not be read.
    skipped: stem files skipped because PyAV is not installed.
    foreign: files in formats that no deck can load.
    """

    tracks: int = 0
    analysed: int = 0
    known: int = 0
    moved: int = 0
    bad: int = 0
    retry: int = 0
    gone: int = 0
    problems: int = 0
    skipped: int = 0
    foreign: int = 0
    completed: bool = False  # the run was not interrupted

    @property
    def good(self) -> bool:
        """Whether the run completed, found tracks, and can use everything it found."""
        return self.completed and self.tracks > 0 and not (
            self.bad or self.retry or self.problems or self.skipped
        )  # fmt: skip


@dataclass
class AnalysisRun:
    """One run over files and folders.

    tops: the files and folders to scan.
    cache: folder into which stem files are unpacked.
    unpacks: whether stem files can be unpacked.
    again: analyse unchanged tracks, too.
    media_roots: folders that links may lead into.
    explained: set by `scan`; how each folder was interpreted, and why.
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
    found: list[FoundTrack] = field(default_factory=list)
    _moved: set[str] = field(default_factory=set)
    _alike: dict[str, dict[str, list[str]]] = field(default_factory=dict)  # by stamp, by probe

    def scan(self) -> list[Job]:
        """Find the tracks; return a job for each track that must be analysed.

        Updates the library for tracks that were moved, have reappeared or are gone.
        """
        scanner = Scanner(self._problem, self.unpacks, self.media_roots)
        for found in scanner.find(self.tops):
            self.found.append(found)
            self.view.found(len(self.found))
        self.summary.tracks = len(self.found)
        self.summary.skipped = scanner.skipped
        self.summary.foreign = scanner.foreign
        self.explained = scanner.explained
        roots = [os.path.realpath(spelled_path(top)) for top in self.tops]
        known = self.library.known(roots)
        self._mark_gone(known, scanner.unread)
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
        """Have the workers do the jobs, and store the results.

        After an interruption, the next run does the remaining jobs.
        """
        self.view.begin(len(jobs), sum(job.size for job in jobs))
        rows: list[Row] = []
        write_at = time.monotonic() + WRITE_SECONDS
        try:
            for job, answer in workers.results(jobs, self.view.progress):
                rows.append(self._row(self.found[job.number], answer))
                self.view.done(job)
                if len(rows) >= MAX_ROWS or time.monotonic() >= write_at:
                    self.library.put(rows)
                    rows.clear()
                    write_at = time.monotonic() + WRITE_SECONDS
        finally:
            self.library.put(rows)
        self.summary.completed = True

    def write_sidecars(self) -> list[str]:
        """Write a sidecar for each good track; return the messages of those that failed."""
        problems = []
        for found in self.found:
            try:
                row = self.library.row(found.path)
            except LibraryDamaged as error:
                problems.append(str(error))
                continue
            if row is None or row.corrected is None:
                continue
            before = sidecar_mark(found.sidecar)
            try:
                write_sidecar(found.sidecar, row.corrected, row.title, row.artist)
            except SidecarError as error:
                problems.append(str(error))
                continue
            mark = sidecar_mark(found.sidecar)
            # If a person has edited it during the run, the next run reads it.
            if before == row.sidecar and mark != before:
                row.sidecar = mark
                self.library.put([row])
        return problems

    def _is_known(self, found: FoundTrack, before: KnownTrack | None, rows: list[Row]) -> bool:
        if self.again:
            return False
        if before is None:
            return self._take_over(found, rows)
        if before.version != VERSION or not self._is_same(found, before):
            return False
        if found.kind == STEM_FILE and not before.error and not is_complete(Path(before.play)):
            return False  # the unpacked stems have been deleted or lost
        moved = found.files != before.files
        if moved or (found.sidecar_mark != before.sidecar) or not before.labelled:
            row = self._intact_row(found.path)
            if row is None:
                return False
            row.files = found.files
            self._read_sidecar(found, row)
            if not before.labelled:  # the version that analysed it read no labels
                row.tags["labels"] = list(read_tags(Path(found.files[0].path)).labels)
            rows.append(row)
        if before.error:
            self.summary.bad += 1
            self.view.problem(found.path, before.error)
        else:
            self.summary.known += 1
        return True

    def _intact_row(self, path: str) -> Row | None:
        # None if the library does not know the track, or if its entry is corrupt.
        try:
            return self.library.row(path)
        except LibraryDamaged:
            return None

    def _is_same(self, found: FoundTrack, before: KnownTrack) -> bool:
        if stamp_of(found.files) != before.stamp:
            return False
        pairs = zip(found.files, before.files, strict=True)
        if all(now.inode == then.inode for now, then in pairs) or not before.probe:
            return True
        # Some file systems assign new inode numbers each time they are mounted.
        return _probe(found) == before.probe

    def _take_over(self, found: FoundTrack, rows: list[Row]) -> bool:
        """Copy the analysis of identical files at another path; return whether there was one."""
        if found.kind == STEM_FILE:
            return False  # its unpacked stems depend on its path
        alike = self._same_files(found)
        row = self._intact_row(alike[-1]) if alike else None
        if row is None or row.version != VERSION or row.kind != found.kind:
            return False
        if row.path in self._moved or os.path.exists(row.path):
            row.corrections = Corrections()  # a copy: the corrections belong to the original
        else:
            self._moved.add(row.path)
            if len(alike) > 1:
                alike.pop()
        row.path = row.play = found.path
        row.files, row.name, row.written = found.files, found.name, Corrections()
        self._read_sidecar(found, row)
        rows.append(row)
        self.summary.moved += 1
        return True

    def _same_files(self, found: FoundTrack) -> list[str]:
        # Paths of known tracks with the same files; paths that no longer exist come last. Each
        # stamp is looked up once: there may be a hundred thousand copies.
        stamp = stamp_of(found.files)
        if stamp not in self._alike:
            by_probe: dict[str, list[str]] = {}
            for path, made in self.library.find_by_stamp(stamp):
                by_probe.setdefault(made, []).append(path)
            for paths in by_probe.values():
                paths.sort(key=lambda path: not os.path.exists(path))
            self._alike[stamp] = by_probe
        probes = self._alike[stamp]
        made = _probe(found) if probes else ""
        return probes.get(made, []) if made else []

    def _row(self, found: FoundTrack, answer: JobResult) -> Row:
        row = Row(found.path, found.path, found.kind, found.files, found.name)
        version = answer["analysis"]["version"] if "analysis" in answer else VERSION
        if version != VERSION:
            reason = f"a worker has another version of CrowdStream: {version}, not {VERSION}"
            answer = {"error": reason, "passing": True}
        if "error" in answer:
            row.error = str(answer["error"])
            row.version = 0 if answer["passing"] else VERSION
            if answer["passing"]:
                self.summary.retry += 1
            else:
                self.summary.bad += 1
            self.view.problem(found.path, row.error)
        else:
            row.analysis = Analysis.from_dict(answer["analysis"])
            row.version = row.analysis.version
            row.tags, row.probe, row.play = answer["tags"], answer["probe"], answer["play"]
            self.summary.analysed += 1
        self._read_sidecar(found, row)
        return row

    def _read_sidecar(self, found: FoundTrack, row: Row) -> None:
        # An invalid sidecar leaves the corrections read before, and is reported by each run.
        vars(row).pop("corrected", None)
        try:
            row.written = read_sidecar(found.sidecar)
            row.sidecar = found.sidecar_mark
        except SidecarError as error:
            self.summary.problems += 1
            self.view.problem("", str(error))
            row.sidecar = INVALID_SIDECAR

    def _mark_gone(self, known: dict[str, KnownTrack], unread: Sequence[str]) -> None:
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

    def _problem(self, path: str, reason: str) -> None:
        self.summary.problems += 1
        self.view.problem(path, reason)


def _probe(found: FoundTrack) -> str:
    try:
        return probe(found.files)
    except OSError:
        return ""


def problem_line(path: str, reason: str) -> str:
    """Return a message in one line; `path` may be empty if `reason` names the file."""
    return f"{printable(path)}: {reason}" if path else reason
