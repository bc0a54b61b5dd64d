"""The library over HTTP: listings of the media folders and searches, one page of rows at a time.

    GET /library?path=0/Sets&offset=0&limit=100&sort=name&order=up
    GET /library/search?q=night+120-126+8A        words, tempos and keys (see `search_query`)

The response holds `count`, `truncated`, `reading` (tags are still being read: request it again),
`root` (name of the media folder), `path`, `note` and `entries`. An entry is a `folder`, a `track`
(a folder of stems) or a `file`; `path` identifies it in further requests, `full` is the argument of
`/deck/A/load`. `left_out` lists the files of a track's folder that are not played, with reasons.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crowdstream.audiofile.stems.track_files import TrackFiles
from crowdstream.web.analysis_jobs import AnalysisJobs
from crowdstream.web.api.command_api import error_response, json_response
from crowdstream.web.file_info import FileInfo, FileInfoCache
from crowdstream.web.media_browser import (
    MAX_FOUND,
    Found,
    Listing,
    MediaNotFound,
    SearchAbandoned,
    list_folder,
    resolve,
    search,
    stems_of,
)
from crowdstream.web.page_socket import PageSockets
from crowdstream.web.resource import resource
from crowdstream.web.search_query import Term, parse

MAX_ROWS = 200  # in one response
MAX_SORTED = 5000  # rows that are sorted by tags or analysis results
MAX_QUERY = 200  # characters
MAX_WAITING = 8  # requests; further ones are refused with 503
KEPT_LISTINGS = 2
KEPT_SEARCHES = 8
SEARCH_AGE = 15.0  # seconds for which the result of a search is reused
SOON_SECONDS = 1.0  # the same while tempos and keys are still being read
POLL_SECONDS = 0.1  # between two looks whether the client still waits
SORTS = ("name", "bpm", "key", "length", "stems")

T = TypeVar("T")


@dataclass(frozen=True)
class _Row:
    # `track`: set for a folder of stems; a file is its own track. `settled`: `track` is certain and
    # not only guessed from file names.
    found: Found
    track: TrackFiles | None
    stems: tuple[Path, ...]
    settled: bool = True


@dataclass(frozen=True)
class _Search:
    # `whole`: nothing was cut off. `unread`: files whose tempo and key are not read yet may match,
    # too. `until`: end of reuse, by `time.monotonic`.
    found: list[Found]
    whole: bool
    unread: bool
    until: float


class LibraryApi:
    """Answers library requests. For one event loop; the work is done in a worker thread."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = list(roots)
        self.file_info = FileInfoCache(self.roots)
        self._worker = ThreadPoolExecutor(1, "library-api")
        self._waiting = 0
        self._abandoned: Callable[[], bool] = lambda: False  # by the client, for the worker thread
        self._listings: OrderedDict[tuple[str, int], Listing] = OrderedDict()
        self._searches: OrderedDict[str, _Search] = OrderedDict()

    # In the event loop ----------------------------------------------------------------------

    async def browse(self, request: Request) -> Response:
        """Handle `GET /library`: list a folder."""
        return await self._answer(request, lambda wanted: self.folder(
            request.query_params.get("path", ""), *wanted))

    async def find(self, request: Request) -> Response:
        """Handle `GET /library/search`."""
        query = request.query_params.get("q", "").strip()[:MAX_QUERY]
        return await self._answer(request, lambda wanted: self.found(query, *wanted))

    async def _answer(
        self, request: Request, work: Callable[[tuple[int, int, str, bool]], dict[str, Any]]
    ) -> Response:
        about = request.query_params
        try:
            offset = min(max(int(about.get("offset", "0")[:9]), 0), 10**6)
            limit = min(max(int(about.get("limit", "100")[:9]), 1), MAX_ROWS)
        except ValueError:
            return error_response(400, "offset and limit must be whole numbers")
        sort = about.get("sort", "name")
        if sort not in SORTS:
            return error_response(400, f"sort must be one of {', '.join(SORTS)}")
        if self._waiting >= MAX_WAITING:
            return error_response(503, "the library is busy; try again")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            wanted = offset, limit, sort, about.get("order") == "down"
            gone = threading.Event()
            done = loop.run_in_executor(self._worker, self._work, partial(work, wanted), gone)
            while not (await asyncio.wait([done], timeout=POLL_SECONDS))[0]:
                # A page drops its search as soon as a person types on.
                if await request.is_disconnected():
                    gone.set()
            answer = done.result()
        except MediaNotFound as error:
            return error_response(404, str(error))
        except SearchAbandoned:
            return error_response(503, "the client has closed the connection")
        finally:
            self._waiting -= 1
        return json_response(answer)

    # In the worker thread -------------------------------------------------------------------

    def _work(
        self, work: Callable[[], dict[str, Any]], gone: threading.Event
    ) -> dict[str, Any]:
        if gone.is_set():
            raise SearchAbandoned
        self._abandoned = gone.is_set
        return work()

    def folder(self, path: str, offset: int, limit: int, sort: str, down: bool) -> dict[str, Any]:
        """One page of a folder's rows; "" lists the media folders. Raises `MediaNotFound`."""
        if not self.roots:
            return _page([], 0, note="no media folder is set: start the server with --media-root")
        if not path and len(self.roots) > 1:
            tops = [Found(str(at), root, True) for at, root in enumerate(self.roots)]
            entries = [_entry(_Row(one, None, ()), None, one.real.name) for one in tops]
            return _page(entries[offset : offset + limit], len(entries))
        path = path or "0"
        root, real = resolve(path, self.roots)
        listing = self._listed(real)
        names = [*listing.folders, *listing.files]
        first_file = len(listing.folders)

        def found(at: int) -> Found:
            return Found(f"{path}/{names[at]}", real / names[at], at < first_file)

        if sort == "name" or len(names) > MAX_SORTED:
            order = [*reversed(range(first_file)), *reversed(range(first_file, len(names)))]
            order = order if down and sort == "name" else list(range(len(names)))
            rows = [self._row(found(at)) for at in order[offset : offset + limit]]
            abouts, reading = self._abouts(rows)
        else:
            rows, abouts, reading = self._sorted(
                [self._row(found(at)) for at in range(len(names))], sort, down
            )
            rows, abouts = rows[offset : offset + limit], abouts[offset : offset + limit]
        entries = [_entry(row, about) for row, about in zip(rows, abouts, strict=True)]
        too_many = sort != "name" and len(names) > MAX_SORTED
        note = f"folders of more than {MAX_SORTED} entries are sorted by name" if too_many else ""
        note = note or _outside_note(listing.outside)
        return _page(
            entries, len(names), listing.truncated, reading, note, root.name, path
        )

    def found(self, query: str, offset: int, limit: int, sort: str, down: bool) -> dict[str, Any]:
        """One page of the rows that match a search."""
        if not query or not self.roots:
            return _page([], 0)
        searched = self._searched(query)
        found, whole = searched.found, searched.whole
        shown = found[offset : offset + limit] if sort == "name" else found
        rows = [self._row(one) for one in shown]
        if sort == "name":
            abouts, reading = self._abouts(rows)
        else:
            rows, abouts, reading = self._sorted(rows, sort, down)
            rows, abouts = rows[offset : offset + limit], abouts[offset : offset + limit]
        entries = [_entry(row, about) for row, about in zip(rows, abouts, strict=True)]
        note = "" if whole else f"only the first {min(len(found), MAX_FOUND)} matches are shown"
        return _page(entries, len(found), not whole, reading or searched.unread, note)

    def _row(self, found: Found) -> _Row:
        if not found.folder:
            return _Row(found, None, (found.real,))
        track, settled = stems_of(found.real, self.roots)
        stems = tuple(stem.path for stem in track.stems) if track else ()
        return _Row(found, track, stems, settled)

    def _abouts(self, rows: Sequence[_Row]) -> tuple[list[FileInfo | None], bool]:
        self.file_info.queue_folders(row.found.real for row in rows if not row.settled)
        known = iter(self.file_info.look_up([row.stems for row in rows if row.stems]))
        abouts = [next(known) if row.stems else FileInfo() for row in rows]
        return abouts, None in abouts or not all(row.settled for row in rows)

    def _sorted(
        self, rows: list[_Row], sort: str, down: bool
    ) -> tuple[list[_Row], list[FileInfo | None], bool]:
        # Rows without a value come last in both directions.
        abouts, reading = self._abouts(rows)

        def key(pair: tuple[_Row, FileInfo | None]) -> Any:
            row, about = pair
            if sort == "stems":
                return len(row.stems)
            return getattr(about, sort) if about else None

        pairs = list(zip(rows, abouts, strict=True))
        known = sorted((one for one in pairs if key(one)), key=key, reverse=down)
        pairs = [*known, *(one for one in pairs if not key(one))]
        return [row for row, _ in pairs], [about for _, about in pairs], reading

    def _listed(self, real: Path) -> Listing:
        try:
            mark = str(real), os.stat(real).st_mtime_ns
        except OSError as error:
            raise MediaNotFound(os.strerror(error.errno or 0)) from None
        listing = self._listings.pop(mark, None) or list_folder(real, self.roots)
        self._listings[mark] = listing
        while len(self._listings) > KEPT_LISTINGS:
            self._listings.popitem(last=False)
        return listing

    def _searched(self, query: str) -> _Search:
        kept = self._searches.pop(query, None)
        begun = time.monotonic()
        if kept is None or begun > kept.until:
            unread = False

            def fits(one: Found, terms: Sequence[Term]) -> bool:
                nonlocal unread
                row = self._row(one)
                if not row.stems:
                    return False
                (about,) = self.file_info.look_up([row.stems])
                if about is None:
                    unread = True
                    return False
                return all(term.of_track(about.bpm, about.key) for term in terms)

            found, whole = search(parse(query), self.roots, fits, self._abandoned)
            now = time.monotonic()
            # Repeat soon while files are unread, but never spend more than a third of the time.
            age = max(SOON_SECONDS, 2 * (now - begun)) if unread else SEARCH_AGE
            kept = _Search(found, whole, unread, now + age)
        self._searches[query] = kept
        while len(self._searches) > KEPT_SEARCHES:
            self._searches.popitem(last=False)
        return kept


