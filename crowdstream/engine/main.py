"""The engine process: opens the device and sleeps while its callback renders the desk.

Control starts it with the desk's file descriptor, in one of five roles: the first engine, which
begins to play; a standby, ready to take over; an engine that searches for a lost device and
resumes there; one that resumes with another block size; and one of another version of the program,
which resumes with the same block size. An engine that has handed over to another version stands by
while that is on trial. Standard input is its lifeline: when it is closed, the server shuts down or
does not need this engine any more. The engine reports to control in JSON lines on standard output,
and does not depend on a reader.

An engine's pipes: reports to control, and standard input, which keeps it alive.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import select
import signal
import sys
import time
from dataclasses import asdict
from typing import Any, NoReturn

from crowdstream.desk.block import Desk
from crowdstream.desk.lease import Lease
from crowdstream.desk.opcodes import FLAG_LOST, FLAG_RESIZED, FLAG_TAKEN
from crowdstream.desk.stream_info import DeviceError, StreamInfo
from crowdstream.engine.drivers import Driver
from crowdstream.engine.drivers.callback import Callback, StreamChange, raise_priority
from crowdstream.engine.drivers.devices import JACK
from crowdstream.engine.drivers.internal_clock import InternalClockDriver
from crowdstream.engine.drivers.portaudio import PortAudioDriver
from crowdstream.engine.precompiled import kernels, load_made
from crowdstream.engine.standby import StandbyMonitor
from crowdstream.system.process import release_pages, send_to_parent


class Ended(Exception):
    """Raised when standard input has been closed."""


def report(message: dict[str, Any]) -> None:
    """Send a JSON message to control. Losing it is harmless."""
    # Control may have died; its successor reads the state from the desk.
    with contextlib.suppress(OSError):
        send_to_parent(message)


def wake_control() -> None:
    """Make control look for events of the engine: an empty line. Never blocks."""
    try:  # noqa: SIM105  (`suppress` allocates an object, and the callback may not)
        os.write(1, b"\n")
    except OSError:  # the pipe is full, so control will look, or control has died
        pass


def pause(seconds: float | None) -> None:
    """Wait for `seconds` seconds; None waits indefinitely. Raises `Ended`."""
    if select.select([0], [], [], seconds)[0] and not os.read(0, 4096):
        raise Ended


def wait_for_message() -> None:
    """Wait for a message from control. Raises `Ended`."""
    while True:
        select.select([0], [], [])
        received = os.read(0, 4096)
        if not received:
            raise Ended
        if received.strip():  # a restarted control process writes a newline
            return


SEARCH_SECONDS = 1.0  # between attempts to open a lost device
HANDOVER_SECONDS = 1.0  # that an engine may take to hand over on request
CHANGE_SECONDS = 3.0  # within which a stream renders its first block after a handover
HANDOVER_MARGIN_SECONDS = 0.003  # by which a handover is requested before a block is due
FADE_MARGIN_SECONDS = 0.02  # by which this engine is ready before the other one begins to fade
JACK_CYCLE_FRAMES = 64  # a divisor of JACK's usual periods
TIMING_SECONDS = 20.0  # of silence, in which an engine learns when its stream is heard
POLL_SECONDS = 0.005  # between checks for a condition
REOPEN_SECONDS = 1.0  # for which a device may still be held by the engine that died
REOPEN_INTERVAL_SECONDS = 0.002
# Checks for the first block before the takeover is reported.
FIRST_BLOCK_CHECKS, FIRST_BLOCK_INTERVAL_SECONDS = 100, 0.005


class Engine:
    """One engine process; `request` is control's JSON request, decoded."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._request = request
        self._rate = float(request["sample_rate"])
        self._frames = int(request["buffer_size"])
        self._desk = Desk(int(request["fd"]))
        self._lease = Lease(self._desk, int(request["number"]))
        self._callback = self._make_callback()
        self._callback.warm_up()
        self._driver: Driver | None = None
        self._info: StreamInfo | None = None

    def _make_callback(self) -> Callback:
        made = Callback(self._desk, self._frames, int(self._request["number"]))
        made.announce = wake_control
        return made

    def run(self) -> int:
        """Run in the requested role. Returns the exit status when there is nothing left to do."""
        role = self._request["role"]
        try:
            if role == "first":
                return self._run_first()
            if role == "search":
                self._run_search()
            elif role in ("resize", "upgrade"):
                self._run_successor()
            else:
                self._run_standby()
            self._keep_playing()
        except Ended:
            pass
        finally:
            self._stop()
        return 0

    # The first engine -----------------------------------------------------------------------

    def _run_first(self) -> int:
        try:
            self._driver, info = self._first_driver()
        except DeviceError as error:
            report({"error": str(error)})
            return 1
        self._lease.take()
        self._finish_loading()
        self._driver.start()
        raise_priority()  # of this thread, too: a killed process then ends sooner
        self._info = info
        report({"ready": asdict(info)})
        self._keep_playing()

    def _first_driver(self) -> tuple[Driver, StreamInfo]:
        request, desk = self._request, self._desk
        rate, note = self._rate, ""
        if request["driver"] != "null":
            driver = self._device(request["device"])
            try:
                info = driver.open()
                desk.set_sample_rate(info.sample_rate)
                self._describe(info)
                return driver, info
            except DeviceError as error:
                driver.stop()
                if request["driver"] == "pyaudio" or request["device"] is not None:
                    raise
                note = f"no sound output, running on the built-in clock: {error}"
        desk.set_sample_rate(rate)
        info = self._clock_info(note)
        self._describe(info)
        return InternalClockDriver(self._callback, rate, self._frames), info

    # Standby -----------------------------------------------------------------------------

    def _run_standby(self) -> None:
        # The built-in clock needs no stream of this engine's own to be started at once.
        warm = self._request["standby"] == "warm" or self._wanted_driver() == "null"
        self._info, running = self._prepare(warm)
        self._finish_loading()
        raise_priority()  # of this thread: it decides on a takeover, and must not be delayed
        report({"standby": "running" if running else "warm"})
        self._stand_by(running)

    def _stand_by(self, running: bool) -> None:
        # Wait until the active engine has to be replaced, and replace it; `running`: this engine's
        # own stream is. Raises `Ended`.
        device = self._wanted_driver() != "null"
        active = self._driver.alive if self._driver is not None else bool
        monitor = StandbyMonitor(
            self._desk, self._lease, self._callback, running, active, device
        )
        why = monitor.wait()
        if why == "ended":
            raise Ended
        if why == "message":
            self._take_planned(monitor, running, "upgraded")
            return
        flag = FLAG_LOST if why == "device" else FLAG_TAKEN
        lost = why == "device" or not (running or self._reopen_device())
        if lost and self._request["lost"] == "wait":
            report({"lost": "device"})
            raise Ended
        before = int(self._desk.lease["takeovers"])
        if lost or not device:
            clock = self._continue_on_internal_clock(flag)
            monitor.take_over()
            clock.start()
        else:
            self._callback.first_flag = flag
            monitor.take_over()
            if not running and self._driver is not None:
                self._driver.start()
        assert self._info is not None
        self._describe(self._info)
        self._wait_for_first_block(before)
        report({"took": asdict(self._info), "why": why, "lost": lost})

    def _keep_playing(self) -> NoReturn:
        # Sleep while the callback renders. After a handover to an engine of another version, stand
        # by in case that one fails. Raises `Ended`.
        while True:
            wait_for_message()
            if self._lease.held():
                continue
            self._callback.change = None
            report({"standby": "running"})
            self._stand_by(running=True)

    def _continue_on_internal_clock(self, flag: int) -> InternalClockDriver:
        # The built-in clock catches up on the time lost.
        since = int(self._desk.clock["callback_ns"])
        self._replace_callback()
        self._callback.first_flag = flag
        self._driver = InternalClockDriver(self._callback, self._rate, self._frames, since * 1e-9)
        self._info = self._clock_info()
        return self._driver

    def _replace_callback(self) -> None:
        # A stream that only stalled may call its callback again, but only one thread may render.
        self._callback.retired = True
        self._callback = self._make_callback()

    def _wait_for_first_block(self, takeovers: int) -> None:
        # The first block records how much time was lost.
        for _ in range(FIRST_BLOCK_CHECKS):
            if int(self._desk.lease["takeovers"]) != takeovers:
                return
            pause(FIRST_BLOCK_INTERVAL_SECONDS)

    def _prepare(self, warm: bool) -> tuple[StreamInfo, bool]:
        # Run a silent stream beside the audible one if the device accepts two, unless this engine
        # is to be `warm` only.
        if self._request["driver"] == "null":
            if warm:
                return self._clock_info(), False
            clock = InternalClockDriver(self._callback, self._rate, self._frames)
            clock.start()
            self._driver = clock
            return self._clock_info(), True
        driver = self._device(self._request["device"])
        self._driver = driver
        if warm:
            return self._clock_info(), False
        try:
            info = driver.open()
            if info.sample_rate != self._rate:
                raise DeviceError("a second stream has another sample rate")
            driver.start()
            return info, True
        except DeviceError:
            driver.stop()
            return self._clock_info(), False

    def _reopen_device(self) -> bool:
        # Open the device if necessary; return whether playback can resume on it.
        if self._info is not None and self._info.driver == self._wanted_driver():
            return True
        driver = self._driver
        assert isinstance(driver, PortAudioDriver)
        tries = int(REOPEN_SECONDS / REOPEN_INTERVAL_SECONDS)
        for _ in range(tries):
            with contextlib.suppress(DeviceError):
                info = driver.open()
                if info.sample_rate == self._rate:
                    self._info = info
                    return True
            driver.stop()
            pause(REOPEN_INTERVAL_SECONDS)
        return False

    def _wanted_driver(self) -> str:
        return "null" if self._request["driver"] == "null" else "pyaudio"

    # Search for a lost device ------------------------------------------------------------

    def _run_search(self) -> None:
        self._finish_loading()
        while not self._find_device():
            pause(SEARCH_SECONDS)
        assert self._info is not None
        raise_priority()
        monitor = StandbyMonitor(self._desk, self._lease, self._callback, True)
        if monitor.alive():
            self._request_handover(monitor)
        else:
            self._callback.first_flag = FLAG_LOST
            monitor.take_over()
        self._describe(self._info)
        report({"took": asdict(self._info), "why": "found", "lost": False})

    def _request_handover(
        self, monitor: StandbyMonitor, ahead: int = 0, fade: bool = False
    ) -> None:
        # Request the other engine to hand over, or kill it: afterwards this one renders.
        self._lease.request_handover(ahead, fade)
        waited = 0.0
        while not self._lease.held():
            pause(POLL_SECONDS)
            waited += POLL_SECONDS
            if waited > HANDOVER_SECONDS or not monitor.alive():
                monitor.kill_other()
                # If it has handed over at the last moment, this engine's callback renders already.
                if not self._lease.held():
                    monitor.take_over()

    def _find_device(self) -> bool:
        wanted: list[str | None] = [self._request["device"]]
        if self._request["fallback"]:
            wanted.append(None)
        for device in wanted:
            driver = self._device(device)
            try:
                info = driver.open()
                if info.sample_rate == self._rate:
                    driver.start()
                    self._driver, self._info = driver, info
                    return True
            except DeviceError:
                pass
            driver.stop()
        return False

    # Change of the block size or of the version ------------------------------------------

    def _run_successor(self) -> None:
        self._info, beside = self._prepare(warm=False)
        self._finish_loading()
        if beside and self._request["role"] == "upgrade":
            pause(TIMING_SECONDS)
        report({"prepared": asdict(self._info) if beside else None})
        wait_for_message()
        raise_priority()
        monitor = StandbyMonitor(self._desk, self._lease, self._callback, beside)
        why = "resized" if self._request["role"] == "resize" else "upgraded"
        self._take_planned(monitor, beside, why)

    def _take_planned(self, monitor: StandbyMonitor, beside: bool, why: str) -> None:
        # Take over from an engine that plays. Raises `Ended`.
        if not beside and self._wanted_driver() == "null":
            self._info, beside = self._prepare(warm=False)
        assert self._info is not None
        fade = beside and self._frames == int(self._desk.header["block_frames"])
        self._callback.first_flag = FLAG_RESIZED
        if beside:
            self._callback.change = StreamChange(self._frames, self._info.latency)
            # JACK calls all clients in the same cycles, which are multiples of 64 frames.
            jack = JACK in self._info.device
            self._callback.grid = math.gcd(self._frames, JACK_CYCLE_FRAMES) if jack else 0
        if monitor.alive():
            self._request_handover(monitor, self._handover_frames(fade) if beside else 0, fade)
        else:
            self._callback.first_flag, self._callback.change = FLAG_TAKEN, None
            self._describe(self._info)
            monitor.take_over()
        lost = not beside and not self._reopen_resized(monitor)
        if lost and self._request["lost"] == "wait":
            report({"lost": "device"})
            raise Ended
        deadline = time.monotonic() + CHANGE_SECONDS
        while not self._callback.renders and time.monotonic() < deadline:
            pause(POLL_SECONDS)
        self._describe(self._info)
        report({"took": asdict(self._info), "why": why, "lost": lost})

    def _handover_frames(self, fade: bool) -> int:
        # Frames that the other engine must play from its handover until this one is heard. With a
        # fade, this one must be ready before that, and waits for the frame. Otherwise, if the
        # blocks of the other are longer, this engine requests the handover shortly before its own
        # next block is due.
        assert self._info is not None
        theirs, own = (
            frames / self._rate for frames in (self._desk.header["block_frames"], self._frames)
        )
        until = 0.5 * own
        if fade:
            until = 2.0 * own + FADE_MARGIN_SECONDS
        elif own > theirs:
            until = 0.5 * (theirs + HANDOVER_MARGIN_SECONDS)
            due = self._callback.called_ns * 1e-9 + own - theirs - HANDOVER_MARGIN_SECONDS
            pause(max(0.0, due - time.monotonic()))
        more = self._info.latency - float(self._desk.clock["latency"])
        return max(0, round((until + more) * self._rate))

    def _reopen_resized(self, monitor: StandbyMonitor) -> bool:
        # The device accepts one stream at a time, so the other engine must release it first. If
        # the device refuses the new size, fall back to the old one. Returns False if it can't be
        # opened at all.
        monitor.kill_other()
        change = StreamChange(self._frames, 0.0, time.monotonic_ns())
        frames = int(self._desk.header["block_frames"])
        found = self._reopen_device()
        if not found and frames != self._frames:
            self._frames = change.frames = frames
            self._replace_callback()
            self._driver = self._device(self._request["device"])
            found = self._reopen_device()
        if found:
            assert self._info is not None and self._driver is not None
            change.latency = self._info.latency
            self._callback.first_flag, self._callback.change = FLAG_RESIZED, change
            self._driver.start()
        elif self._request["lost"] != "wait":
            self._continue_on_internal_clock(FLAG_LOST).start()
        return found

    # ---------------------------------------------------------------------------------------

    def _device(self, device: str | None) -> PortAudioDriver:
        driver = PortAudioDriver(
            self._callback, device, self._rate, self._frames, self._request["cue_channels"]
        )
        # The first engine sets the desk's sample rate to the device's; afterwards it can't change.
        driver.keep_rate = self._request["role"] != "first"
        return driver

    def _clock_info(self, note: str = "") -> StreamInfo:
        latency = 2 * self._frames / self._rate
        return StreamInfo("null", "built-in clock", self._rate, self._frames, latency, note)

    def _describe(self, info: StreamInfo) -> None:
        self._desk.header["block_frames"] = info.buffer_size
        self._desk.clock["latency"] = info.latency

    def _finish_loading(self) -> None:
        # Afterwards, neither compilation nor garbage collection may delay the callback.
        kernels()
        self._desk.touch()
        release_pages("libllvmlite")
        gc.collect()
        gc.freeze()
        gc.disable()

    def _stop(self) -> None:
        if self._driver is not None:
            self._driver.stop()


def prepare() -> None:
    """Load the kernels in a process that will fork engines, unless they have yet to be compiled."""
    if load_made():
        release_pages("libllvmlite")


def main(arguments: list[str]) -> int:
    """Run until standard input is closed. `arguments`: the request as one JSON text."""
    # A terminal's Ctrl-C reaches the whole process group, but ending the engine is up to control.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.set_blocking(1, False)  # the callback writes to it
    return Engine(json.loads(arguments[0])).run()


if __name__ == "__main__":
    status = main(sys.argv[1:])
    os._exit(status)  # a dead sound system must not delay the exit
