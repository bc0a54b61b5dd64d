"""Waveforms of what lies on the decks, for pages: what there is of them, and tiles.

Which files is in control's picture; a page names a track's number and a stem's, never a path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from crowdstream.desk.block import Desk
from crowdstream.web.control_client import ControlClient
from crowdstream.web.page_socket import PageSockets
from crowdstream.web.resource import resource
from crowdstream.web.waveforms.peak_file import BLOCK_LEVEL, FACTOR, TILE, Shape, key
from crowdstream.web.waveforms.tiles import NoTile, PeakFile
from crowdstream.web.waveforms.worker import Worker

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

DECKS = "ABCD"
MAX_STEMS = 16  # of a deck that is drawn
MAX_READING = 64  # tiles that are read at a time; more are refused, and asked for again
FOREVER = "private, max-age=31536000, immutable"
COARSE = 3  # from here on a tile is an overview, and says nothing of where somebody looks


@dataclass(eq=False)
class Sound:
    """What there is of one file's peaks. `rough`: a level; `ready`: 0 to 1 of it is exact."""

    path: str
    key: str = ""
    file: PeakFile | None = None
    rough: int = -1
    ready: float = 0.0
    failed: str = ""

    def told(self) -> dict[str, Any]:
        """As pages know it."""
        shape = self.file.shape if self.file else None
        return {
            "key": self.key, "rough": self.rough, "ready": round(self.ready, 4),
            "failed": self.failed, "rate": shape.rate if shape else 0,
            "frames": shape.frames if shape else 0, "bucket": shape.bucket if shape else 0,
            "levels": list(shape.counts) if shape else [],
        }  # fmt: skip


@dataclass
class Track:
    """A track on a deck."""

    deck: str
    number: int
    sounds: list[Sound] = field(default_factory=list)


class Web(Protocol):
    """What it needs of the web process (see `app.Web`)."""

    desk: Desk
    link: ControlClient
    live: PageSockets
    settings: SimpleNamespace

    @property
    def publish(self) -> Callable[..., None]:
        """`publish(message)` tells all pages."""


