"""Listening in a real browser: a page that listens, and the output of its audio graph."""

from __future__ import annotations

import asyncio
import base64
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from crowdstream.desk.block import Desk
from crowdstream.web.streaming.routes import ListenEndpoint
from tests.support.environment import PROJECT

if TYPE_CHECKING:
    from playwright.sync_api import Page

HERE = Path(__file__).resolve().with_name("pages")
PAGES = PROJECT / "crowdstream" / "web" / "static"
CAPTURE = (HERE / "capture.js").read_text()
_HTML = """<!doctype html><meta charset="utf-8"><title>listen</title>
<script type="module" src="/start.js"></script>
<h1>Anything else</h1><section id="listen" aria-label="Listening in"></section>"""
_START = """import { mountListen } from "/page/listen/listen.js";
import "/test/player.js";
const sound = mountListen(document.getElementById("listen"), null);
sound.hold = Number(new URLSearchParams(location.search).get("hold") ?? sound.hold);
globalThis.sound = sound;"""
BLOCKED_SECONDS = 0.5
BLOCKED = "answered late"
_ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp",
}  # fmt: skip
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws:; "
    "worker-src 'self'"
)


async def _answer_late(_request: Request) -> Response:
    await asyncio.sleep(BLOCKED_SECONDS)
    return Response(BLOCKED, media_type="text/plain")


class Site:
    """Serves a page that listens to a desk. `isolated`: with the headers that shared memory needs.

    `station` is the endpoint with the listeners.
    """

    def __init__(
        self, desk: Desk, isolated: bool = True, port: int = 0, most: int = 64
    ) -> None:
        self._headers = {"Content-Security-Policy": _POLICY} | (_ISOLATED if isolated else {})
        self.station = ListenEndpoint(desk, most)
        script = "text/javascript"
        routes = [
            Route("/", lambda _: HTMLResponse(_HTML)),
            Route("/start.js", lambda _: Response(_START, media_type=script)),
            Route("/blocked", _answer_late),
            Mount("/test", StaticFiles(directory=HERE)),
            Mount("/page", StaticFiles(directory=PAGES)),
            WebSocketRoute("/listen", self.station.serve),
        ]
        self._app = Starlette(routes=routes)
        config = uvicorn.Config(
            self._guarded, interface="asgi3", http="h11", ws="websockets-sansio",
            log_config=None, lifespan="off", ws_per_message_deflate=False,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = int(self._socket.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/"
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))

    async def _guarded(self, scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [
                    (name.lower().encode(), value.encode()) for name, value in self._headers.items()
                ]
            await send(message)

        await self._app(scope, receive, sending)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop the server and close all connections."""
        self._server.should_exit = self._server.force_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Heard:
    """Output of an audio graph: `left` and `right` at `rate` Hz.

    For each 128 samples: `frames`, the context's frame of the first one; `clocks`, the difference
    between system clock and context time (seconds) when they were computed.
    """

    rate: float
    frames: np.ndarray
    clocks: np.ndarray
    left: np.ndarray
    right: np.ndarray

    def time(self, index: int) -> float:
        """Return the average system clock (seconds) at which a sample was computed.

        Browsers compute several quanta at once, and a busy machine delays them occasionally.
        """
        near = self.clocks[max(0, index // 128 - 100) : index // 128 + 100]
        frame = int(self.frames[index // 128]) + index % 128
        return float(near.mean()) + frame / self.rate

    def real(self, hertz: float, seconds: float) -> float:
        """Convert a frequency during the last seconds to the system clock.

        The clock of a virtual sound card can be off by 0.05 % and more.
        """
        clocks = self.clocks[-int(seconds * self.rate / 128) :]
        # A busy machine delays some of them, but none is early: use the earliest of each tenth.
        parts = np.array_split(np.arange(len(clocks)), 10)
        earliest = [part[np.argmin(clocks[part])] for part in parts]
        slope = np.polyfit(np.array(earliest) * 128 / self.rate, clocks[earliest], 1)[0]
        return float(hertz / (1.0 + slope))

    def played(self) -> np.ndarray:
        """Return the left channel from the first sample that is not silent."""
        sounding = np.flatnonzero(self.left)
        return self.left[sounding[0] :] if len(sounding) else self.left[:0]


def heard(page: Page, seconds: float | None = None) -> Heard:
    """Return the audio graph's output: a little more than the last `seconds`, or all."""
    raw = page.evaluate("(seconds) => heard(seconds ?? Infinity)", seconds)
    left, right = (np.frombuffer(base64.b64decode(raw[name]), "<f4") for name in ("left", "right"))
    rate = float(raw["rate"])
    return Heard(rate, np.array(raw["frames"]), np.array(raw["clocks"]), left, right)


def reading(page: Page) -> dict[str, Any]:
    """Return the page's readings about listening, with `state` and `mode`."""
    found: dict[str, Any] = page.evaluate(
        "({...sound.reading, state: sound.state, mode: sound.mode, notice: sound.notice})"
    )
    return found


def until_state(page: Page, state: str, seconds: float = 120.0) -> None:
    """Wait until the page has this state; polled from here, because the page forbids eval."""
    deadline = time.monotonic() + seconds
    while reading(page)["state"] != state:
        assert time.monotonic() < deadline, f"not {state}: {reading(page)}"
        page.wait_for_timeout(50)


def quietest(samples: np.ndarray, rate: float) -> float:
    """Return the smallest peak of any 5 ms: about the amplitude of a tone without gaps."""
    size = int(0.005 * rate)
    return float(np.abs(samples[: len(samples) // size * size].reshape(-1, size)).max(axis=1).min())


def tone(samples: np.ndarray, rate: float, about: float) -> tuple[float, float, float]:
    """Return frequency (Hz), amplitude and residual (THD+N, dB) of a sine near `about` Hz.

    Sine and cosine are fitted by least squares; the frequency follows from the phase difference of
    the two halves.
    """
    samples = samples.astype(np.float64)
    hertz = about
    for _ in range(4):
        half = len(samples) // 2
        first, second = (_fit(part, rate, hertz)[0] for part in (samples[:half], samples[half:]))
        turn = np.angle(second / first) - 2 * np.pi * hertz * half / rate
        turn = (turn + np.pi) % (2 * np.pi) - np.pi
        hertz += float(turn / (2 * np.pi * half / rate))
    value, rest = _fit(samples, rate, hertz)
    level = abs(value)
    noise = np.sqrt(np.mean(rest**2)) / (level / np.sqrt(2))
    return hertz, float(level), float(20 * np.log10(noise))


def _fit(samples: np.ndarray, rate: float, hertz: float) -> tuple[complex, np.ndarray]:
    # The complex amplitude of a sine whose phase is relative to the first sample.
    angle = 2 * np.pi * hertz * np.arange(len(samples)) / rate
    basis = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    weights, *_ = np.linalg.lstsq(basis, samples, rcond=None)
    return complex(weights[0], -weights[1]), samples - basis @ weights
