"""Hand the set over to the DJ of another version, after its server was upgraded.

The other version's DJ is started with the same arguments, registers and resumes from the state on
the server, as after a crash; this one is notified, and ends its session. It resumes if the other
one ends early. Otherwise a small process stays in its place (`system.stand_in`), which a service
manager or a terminal still controls.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from crowdstream.system.installation import Installation, read_record
from crowdstream.system.process import without_secrets
from crowdstream.system.stand_in import PASSED_ON

log = logging.getLogger("crowdstream.dj")

LOOK_SECONDS = 2.0  # between two looks at the record
TRIAL_SECONDS = 60.0  # for which this DJ can return
POLL_SECONDS = 0.2
END_SECONDS = 5.0  # for the other DJ to end


class VersionChange:
    """Watches which version the server runs, and starts that version's DJ.

    `record`: the server's record, None if it is on another machine. `arguments`: of the DJ.
    """

    def __init__(
        self,
        record: Path | None,
        arguments: Sequence[str],
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._record = record
        self._arguments = list(arguments)
        self._monotonic = monotonic
        self._sleep = sleep
        self._look_at = 0.0
        self._known: Installation | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0

    def tick(self) -> None:
        """Start the DJ of the server's version, if that has changed. Call this often."""
        now = self._monotonic()
        if self._process is not None and (status := self._process.poll()) is not None:
            # It has not even registered, or this session would have ended.
            log.error("the other version's DJ has ended (status %d): playing on", status)
            self._process = None
        if self._record is None or self._process is not None or now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        found = read_record(self._record)
        if found is None or found == self._known:
            return
        self._known = found
        if found.root != Installation.own().root:
            self._start(found)

    def _start(self, found: Installation) -> None:
        log.info("the server runs version %s: handing over to its DJ", found.version)
        self._began = self._monotonic()
        try:
            self._process = subprocess.Popen(
                found.command("crowdstream", "dj", *self._arguments), stdin=subprocess.DEVNULL,
                env=found.environment(without_secrets(os.environ)),
            )  # fmt: skip
        except OSError as error:
            log.error("the DJ of version %s does not start: %s", found.version, error.strerror)

    @property
    def started(self) -> bool:
        """Whether another version's DJ has been started, and has not been given up."""
        return self._process is not None

    def wait(self, ended: Callable[[], bool]) -> int | None:
        """Wait for the other DJ to pass its trial; its exit status if it ends with success.

        None: it has failed, or the server is back at this version, and this DJ has to resume. If it
        passes, this process is replaced, and this method does not return. `ended`: whether this DJ
        was told to end, which the other one then is, too.
        """
        process = self._process
        assert process is not None
        while self._monotonic() < self._began + TRIAL_SECONDS:
            status = process.poll()
            if status is not None:
                self._process = None
                if status == 0:
                    return 0
                log.error("the other version's DJ has ended (status %d): resuming", status)
                return None
            if ended():
                return self._stop(process)
            self._look_back(process)
            self._sleep(POLL_SECONDS)
        # Until that process passes signals on, they wait.
        signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
        if ended():
            return self._stop(process)
        own = Installation.own()
        command = own.command("crowdstream.system.stand_in", str(process.pid))
        environment = own.environment(dict(os.environ))
        os.execve(command[0], command, environment)  # nosec B606  # its own module

    def _look_back(self, process: subprocess.Popen[bytes]) -> None:
        # After a rollback of the server, this version's DJ returns, too.
        assert self._record is not None
        found = read_record(self._record)
        if found is not None and found.root == Installation.own().root and found != self._known:
            self._known = found
            process.kill()

    @staticmethod
    def _stop(process: subprocess.Popen[bytes]) -> int:
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
