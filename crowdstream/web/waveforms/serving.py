"""Serve waveforms of the decks' tracks to pages: their progress, and tiles.

Control's picture contains the files. A page identifies a waveform by the track's number and the
stem's, never by a path.
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
MAX_STEMS = 16  # drawn per deck
MAX_READING = 64  # concurrent reads of tiles; further requests are refused, and pages retry them
FOREVER = "private, max-age=31536000, immutable"
COARSE = 3  # tiles above this level are overviews, which do not show where a user is looking


@dataclass(eq=False)
class Sound:
    """Progress of one file's peaks. `rough`: a level; `ready`: the exact part, 0 to 1."""

    path: str
    key: str = ""
    file: PeakFile | None = None
    rough: int = -1
    ready: float = 0.0
    failed: str = ""

    def to_message(self) -> dict[str, Any]:
        """The JSON object for pages."""
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
    """The part of `app.Web` that this module uses."""

    desk: Desk
    link: ControlClient
    live: PageSockets
    settings: SimpleNamespace

    @property
    def publish(self) -> Callable[..., None]:
        """`publish(message)` sends a message to all pages."""


class Waveforms:
    """Keeps waveforms of the decks' tracks up to date while pages are open."""

    def __init__(self, web: Web, environ: dict[str, str] | None = None) -> None:
        """`environ`: environment of the waveform process; None: that of this process."""
        self._web = web
        self.worker = Worker(self._on_message, environ, media=web.settings.media_root)
        self._tracks: dict[str, Track] = {}  # by deck
        self._sounds: dict[str, Sound] = {}  # by path
        self._gentle = False
        self._reading = 0

    # Events of control and pages -------------------------------------------------------------

    def on_control_message(self, kind: str, value: Any) -> None:
        """Handle a message of `ControlClient`."""
        if kind == "picture" and self._web.live.pages:
            self.worker.stay()
            changed = [deck for deck in DECKS if f"deck.{deck}" in value]
            if [deck for deck in changed if self._changed(deck)] or not self.worker.pid:
                self._want()

    def on_first_page(self) -> None:
        """Start work: control does not repeat a picture that is known already."""
        self.on_control_message("picture", self._web.link.picture)

    def on_last_page_gone(self) -> None:
        """Stop work, and keep no file open."""
        self.worker.leave()
        self._tracks.clear()
        self._sounds.clear()

    async def close(self) -> None:
        """Stop the waveform process."""
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
        if sound is None or sound.failed:  # a failed file may have been repaired: retry it
            sound = self._sounds[path] = Sound(path)
            sound.failed = self.worker.blame.reason(path) or ""
        return sound

    def _want(self) -> None:
        paths = [sound.path for track in self._tracks.values() for sound in track.sounds]
        for path in [path for path in self._sounds if path not in paths]:
            del self._sounds[path]
        roots = [str(root) for root in self._web.link.about.get("media_roots") or []]
        # The newest first: a deck that has just been loaded is what users look at.
        self.worker.want(list(reversed(paths)), roots)

    # Messages of the waveform process --------------------------------------------------------

    def _on_message(self, message: dict[str, Any]) -> None:
        path = message.get("wave") or message.get("failed")
        sound = self._sounds.get(str(path)) if path else None
        if sound is None:
            return
        if "failed" in message:
            sound.failed = str(message["reason"])
        else:
            self._update(sound, message)
        for track in self._tracks.values():
            for stem, one in enumerate(track.sounds):
                if one is sound:
                    about = {"deck": track.deck, "number": track.number, "stem": stem}
                    self._web.publish({"wave": about | sound.to_message()})
        self._adapt_speed()

    def _update(self, sound: Sound, message: dict[str, Any]) -> None:
        identity = int(message["identity"][0]), int(message["identity"][1])
        shape = Shape(int(message["rate"]), int(message["frames"]), int(message["bucket"]))
        again = float(message["ready"]) < sound.ready  # recomputed by another process
        if sound.file is None or sound.key != key(sound.path, identity) or again:
            try:
                sound.file = PeakFile(Path(message["file"]), shape)
            except OSError:  # removed already: another process computes it again
                return
        sound.key = key(sound.path, identity)
        sound.rough = int(message["rough"])
        sound.ready = float(message["ready"])

    def _adapt_speed(self) -> None:
        # Playback takes precedence: while the loader reads files, waveforms run at half speed.
        busy = bool(int(self._web.desk.loader["busy"]))
        if busy != self._gentle:
            self._gentle = busy
            self.worker.gentle(busy)

    # HTTP requests ---------------------------------------------------------------------------

    def _find(self, request: Request) -> Track | None:
        number = int(request.path_params["number"])
        return next((one for one in self._tracks.values() if one.number == number), None)

    async def about(self, request: Request) -> Response:
        """Handle `GET /waves/<number>`: the progress of a track's stems."""
        track = self._find(request)
        if track is None:
            return JSONResponse({"error": "this track is not on a deck"}, 404)
        stems = [sound.to_message() for sound in track.sounds]
        return JSONResponse(
            {"deck": track.deck, "number": track.number, "tile": TILE, "factor": FACTOR,
             "stems": stems},
            headers={"Cache-Control": "no-store"},
        )  # fmt: skip

    async def tile(self, request: Request) -> Response:
        """Return one tile. With the current `?key=`, an exact tile may be cached indefinitely."""
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
    """The routes of waveforms."""
    return [
        resource("/waves/{number:int}", get=waves.about),
        resource("/waves/{number:int}/{stem:int}/{level:int}/{tile:int}", get=waves.tile),
    ]