def _page(
    entries: list[dict[str, Any]], count: int, truncated: bool = False, reading: bool = False,
    note: str = "", root: str = "", path: str = "",
) -> dict[str, Any]:
    return {
        "entries": entries, "count": count, "truncated": truncated, "reading": reading,
        "note": note, "root": root, "path": path,
    }  # fmt: skip


def _entry(row: _Row, about: FileInfo | None, name: str = "") -> dict[str, Any]:
    found = row.found
    folder, _, own = found.path.rpartition("/")
    about = about or FileInfo()
    kind = "file" if not found.folder else "track" if row.track else "folder"
    return {
        "kind": kind, "name": name or own, "path": found.path, "full": str(found.real),
        "folder": folder.partition("/")[2],
        "stems": [stem.name for stem in row.track.stems] if row.track else [],
        "left_out": [f"{one.path.name}: {one.reason}" for one in row.track.left_out]
        if row.track else [],
        "title": about.title if kind == "file" else "",
        "artist": about.artist, "key": about.key, "bpm": _finite(about.bpm),
        "uncertain": int(about.uncertain), "uncertain_downbeat": int(about.uncertain_downbeat),
        "length": _finite(about.length),
    }  # fmt: skip


def _outside_note(count: int) -> str:
    if not count:
        return ""
    links = "a link leads" if count == 1 else f"{count} links lead"
    return f"{links} outside the media folders: add the folder there with --media-root"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


class Web(Protocol):
    """The part of `app.Web` that this module uses."""

    at_end: list[Callable[[], Awaitable[None]]]
    live: PageSockets
    settings: SimpleNamespace

    @property
    def publish(self) -> Callable[..., None]:
        """`publish(message)` sends a message to all pages."""


def routes(web: Web) -> list[Route]:
    """The routes of the library."""
    library = LibraryApi([Path(root) for root in web.settings.media_root])

    def finished() -> None:
        library.file_info.look_again()
        web.publish({"analysed": 1})

    jobs = AnalysisJobs(library.roots, lambda state: web.live.show("analysis", state), finished)
    # A page that was open before this process started may show a job of its predecessor.
    web.live.show("analysis", jobs.state)
    web.at_end.append(jobs.stop)
    return [
        resource("/library", get=library.browse),
        resource("/library/search", get=library.find),
        resource("/library/analyse", post=jobs.handle_request),
    ]
