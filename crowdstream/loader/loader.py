"""The loader: keeps the pages of loaded tracks in memory.

A track that fits the budget is read from its cue point to its end and then from its
beginning, and stays in memory. A longer track is streamed: pages ahead of its playheads, at its
cue and at its beginning are kept, others are evicted. Work is done page by page in order of
urgency, so that a start never waits until another file is loaded.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crowdstream.audiofile.errors import (
    AudioFileError,
    FileChanged,
    FileUnreadable,
    UnsupportedAudio,
)
from crowdstream.audiofile.reader import StemReader, open_stem, trim_delays
from crowdstream.audiofile.stems.folder import FileAccess
from crowdstream.audiofile.stems.track_files import folder_verdict, left_out_values, track_of
from crowdstream.audiofile.transcode import (
    BackgroundTranscoder,
    NotTranscoded,
    Transcription,
    transcode,
)
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import PAGE_BYTES
from crowdstream.desk.pages import Arena, ArenaFull, SourceTooLong
from crowdstream.loader.adoption import Orphan, take_stems
from crowdstream.loader.heartbeat import Heartbeat
from crowdstream.loader.idle_scans import LoudnessScan, OnsetScan
from crowdstream.loader.loaded_track import LoadedTrack
from crowdstream.loader.metadata import Description, describe_now
from crowdstream.loader.page_cache import CacheStats, Eviction, MemoryBudget
from crowdstream.loader.prefetch import READ_AHEAD, Heads, PrefetchPlan, Stem
from crowdstream.loader.read_order import ReadOrder
from crowdstream.system.text import printable

MAX_WARNINGS = 8  # per track; the recording of a web radio could have hundreds
# Length of tracks whose tagged tempo is checked: shorter ones are unreliable.
MIN_SECONDS, MAX_SECONDS = 10.0, 1200.0
SHORT_READ_AHEAD = 5.0  # s, the short read-ahead: one second at rate 4, plus a margin


@dataclass
class _Load:
    """A request to load a track. `transcription`: of the file that it waits for, once started."""

    number: int
    stems: list[tuple[int, str]]
    cue: float
    folder: str
    max_frames: int
    transcription: Transcription | None = None

    def cancel(self) -> None:
        """Cancel its transcription, if there is one."""
        if self.transcription is not None:
            self.transcription.cancel()


class Loader:
    """Keeps the desk's pages filled. `send` receives an event as a dict for control.

    `whole`: read tracks that fit completely. Without it, every track is streamed with a short
    read-ahead: for callers that run `work_all` once per second of audio and want to read no more
    than is played. `read_ahead`: seconds of a streamed track kept ahead of its playheads.
    `max_preload`: length in seconds from which a track is streamed even if it fits. `roots`:
    folders that must contain all files, if any are given. `describe`: starts reading the tags and
    the sidecar of a track's files (see `metadata.py`). `waits`: block while a file is transcoded;
    without it, the track is opened when its file is ready and others are served meanwhile. Not
    thread-safe: call `load`, `cue`, `unload` and `work` from one thread.
    """

    def __init__(
        self,
        desk: Desk,
        send: Callable[[dict[str, Any]], None],
        whole: bool = True,
        read_ahead: float = READ_AHEAD,
        max_preload: float = math.inf,
        roots: Sequence[Path] = (),
        describe: Callable[[Sequence[Path], Sequence[Path]], Description] = describe_now,
        waits: bool = True,
    ) -> None:
        self._starter = BackgroundTranscoder()
        self._flac_of = transcode if waits else self._starter
        self._waiting_loads: list[_Load] = []
        self._whole = whole
        self._describe = describe
        self._opening: tuple[LoadedTrack, Description] | None = None
        self._roots = roots
        self._desk = desk
        self._send = send
        self._tracks: dict[int, LoadedTrack] = {}
        self._arena = Arena(desk)
        self._heartbeat = Heartbeat(desk, send)
        self._plan = PrefetchPlan(desk, read_ahead)
        self._onsets = OnsetScan(self._arena, self._read)
        self._budget = MemoryBudget(self._arena, self._plan, send, whole, max_preload)
        self._eviction = Eviction(desk, self._arena, self._plan, self._tracks)
        ahead = read_ahead if whole else SHORT_READ_AHEAD
        self._read_order = ReadOrder(self._arena, self._plan, self._tracks, send, whole, ahead)
        self._cache_stats = CacheStats(self._arena, self._plan, self._eviction, self._tracks)

    def handle(self, request: dict[str, Any]) -> None:
        """Carry out a request of control; its `do` names one of the methods here.

        Raises KeyError, TypeError or ValueError for an invalid request.
        """
        name, number = request["do"], int(request.get("track", 0))
        if name == "load":
            stems = [(int(source), str(path)) for source, path in request["stems"]]
            self.load(
                number, stems, float(request["cue"]), str(request.get("folder", "")),
                int(request.get("max_frames", 0)),
            )
        elif name == "cue":
            self.cue(number, int(request["frame"]))
        elif name == "keep":
            self.keep(number, [int(frame) for frame in request["frames"]])
        elif name == "unload":
            self.unload(number)
        elif name == "attacks":
            self.find_onsets()
        elif name == "adopt":
            self.adopt(Orphan.of(request))
        elif name == "adopted":
            self.adopted()
        elif name == "inventory":
            self._send({"event": "inventory", "tracks": self.inventory()})
        else:
            raise ValueError(f"unknown request {name!r}")

    def load(
        self,
        number: int,
        stems: list[tuple[int, str]],
        cue: float,
        folder: str = "",
        max_frames: int = 0,
    ) -> None:
        """Open the files of track `number`; `stems` holds source number and path of each.

        `cue`: expected start position as a fraction of the length. `folder`: their folder, if its
        files are not yet classified: `opened` then reports which sources are `kept`, their
        `names`, and what is `left_out`. `max_frames`: if it is not 0, a longer track is refused,
        and all of a shorter one is read, even where tracks of its length are streamed.

        Sends `opened`, then `ready` when the track can be started at the cue and `complete` when
        all of it is in memory; or `failed`, after which nothing of it remains.

        A track that it has already is not loaded again: a new control process requests it twice if
        the inventory that it has received is older than its first request.
        """
        known = {*self._tracks, *(pending.number for pending in self._waiting_loads)}
        if self._opening is not None:
            known.add(self._opening[0].number)
        if number not in known:
            self._load(_Load(number, stems, cue, folder, max_frames))

    def _load(self, pending: _Load) -> None:
        number, stems, cue, folder = pending.number, pending.stems, pending.cue, pending.folder
        opened: list[Stem] = []
        readers: list[StemReader] = []
        sifted: dict[str, Any] = {}
        try:
            if folder:
                stems, sifted = self._select_files(number, stems, Path(folder))
            for source, path in stems:
                readers.append(self._open(number, source, path))
                opened.append(Stem(number, source, readers[-1], 0))
                opened[-1].reported_warnings = len(readers[-1].warnings)
            warnings = [*trim_delays(readers), *_warnings(readers)]
            for stem, reader in zip(opened, readers, strict=True):
                int16 = reader.dtype == "int16"
                try:
                    stem.page_frames = self._arena.describe(
                        stem.source, reader.frames, reader.channels, int16
                    )
                except SourceTooLong as error:
                    raise UnsupportedAudio(reader.path, str(error)) from error
            if pending.max_frames:
                self._check_length(opened, pending.max_frames)
                streamed, pages = False, self._budget.reserve(opened, False)
            else:
                streamed, pages = self._budget.admit(opened, self._desk.sample_rate)
        except Exception as error:
            for stem in opened:
                stem.reader.close()
                self._desk.sources[stem.source]["used"] = 0
            if isinstance(error, NotTranscoded):
                pending.transcription = error.transcription
                self._waiting_loads.append(pending)
                return
            self._send({"event": "failed", "track": number, "reason": _reason(error, stems)})
            return
        track = LoadedTrack(number, opened, 0, streamed, pages, whole=bool(pending.max_frames))
        track.cue = min(int(cue * track.frames), track.frames - 1)
        track.warnings, track.selection = warnings, sifted
        paths = [Path(path) for _, path in stems]
        self._opening = track, self._describe(paths, self._roots)
        self._finish_opening()

    def _check_length(self, stems: list[Stem], max_frames: int) -> None:
        longest = max(stems, key=lambda stem: stem.reader.frames).reader
        if longest.frames > max_frames:
            rate = self._desk.sample_rate
            raise UnsupportedAudio(
                longest.path,
                f"it lasts {longest.frames / rate:.1f} s; the maximum is {max_frames / rate:g} s",
            )

    @property
    def opening(self) -> bool:
        """Whether a track's tags are being read: pages can be read, but other requests wait."""
        return self._opening is not None

    def _finish_opening(self) -> None:
        if self._opening is None:
            return
        track, description = self._opening
        about = description.result()
        if about is None:
            return
        self._opening = None
        self._tracks[track.number] = track
        track.opened = {
            "event": "opened",
            "track": track.number,
            "frames": track.frames,
            "streamed": track.streamed,
            "channels": [stem.reader.channels for stem in track.stems],
            "files": [stem.reader.identity for stem in track.stems],
            **({"warnings": track.warnings} if track.warnings else {}),
            **track.selection,
            **about,
        }
        self._send(track.opened)
        grid = about.get("grid", {})
        seconds = track.frames / self._desk.sample_rate
        if grid.get("source") == "tag" and MIN_SECONDS <= seconds <= MAX_SECONDS:
            track.tagged_bpm = round(60.0 / (grid["anchors"][1][1] - grid["anchors"][0][1]), 6)

    def _resume(self) -> None:
        """Load a track whose file has been transcoded or can be transcoded now."""
        for pending in self._waiting_loads:
            if pending.transcription is None:
                if not self._starter.is_free():
                    continue
            elif not pending.transcription.done():
                continue
            if self.opening or self.urgent():
                return
            self._waiting_loads.remove(pending)
            try:
                if pending.transcription is not None:
                    pending.transcription.result()
            except AudioFileError as error:
                self._send({"event": "failed", "track": pending.number, "reason": str(error)})
            else:
                self._load(pending)
            return

    def _select_files(
        self, number: int, stems: list[tuple[int, str]], folder: Path
    ) -> tuple[list[tuple[int, str]], dict[str, Any]]:
        # Select the files of a folder that form the track; urgent pages have priority meanwhile.
        sources = {path: source for source, path in stems}

        def watch(path: Path) -> AbstractContextManager[None]:
            return self._heartbeat.reading(number, sources.get(str(path), stems[0][0]), str(path))

        def pause() -> None:
            while self._read_order.urgent() and self.work():
                pass

        access = FileAccess(self._roots, self._heartbeat.progress, pause, watch, self._flac_of)
        try:
            verdict = folder_verdict(folder, access)
        except OSError as error:
            reason = f"it can't be read ({os.strerror(error.errno or 0)})"
            raise FileUnreadable(folder, reason) from None
        if verdict is None:
            return stems, {}
        track = track_of(folder, folder.name, verdict)
        kept = [(sources[str(stem.path)], str(stem.path)) for stem in track.stems
                if str(stem.path) in sources]  # fmt: skip
        if not kept:
            raise FileChanged(folder, "its files have changed meanwhile; load it again")
        return kept, {
            "kept": [source for source, _ in kept],
            "names": [stem.name for stem in track.stems if str(stem.path) in sources],
            "left_out": left_out_values(track.left_out),
        }

    def _open(self, number: int, source: int, path: str) -> StemReader:
        with self._heartbeat.reading(number, source, path):
            rate = round(self._desk.sample_rate)
            return open_stem(Path(path), rate, self._heartbeat.progress, self._roots, self._flac_of)

    def _read(
        self, stem: Stem, start: int, count: int, into: np.ndarray | None = None
    ) -> np.ndarray:
        with self._heartbeat.reading(stem.track, stem.source, str(stem.reader.path)):
            samples = stem.reader.read(start, count, into)
        if (
            isinstance(stem.reader, StemReader)
            and len(stem.reader.warnings) != stem.reported_warnings
        ):
            self._warn(stem, stem.reader)
        return samples

    def _warn(self, stem: Stem, reader: StemReader) -> None:
        # Damage in a file is discovered while reading.
        new, stem.reported_warnings = (
            reader.warnings[stem.reported_warnings :],
            len(reader.warnings),
        )
        name = printable(reader.path.name)
        for warning in new if stem.reported_warnings <= MAX_WARNINGS else ():
            text = f"{name}: {warning}"
            self._send({"event": "warning", "track": stem.track, "text": text})

    def adopt(self, orphan: Orphan) -> None:
        """Adopt a track of a dead loader: resident pages stay and play on.

        Sends the same events as `load` from `ready` on, or `broken`. Adopt all tracks before any
        other request, then call `adopted`.
        """
        stems, fault = take_stems(self._desk, orphan, self._open)
        track = LoadedTrack(orphan.number, stems, orphan.cue, orphan.streamed, 0)
        self._tracks[orphan.number] = track
        try:
            track.reserved = self._budget.reserve(stems, orphan.streamed)
        except ArenaFull as error:
            fault = fault or error
        if orphan.streamed:
            self._budget.keep(track, orphan.places)
        if orphan.measured:
            track.loudness_scan = LoudnessScan(self._desk, stems)
            track.loudness_scan.done = True
        if orphan.broken:
            track.broken, track.ready, track.complete = orphan.broken, True, True
        elif fault:
            self._give_up(track, _reason(fault, orphan.stems))

    def adopted(self) -> None:
        """Free the sources of no track, after all tracks are adopted."""
        known = {stem.source for track in self._tracks.values() for stem in track.stems}
        for source in self._arena.sources():
            if source not in known:
                self._arena.release_source(source)

    def inventory(self) -> list[dict[str, Any]]:
        """All loaded tracks as `adopt` requests with `state`, and with their `opened` event.

        A new control process that finds a loader running starts with this and repeats the
        requests that are missing from it: loads that wait for a transcription are cancelled. The
        events are included because the earlier control may have died without saving them.
        """
        for pending in self._waiting_loads:
            pending.cancel()
        self._waiting_loads.clear()
        return [
            {
                **track.opened,
                "track": track.number,
                "state": track.state,
                "frames": track.frames,
                "stems": [(stem.source, str(stem.reader.path)) for stem in track.stems],
                "files": [stem.reader.identity for stem in track.stems],
                "cue": track.cue,
                "streamed": track.streamed,
                "places": track.places,
                "measured": track.loudness_scan is not None and track.loudness_scan.done,
                "broken": track.broken,
            }
            for track in self._tracks.values()
        ]

    def cue(self, number: int, frame: int) -> None:
        """Set the frame from which a track will be started next; sends `ready` again."""
        track = self._tracks.get(number)
        if track:
            track.cue = frame
            track.ready = False
            track.resident_pages = 0  # counted from the cue

    def keep(self, number: int, frames: list[int]) -> None:
        """Set the frames to which a track may jump; those of a streamed track stay in memory.

        Reserves as many as there is memory for, in this order; sends `crowded` if some don't fit.
        """
        track = self._tracks.get(number)
        if track and track.streamed:
            self._budget.keep(track, frames)

    def unload(self, number: int) -> None:
        """Close a track and free its pages. No voice may be playing it."""
        for pending in [one for one in self._waiting_loads if one.number == number]:
            self._waiting_loads.remove(pending)
            pending.cancel()
            self._send({"event": "unloaded", "track": number})
        track = self._tracks.pop(number, None)
        if track is None:
            return
        for stem in track.stems:
            self._onsets.forget(stem)
            self._arena.release_source(stem.source)
            stem.reader.close()
        self._arena.release(track.reserved + track.kept)
        self._send({"event": "unloaded", "track": number})

    def work(self) -> bool:
        """Read the most urgent page; False when there is nothing to do or no free page."""
        self._finish_opening()
        if self._waiting_loads:
            self._resume()
        self._eviction.keep_spare()
        marked = self._onsets.work()
        for track, stem, page in self._read_order.pages():
            return self._fill(track, stem, page) or marked
        return marked

    def find_onsets(self) -> None:
        """Detect onsets in all pages from now on, because keylock is going to be used."""
        stems = [stem for track in self._tracks.values() for stem in track.stems]
        self._onsets.begin(stems, self._plan.playheads())

    def measure(self) -> bool:
        """Measure a slice of a track's loudness; False when there is nothing to measure.

        Takes about 2 ms. As pages may be requested in that time, call it only when `work` had
        nothing to do. Sends `loudness` when a track is measured; for a streamed track, repeatedly
        for the part that is played.
        """
        heads: Heads | None = None
        for track in self._tracks.values():
            if track.loudness_scan is None and (track.complete or (track.streamed and track.ready)):
                partly = track.streamed
                track.loudness_scan = LoudnessScan(self._desk, track.stems, track.cue, partly)
            if track.loudness_scan is None or track.loudness_scan.done:
                continue
            if track.streamed and heads is None:
                heads = self._plan.playheads()
            places = (heads or {}).get(track.stems[0].source, ())
            if track.loudness_scan.step(head.position for head in places):
                report = track.loudness_scan.report()
                if report:
                    self._send({"event": "loudness", "track": track.number, **report})
                return True
        return False

    def check_tempo(self) -> bool:
        """Check a second of a track against the tempo in its tags; False if none needs a check.

        Takes about 5 ms; the last second of a track some 0.3 s. Sends `grid`, with the grid found
        in the audio, or with None where the audio has no such tempo. Checks only tracks that are
        completely in memory.
        """
        for track in self._tracks.values():
            if not track.tagged_bpm or track.streamed or not track.complete or track.broken:
                continue
            if track.tempo_check is None:
                # The analysis takes time to import, and a render to a file does not check.
                from crowdstream.loader.tempo_check import TempoCheck

                track.tempo_check = TempoCheck(self._desk, track.stems, track.tagged_bpm)
            if track.tempo_check.step() and not track.tempo_check.verdict:
                return True
            found, verdict = track.tempo_check.grid, track.tempo_check.verdict
            track.tempo_check, track.tagged_bpm = None, 0.0
            if verdict != "open":
                grid = found.to_dict() if found else None
                self._send({"event": "grid", "track": track.number, "grid": grid})
            return True
        return False

    def work_all(self) -> None:
        """Read all requested pages; no playhead may move and no request may arrive meanwhile."""
        while self._onsets.work():
            pass
        if not self._whole:
            self._eviction.make()
            self._arena.reclaim()  # reused next, while they are in the processor's cache
        while self._fill_wanted():
            pass

    def _fill_wanted(self) -> bool:
        # True when a file has turned out to be broken, which changes what is requested.
        for track, stem, page in self._read_order.pages():
            if not self._fill(track, stem, page):
                return False
            if track.complete:
                return True
        return False

    def urgent(self) -> bool:
        """Whether a page is missing that is about to be played."""
        return self._read_order.urgent()

    def watching(self) -> bool:
        """Whether playheads need watching because some track is not completely in memory.

        Also true while a file is being transcoded.
        """
        incomplete = any(not track.complete for track in self._tracks.values())
        return bool(self._waiting_loads) or incomplete

    def status(self) -> dict[str, Any]:
        """Pages (see `CacheStats.report`), longest wait for a read in seconds, and stalls."""
        return {
            "event": "pages",
            **self._cache_stats.report(),
            "longest_read": round(self._heartbeat.longest, 3),
            "stalls": self._heartbeat.stalls,
        }

    def close(self) -> None:
        """Close all files."""
        if self._opening is not None:
            track, _ = self._opening
            self._tracks[track.number] = track
            self._opening = None
        for number in [*self._tracks, *(pending.number for pending in self._waiting_loads)]:
            self.unload(number)

    def _fill(self, track: LoadedTrack, stem: Stem, page: int) -> bool:
        place = self._arena.take()
        if place is None:
            self._eviction.make()
            place = self._arena.take()
            if place is None:
                return False
        try:
            into = self._arena.samples(stem.source, place)
            samples = self._read(stem, page * stem.page_frames, stem.page_frames, into)
        except Exception as error:
            self._arena.return_page(place)
            self._give_up(track, _reason(error, [(stem.source, str(stem.reader.path))]))
            return True
        self._cache_stats.fetched(stem.source, page)
        attacks = self._onsets.find(stem, page, samples)
        self._arena.publish(stem.source, page, place, samples, attacks)
        return True

    def _give_up(self, track: LoadedTrack, reason: str) -> None:
        # Resident pages play on; nothing more is read.
        track.complete = True
        track.ready = True
        track.broken = reason
        self._send({"event": "broken", "track": track.number, "reason": reason})


def _warnings(readers: Sequence[StemReader]) -> list[str]:
    """Warnings about a track's files, prefixed with the file's name where there are several."""
    return [
        f"{printable(reader.path.name)}: {warning}" if len(readers) > 1 else warning
        for reader in readers
        for warning in reader.warnings
    ][:MAX_WARNINGS]


def _reason(error: Exception, stems: list[tuple[int, str]]) -> str:
    if isinstance(error, AudioFileError | ArenaFull):
        return str(error)
    paths = ", ".join(printable(path) for _, path in stems)
    if isinstance(error, MemoryError):
        return f"{paths}: this machine has no memory left to decode it"
    return f"{paths}: it can't be read ({type(error).__name__}: {error})"


def budget_pages(megabytes: int) -> int:
    """Number of pages in a budget given in MB (10**6 bytes)."""
    return megabytes * 1_000_000 // PAGE_BYTES
