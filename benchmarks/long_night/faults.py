"""Faults of a venue's night besides kills: music and devices that disappear, and upgrades.

- `stick`: the folder of removable music disappears while its tracks are read, and returns;
- `input`: the device of the live input disappears, and returns;
- `upgrade`: another installation of the package takes over in mid-mix;
- `bad-upgrade`: one whose engine or control fails soon, which has to be taken back.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.long_night.log import Log
from benchmarks.upgrade import BROKEN
from contrib.soundcard import PulseTone
from tests.support.long_night.stick import Stick
from tests.support.server import Running
from tests.support.upgrades import begin, installation, roots

KINDS = ("stick", "input", "upgrade", "bad-upgrade")
UPGRADES = ("upgrade", "bad-upgrade")
TRIAL_SECONDS = 20.0  # of an upgrade: longer than any of the broken versions lasts
RETURN_SECONDS = 20.0  # for an input to play again after its device has returned
BACK_SECONDS = 10.0  # for all processes of the old version to be back
UPGRADE_SECONDS = 300.0  # an upgrade that takes longer is reported as failed


@dataclass
class _Fault:
    kind: str
    number: int
    at: float  # monotonic
    until: float  # when what has disappeared returns
    returned: float = 0.0
    process: subprocess.Popen[str] | None = None
    output: str = ""
    roots: set[str] = field(default_factory=set)
    name: str = ""
    seen: list[str] = field(default_factory=list)  # states of the input


class Faults:
    """Causes the faults, one at a time, and observes how the server recovers.

    `microphone`: the device of input 1; None: no input. `folder`: for the installations.
    """

    def __init__(
        self, server: Running, log: Log, stick: Stick, microphone: PulseTone | None, folder: Path,
        kinds: Sequence[str],
    ) -> None:  # fmt: skip
        self._server = server
        self._log = log
        self._stick = stick
        self._microphone = microphone
        self._copying: threading.Thread | None = None
        self._number = 0
        self._fault: _Fault | None = None
        self._spans: list[tuple[float, float]] = []  # of upgrades, monotonic
        self._good: Iterator[Path] = iter(())
        self._bad: Iterator[tuple[str, Path]] = iter(())
        shutil.rmtree(folder, ignore_errors=True)
        if "upgrade" in kinds:
            self._good = cycle([installation(folder / n, f"9.0.{n}") for n in ("1", "2")])
        if "bad-upgrade" in kinds:
            self._bad = cycle([
                (name, installation(folder / name.replace(" ", "-"), "9.9.9", [patch]))
                for name, patch in BROKEN.items()
            ])  # fmt: skip

    @property
    def busy(self) -> bool:
        """Whether a fault is in progress."""
        return self._fault is not None

    @property
    def upgrading(self) -> bool:
        """Whether an upgrade is in progress."""
        return self._fault is not None and self._fault.kind in UPGRADES

    @property
    def struck(self) -> float:
        """The monotonic time at which the latest upgrade ended."""
        return self._spans[-1][1] if self._spans else -1e9

    def covers(self, moment: float, margin: float) -> bool:
        """Return whether something at that monotonic time may have been lost to an upgrade."""
        if self.upgrading and self._fault and moment > self._fault.at - margin:
            return True
        return any(begin - margin < moment < end + margin for begin, end in self._spans)

    def start(self, kind: str, seconds: float) -> None:
        """Cause a fault; what disappears returns after `seconds`."""
        if self._fault is not None or (kind == "input" and self._microphone is None):
            reason = "another one is in progress" if self._fault else "there is no input"
            self._log.write("fault skipped", kind=kind, reason=reason)
            return
        self._number += 1
        now = time.monotonic()
        one = self._fault = _Fault(kind, self._number, now, now + seconds)
        if kind == "stick":
            self._stick.pull_out()
        elif kind == "input":
            assert self._microphone
            self._microphone.pull_out()
        else:
            one.roots = roots(self._server, recorder=False)
            one.name, path = ("", next(self._good)) if kind == "upgrade" else next(self._bad)
            one.until = now + UPGRADE_SECONDS
            one.process = begin(self._server, path, "--allow-older", trial=TRIAL_SECONDS)
        self._log.write("fault", kind=kind, number=one.number, name=one.name)

    def tick(self, status: Mapping[str, Any]) -> None:
        """Observe; `status`: the latest one of the server."""
        one = self._fault
        if one is None:
            return
        now = time.monotonic()
        if one.process is not None:
            self._check_upgrade(one, now)
            return
        state = str(status.get("input.1.state", ""))
        if one.kind == "input" and (not one.seen or one.seen[-1] != state):
            one.seen.append(state)
        if not one.returned and now >= one.until:
            one.returned = now
            if one.kind == "stick":
                # It takes a while to copy.
                self._copying = threading.Thread(target=self._stick.plug_in)
                self._copying.start()
            elif self._microphone is not None:
                self._microphone.plug_in()
        if not one.returned:
            return
        if one.kind == "stick" and self._stick.there:
            self._end(one, back=now - one.returned)
        elif one.kind == "input":
            was_lost = any(state not in ("playing", "muted", "") for state in one.seen[:-1])
            if was_lost and state in ("playing", "muted"):
                self._end(one, back=now - one.returned, states=one.seen)
            elif now > one.returned + RETURN_SECONDS:
                self._end(one, back=-1.0, states=one.seen)

    def _check_upgrade(self, one: _Fault, now: float) -> None:
        assert one.process
        if one.process.poll() is None:
            if now > one.until:
                one.process.kill()
                one.until = float("inf")
            return
        if not one.returned:
            one.returned = now
            one.output = one.process.communicate()[0]
        # What the old version starts again may still be in exchange for the new one's.
        replaced = roots(self._server, recorder=False) != one.roots
        if replaced == bool(one.process.returncode) and now < one.returned + BACK_SECONDS:
            return
        lines = one.output.strip().splitlines()
        self._end(
            one, status=one.process.returncode, replaced=replaced, back=now - one.returned,
            text=lines[-1][-300:] if lines else "",
        )
        self._spans.append((one.at, now))

    def _end(self, one: _Fault, **values: Any) -> None:
        self._log.write("fault over", kind=one.kind, number=one.number, name=one.name, **values)
        self._fault = None

    def close(self) -> None:
        """End what is in progress, and remove the copies of the removable music."""
        if self._fault is not None and self._fault.process is not None:
            self._fault.process.kill()
            self._fault.process.communicate()
        if self._copying is not None:
            self._copying.join()
        self._stick.close()
