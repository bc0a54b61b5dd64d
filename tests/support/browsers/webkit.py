"""WebKitGTK on a virtual screen, through Debian's WebDriver for it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.browsers.window import ScriptError
from tests.support.chromium import CALM
from tests.support.environment import bare_environment

DRIVER = shutil.which("WebKitWebDriver")
BROWSERS = (
    "/usr/lib/{}-linux-gnu/webkit2gtk-4.1/MiniBrowser",
    "/usr/lib/{}-linux-gnu/webkit2gtk-4.0/MiniBrowser",
)  # fmt: skip
SCREEN = shutil.which("Xvfb")
START_SECONDS = 120.0
ANSWER_SECONDS = 180.0


def mini_browser() -> str | None:
    """Return the browser that is packaged with WebKitGTK's driver, or None if it is missing."""
    machine = os.uname().machine
    return next((path for form in BROWSERS if os.path.exists(path := form.format(machine))), None)


class WebKitWindow:
    """A window of WebKitGTK's MiniBrowser. See `webkit`."""

    name = "webkit"

    def __init__(self, port: int, browser: str) -> None:
        self._driver = f"http://127.0.0.1:{port}"
        options = {"binary": browser, "args": ["--automation"]}
        capabilities = {"alwaysMatch": {"webkitgtk:browserOptions": options}}
        made = self._call("POST", "/session", {"capabilities": capabilities})
        self._session = f"/session/{made['sessionId']}"
        timeouts = {"script": 1000 * ANSWER_SECONDS, "pageLoad": 1000 * ANSWER_SECONDS}
        self._call("POST", f"{self._session}/timeouts", timeouts)

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._driver + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise ScriptError(error.read().decode("utf-8", "replace")[:1000]) from error

    def open(self, url: str) -> None:
        """Load a page and make it draw only a few times per second: see `calm.js`."""
        self._call("POST", f"{self._session}/url", {"url": url})
        calm = CALM.read_text(encoding="utf-8")
        self.evaluate(f"(() => {{ {calm}\n return null; }})()")

    def resize(self, width: int, height: int) -> None:
        """Resize the window until its viewport has this size, as far as possible."""
        wide, high = width, height
        for _ in range(3):
            rectangle = {"x": 0, "y": 0, "width": wide, "height": high}
            self._call("POST", f"{self._session}/window/rect", rectangle)
            inner = self.evaluate("[innerWidth, innerHeight]")
            if inner == [width, height]:
                return
            wide, high = wide + width - inner[0], high + height - inner[1]

    def evaluate(self, expression: str) -> Any:
        """Evaluate an expression."""
        script = (
            "const done = arguments[arguments.length - 1];"
            f"(async () => ({expression}))().then("
            "(value) => done({ value: JSON.stringify(value) }),"
            " (error) => done({ error: String(error) }));"
        )
        body = {"script": script, "args": []}
        answer = self._call("POST", f"{self._session}/execute/async", body)
        if "error" in answer:
            raise ScriptError(f"{expression[:200]}: {answer['error']}")
        return json.loads(answer.get("value") or "null")

    def close(self) -> None:
        """End the session."""
        self._call("DELETE", self._session)


@contextlib.contextmanager
def webkit(folder: Path) -> Iterator[WebKitWindow]:
    """Open a WebKitGTK window for the `with` block, with its files in `folder`."""
    browser = mini_browser()
    assert DRIVER and browser and SCREEN, "WebKitGTK is not installed"
    home = folder / "webkit"
    home.mkdir()
    with contextlib.ExitStack() as stack:
        display = _screen(stack)
        environment = bare_environment(
            HOME=str(home), DISPLAY=display, GDK_BACKEND="x11", XDG_RUNTIME_DIR=str(home),
            WEBKIT_DISABLE_COMPOSITING_MODE="1", WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS="1",
            LIBGL_ALWAYS_SOFTWARE="1", NO_AT_BRIDGE="1",
        )  # fmt: skip
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        driver = subprocess.Popen(
            [DRIVER, f"--port={port}", "--host=127.0.0.1"], env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        stack.callback(_end, driver, group=True)
        _listening(port)
        window = WebKitWindow(port, browser)
        try:
            yield window
        finally:
            with contextlib.suppress(OSError, ScriptError):
                window.close()


def _screen(stack: contextlib.ExitStack) -> str:
    # Start an X server, which chooses its own display number.
    assert SCREEN
    out, into = os.pipe()
    command = [SCREEN, "-displayfd", str(into), "-screen", "0", "1920x1200x24", "-nolisten", "tcp"]
    screen = subprocess.Popen(
        command, pass_fds=[into], env=bare_environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    stack.callback(_end, screen)
    os.close(into)
    with os.fdopen(out) as number:
        return f":{number.readline().strip()}"


def _listening(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise TimeoutError("WebKitWebDriver does not listen")


def _end(process: subprocess.Popen[Any], group: bool = False) -> None:
    # The browser and its processes are in the driver's process group and end with it.
    if group:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