class Waveforms:
    """Has waveforms made of what lies on the decks, while pages look."""

    def __init__(self, web: Web, environ: dict[str, str] | None = None) -> None:
        """`environ`: of the process that makes them; this one's where None."""
        self._web = web
        self.worker = Worker(self._said, environ, media=web.settings.media_root)
        self._tracks: dict[str, Track] = {}  # by deck
        self._sounds: dict[str, Sound] = {}  # by path
        self._gentle = False
        self._reading = 0

    # What control and the pages do -----------------------------------------------------------

    def heard(self, kind: str, what: Any) -> None:
        """Control has said something, see `Link`."""
        if kind == "picture" and self._web.live.pages:
            self.worker.stay()
            changed = [deck for deck in DECKS if f"deck.{deck}" in what]
            if [deck for deck in changed if self._changed(deck)] or not self.worker.pid:
                self._want()

    def came(self) -> None:
        """The first page has come: what is known by then is not said again."""
        self.heard("picture", self._web.link.picture)

    def left(self) -> None:
        """The last page has gone: no file is kept open."""
        self.worker.leave()
        self._tracks.clear()
        self._sounds.clear()

    async def close(self) -> None:
        """End the process."""
        await self.worker.close()

    def _changed(self, deck: str) -> bool:
        picture = self._web.link.picture.get(f"deck.{deck}") or {}
        number = int(picture.get("number") or 0)
        paths = [str(stem["path"]) for stem in picture.get("stems") or []][:MAX_STEMS]
        before = self._tracks.get(deck)
        if before and before.number == number:
            if [sound.path for sound in before.sounds] == paths:
                return False
        elif before is None and not number:
            return False
        if number and paths:
            self._tracks[deck] = Track(deck, number, [self._sound(path) for path in paths])
        else:
            self._tracks.pop(deck, None)
        return True

    def _sound(self, path: str) -> Sound:
        sound = self._sounds.get(path)
        if sound is None or sound.failed:  # failed ones are tried again, and may have changed
            sound = self._sounds[path] = Sound(path)
            sound.failed = self.worker.blame.reason(path) or ""
        return sound

    def _want(self) -> None:
        paths = [sound.path for track in self._tracks.values() for sound in track.sounds]
        for path in [path for path in self._sounds if path not in paths]:
            del self._sounds[path]
        roots = [str(root) for root in self._web.link.about.get("media_roots") or []]
        # The newest first: a deck that has just been loaded is looked at.
        self.worker.want(list(reversed(paths)), roots)

    # What the process says -------------------------------------------------------------------

    def _said(self, message: dict[str, Any]) -> None:
        path = message.get("wave") or message.get("failed")
        sound = self._sounds.get(str(path)) if path else None
        if sound is None:
            return
        if "failed" in message:
            sound.failed = str(message["reason"])
        else:
            self._learn(sound, message)
        for track in self._tracks.values():
            for stem, one in enumerate(track.sounds):
                if one is sound:
                    about = {"deck": track.deck, "number": track.number, "stem": stem}
                    self._web.publish({"wave": about | sound.told()})
        self._be_gentle()

    def _learn(self, sound: Sound, message: dict[str, Any]) -> None:
        identity = int(message["identity"][0]), int(message["identity"][1])
        shape = Shape(int(message["rate"]), int(message["frames"]), int(message["bucket"]))
        again = float(message["ready"]) < sound.ready  # by another process
        if sound.file is None or sound.key != key(sound.path, identity) or again:
            try:
                sound.file = PeakFile(Path(message["file"]), shape)
            except OSError:  # gone already: another process makes it anew
                return
        sound.key = key(sound.path, identity)
        sound.rough = int(message["rough"])
        sound.ready = float(message["ready"])

    def _be_gentle(self) -> None:
        # What is to be heard comes first: while files are read for that, half the speed will do.
        busy = bool(int(self._web.desk.loader["busy"]))
        if busy != self._gentle:
            self._gentle = busy
            self.worker.gentle(busy)

    # What pages ask --------------------------------------------------------------------------

    def _find(self, request: Request) -> Track | None:
        number = int(request.path_params["number"])
        return next((one for one in self._tracks.values() if one.number == number), None)

    async def about(self, request: Request) -> Response:
        """What there is of a track's stems."""
        track = self._find(request)
        if track is None:
            return JSONResponse({"error": "no such track is on a deck"}, 404)
        stems = [sound.told() for sound in track.sounds]
        return JSONResponse(
            {"deck": track.deck, "number": track.number, "tile": TILE, "factor": FACTOR,
             "stems": stems},
            headers={"Cache-Control": "no-store"},
        )  # fmt: skip

    async def tile(self, request: Request) -> Response:
        """One tile; with `?key=` it stays good for ever once all of it is exact."""
        track = self._find(request)
        stem, level, number = (int(request.path_params[one]) for one in ("stem", "level", "tile"))
        sound = track.sounds[stem] if track and stem < len(track.sounds) else None
        if sound is None or sound.file is None:
            return _refused(404)
        if self._reading >= MAX_READING:
            return _refused(503)
        self._reading += 1
        try:
            file = sound.file
            data, exact = await run_in_threadpool(file.tile, level, number, sound.rough)
            if not exact and level <= min(COARSE, BLOCK_LEVEL):
                block = await run_in_threadpool(file.first_missing_block, level, number)
                if block is not None and sound.ready < 1:
                    self.worker.near(sound.path, block)
        except NoTile:
            return _refused(404)
        finally:
            self._reading -= 1
        same = request.query_params.get("key") == sound.key
        return Response(
            data, media_type="application/octet-stream",
            headers={"Cache-Control": FOREVER if exact and same else "no-store"},
        )  # fmt: skip


def _refused(status: int) -> Response:
    return Response(status_code=status, headers={"Cache-Control": "no-store"})


def routes(waves: Waveforms) -> list[BaseRoute]:
    """Where waveforms are; `waves` is told of pages and of control."""
    return [
        resource("/waves/{number:int}", get=waves.about),
        resource("/waves/{number:int}/{stem:int}/{level:int}/{tile:int}", get=waves.tile),
    ]
