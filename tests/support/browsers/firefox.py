"""Headless Firefox, through WebDriver BiDi, which it supports itself."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import connect
from websockets.sync.connection import Connection

from tests.support.browsers.window import ScriptError
from tests.support.environment import bare_environment

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
START_SECONDS = 180.0
ANSWER_SECONDS = 180.0

# Connects only to the page, asks the user nothing, has only the processes that the page needs, and
# draws a few times per second: without a graphics card, drawing takes a core.
PREFERENCES = """
user_pref("layout.frame_rate", 5);
user_pref("ui.prefersReducedMotion", 1);
user_pref("dom.ipc.processCount", 1);
user_pref("dom.ipc.processPrelaunch.enabled", false);
user_pref("browser.newtab.preload", false);
user_pref("media.rdd-process.enabled", false);
user_pref("extensions.webextensions.remote", false);
user_pref("app.normandy.enabled", false);
user_pref("app.update.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.startup.homepage_override.mstone", "ignore");
user_pref("browser.safebrowsing.malware.enabled", false);
user_pref("browser.safebrowsing.phishing.enabled", false);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("extensions.getAddons.cache.enabled", false);
user_pref("extensions.systemAddon.update.enabled", false);
user_pref("extensions.update.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("services.settings.server", "data:,#remote-settings-dummy/v1");
user_pref("toolkit.telemetry.reportingpolicy.firstRun", false);
user_pref("remote.active-protocols", 1);
"""


class FirefoxWindow:
    """A tab of Firefox. See `firefox`."""

    name = "firefox"

    def __init__(self, socket: Connection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._call("session.new", {"capabilities": {}})
        tree = self._call("browsingContext.getTree", {})
        self._tab = tree["contexts"][0]["context"]

    def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(ANSWER_SECONDS))
            if message.get("id") == number:
                break
        if message.get("type") == "error":
            raise ScriptError(f"{method}: {message['error']}: {message.get('message')}")
        result: dict[str, Any] = message["result"]
        return result

    def open(self, url: str) -> None:
        """Load a page."""
        where = {"context": self._tab, "url": url, "wait": "complete"}
        self._call("browsingContext.navigate", where)

    def resize(self, width: int, height: int) -> None:
        """Resize the viewport."""
        size = {"width": width, "height": height}
        self._call("browsingContext.setViewport", {"context": self._tab, "viewport": size})

    def evaluate(self, expression: str) -> Any:
        """Evaluate an expression. Values are JSON text, because BiDi has its own notation."""
        answer = self._call(
            "script.evaluate",
            {
                "expression": f"(async () => JSON.stringify(await ({expression})))()",
                "target": {"context": self._tab}, "awaitPromise": True,
            },
        )  # fmt: skip
        if answer["type"] == "exception":
            raise ScriptError(f"{expression[:200]}: {answer['exceptionDetails']['text']}")
        return json.loads(answer["result"].get("value", "null"))


@contextlib.contextmanager
def firefox(folder: Path) -> Iterator[FirefoxWindow]:
    """Open a Firefox window for the `with` block, with its profile in `folder`."""
    assert FIREFOX, "firefox is not installed"
    profile = folder / "firefox"
    profile.mkdir()
    (profile / "user.js").write_text(PREFERENCES, encoding="ascii")
    command = [
        FIREFOX, "--headless", "--no-remote", "--profile", str(profile),
        "--remote-debugging-port", "0", "about:blank",
    ]  # fmt: skip
    environment = bare_environment(HOME=str(profile), MOZ_DISABLE_CONTENT_SANDBOX="1")
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        limit = threading.Timer(START_SECONDS, process.kill)
        limit.start()
        try:
            address = _address(process)
            limit.cancel()
            # Responses contain axe's findings for a whole page.
            with connect(f"{address}/session", max_size=1 << 26, ping_interval=None) as socket:
                yield FirefoxWindow(socket)
        finally:
            limit.cancel()
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr
    for line in process.stderr:
        found = re.search(r"WebDriver BiDi listening on (ws://\S+)", line)
        if found:
            # Read the rest of the output, or Firefox would block on the full pipe.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return found.group(1)
    raise RuntimeError("firefox ended before it could be driven")
