"""The engine process: opens the device, then sleeps while its callback plays the desk.

Started by control with the desk's descriptor. There are four kinds: the first one, which begins to
play; a standby, which is ready to go on where another one stops; one that looks for a device that
has gone, and goes on there; and one that goes on with blocks of another size. Its standard input is
a lifeline: when it closes, the server ends or has no use for this engine any more. It says what it
does in JSON lines on standard output, and nobody has to hear it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
import time
from dataclasses import asdict
from typing import Any

from crowdstream.desk.block import Desk
from crowdstream.desk.lease import Lease
from crowdstream.desk.opcodes import FLAG_LOST, FLAG_RESIZED, FLAG_TAKEN
from crowdstream.desk.stream_info import DeviceError, StreamInfo
from crowdstream.engine.drivers import Driver
from crowdstream.engine.drivers.callback import Callback, Change, raise_priority
from crowdstream.engine.drivers.internal_clock import InternalClockDriver
from crowdstream.engine.drivers.portaudio import PortAudioDriver
from crowdstream.engine.lifeline import Ended, await_word, pause, say, sleep
from crowdstream.engine.precompiled import kernels
from crowdstream.engine.standby import StandbyMonitor

SEARCH_SECONDS = 1.0  # between two looks for a device that is gone
HANDOVER_SECONDS = 1.0  # that an engine may take to hand over when it is asked to
CHANGE_SECONDS = 3.0  # within which a stream has its first block when another one has handed over
SURELY_SECONDS = 0.003  # by which an engine is asked earlier to hand over before a block is due
GLANCE = 0.005  # seconds between two looks whether it has happened
REOPEN_SECONDS = 1.0  # for which a device may still be held by the engine that has died
REOPEN_PAUSE = 0.002
FIRST_BLOCK_LOOKS, FIRST_BLOCK_PAUSE = 100, 0.005  # before it is told who plays


class Engine:
    """One engine of a server; `request` is what control wants of it."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._request = request
        self._rate = float(request["sample_rate"])
        self._frames = int(request["buffer_size"])
        self._desk = Desk(int(request["fd"]))
        self._lease = Lease(self._desk, int(request["number"]))
        self._callback = Callback(self._desk, self._frames, int(request["number"]))
        self._callback.warm_up()
        self._driver: Driver | None = None
        self._info: StreamInfo | None = None

    def run(self) -> int:
        """Play, or wait for the turn to; returns when there is nothing left to do."""
        role = self._request["role"]
        try:
            if role == "first":
                return self._begin()
            if role == "search":
                self._search()
            elif role == "resize":
                self._resize()
            else:
                self._stand_by()
        except Ended:
            pass
        finally:
            self._stop()
        return 0

    # The first one -----------------------------------------------------------------------

    def _begin(self) -> int:
        try:
            self._driver, info = self._first_driver()
        except DeviceError as error:
            say({"error": str(error)})
            return 1
        self._lease.take()
        self._settle()
        self._driver.start()
        raise_priority()  # of this thread, too: with it the process ends sooner when it is killed
        say({"ready": asdict(info)})
        sleep()

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
                note = f"running on the built-in clock, where nothing is heard: {error}"
        desk.set_sample_rate(rate)
        info = self._clock_info(note)
        self._describe(info)
        return InternalClockDriver(self._callback, rate, self._frames), info

    # A standby -----------------------------------------------------------------------------

    def _stand_by(self) -> None:
        self._info, running = self._prepare(self._request["standby"] == "warm")
        self._settle()
        raise_priority()  # of this thread: it decides, and may have to do so at once
        say({"standby": "running" if running else "warm"})
        active = self._driver.alive if self._driver is not None else bool
        successor = StandbyMonitor(self._desk, self._lease, self._callback, running, active)
        why = successor.wait()
        if why == "ended":
            return
        flag = FLAG_LOST if why == "device" else FLAG_TAKEN
        lost = why == "device" or not self._go_on()
        if lost and self._request["lost"] == "wait":
            say({"lost": "device"})
            return
        before = int(self._desk.lease["takeovers"])
        if lost:
            clock = self._go_on_with_clock(flag)
            successor.take()
            clock.start()
        else:
            self._callback.first_flag = flag
            successor.take()
            if not running and self._driver is not None:
                self._driver.start()
        self._describe(self._info)
        self._await_sound(before)
        say({"took": asdict(self._info), "why": why, "lost": lost})
        sleep()

    def _go_on_with_clock(self, flag: int) -> InternalClockDriver:
        # The built-in clock makes up for the time lost.
        since = int(self._desk.clock["callback_ns"])
        self._renew_callback()
        self._callback.first_flag = flag
        self._driver = InternalClockDriver(self._callback, self._rate, self._frames, since * 1e-9)
        self._info = self._clock_info()
        return self._driver

    def _renew_callback(self) -> None:
        # A stream that only stalled may call its callback again: one thread renders, no two.
        self._callback.retired = True
        self._callback = Callback(self._desk, self._frames, int(self._request["number"]))

    def _await_sound(self, takeovers: int) -> None:
        # The first block says how much was lost.
        for _ in range(FIRST_BLOCK_LOOKS):
            if int(self._desk.lease["takeovers"]) != takeovers:
                return
            pause(FIRST_BLOCK_PAUSE)

    def _prepare(self, warm: bool) -> tuple[StreamInfo, bool]:
        # Have a silent stream run beside the one that sounds, where the device takes two, unless it
        # is to be `warm` only.
        if self._request["driver"] == "null":
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

    def _go_on(self) -> bool:
        # Whether the device can be played on.
        if self._info is not None and self._info.driver == self._wanted_driver():
            return True
        driver = self._driver
        assert isinstance(driver, PortAudioDriver)
        tries = int(REOPEN_SECONDS / REOPEN_PAUSE)
        for _ in range(tries):
            with contextlib.suppress(DeviceError):
                info = driver.open()
                if info.sample_rate == self._rate:
                    self._info = info
                    return True
            driver.stop()
            pause(REOPEN_PAUSE)
        return False

    def _wanted_driver(self) -> str:
        return "null" if self._request["driver"] == "null" else "pyaudio"

    # One that looks for the device ------------------------------------------------------------

    def _search(self) -> None:
        self._settle()
        while not self._found():
            pause(SEARCH_SECONDS)
        assert self._info is not None
        raise_priority()
        successor = StandbyMonitor(self._desk, self._lease, self._callback, True)
        if successor.alive():
            self._ask_for_turn(successor)
        else:
            self._callback.first_flag = FLAG_LOST
            successor.take()
        self._describe(self._info)
        say({"took": asdict(self._info), "why": "found", "lost": False})
        sleep()

    def _ask_for_turn(self, successor: StandbyMonitor, ahead: int = 0) -> None:
        # The other engine hands over, or it has ended: this one is to render.
        self._lease.ask(ahead)
        waited = 0.0
        while not self._lease.held():
            pause(GLANCE)
            waited += GLANCE
            if waited > HANDOVER_SECONDS or not successor.alive():
                successor.end_other()
                successor.take()

    def _found(self) -> bool:
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

    # One with blocks of another size ------------------------------------------------------------

    def _resize(self) -> None:
        self._info, beside = self._prepare(warm=False)
        self._settle()
        say({"prepared": asdict(self._info) if beside else None})
        await_word()
        raise_priority()
        successor = StandbyMonitor(self._desk, self._lease, self._callback, beside)
        self._callback.first_flag = FLAG_RESIZED
        if beside:
            self._callback.change = Change(self._frames, self._info.latency)
        if successor.alive():
            self._ask_for_turn(successor, self._ahead() if beside else 0)
        else:
            self._callback.first_flag, self._callback.change = FLAG_TAKEN, None
            self._describe(self._info)
            successor.take()
        lost = not beside and not self._reopen(successor)
        if lost and self._request["lost"] == "wait":
            say({"lost": "device"})
            return
        deadline = time.monotonic() + CHANGE_SECONDS
        while not self._callback.renders and time.monotonic() < deadline:
            pause(GLANCE)
        self._describe(self._info)
        say({"took": asdict(self._info), "why": "resized", "lost": lost})
        sleep()

    def _ahead(self) -> int:
        # Frames that the other engine has to play from when it hands over until this one is heard.
        # With blocks that are longer it is to do so shortly before the next one is due here.
        assert self._info is not None
        theirs, own = (
            frames / self._rate for frames in (self._desk.header["block_frames"], self._frames)
        )
        until = 0.5 * own
        if own > theirs:
            until = 0.5 * (theirs + SURELY_SECONDS)
            due = self._callback.called_ns * 1e-9 + own - theirs - SURELY_SECONDS
            pause(max(0.0, due - time.monotonic()))
        more = self._info.latency - float(self._desk.clock["latency"])
        return max(0, round((until + more) * self._rate))

    def _reopen(self, successor: StandbyMonitor) -> bool:
        # The device takes one stream at a time: the other engine has to let go of it first. With
        # a size that it refuses the old one is taken up again; False when it can't be had at all.
        successor.end_other()
        change = Change(self._frames, 0.0, time.monotonic_ns())
        frames = int(self._desk.header["block_frames"])
        found = self._go_on()
        if not found and frames != self._frames:
            self._frames = change.frames = frames
            self._renew_callback()
            self._driver = self._device(self._request["device"])
            found = self._go_on()
        if found:
            assert self._info is not None and self._driver is not None
            change.latency = self._info.latency
            self._callback.first_flag, self._callback.change = FLAG_RESIZED, change
            self._driver.start()
        elif self._request["lost"] != "wait":
            self._go_on_with_clock(FLAG_LOST).start()
        return found

    # ---------------------------------------------------------------------------------------

    def _device(self, device: str | None) -> PortAudioDriver:
        driver = PortAudioDriver(
            self._callback, device, self._rate, self._frames, self._request["cue_channels"]
        )
        # The first engine sets the desk to the device's rate; after that it can't change.
        driver.keep_rate = self._request["role"] != "first"
        return driver

    def _clock_info(self, note: str = "") -> StreamInfo:
        latency = 2 * self._frames / self._rate
        return StreamInfo("null", "built-in clock", self._rate, self._frames, latency, note)

    def _describe(self, info: StreamInfo) -> None:
        self._desk.header["block_frames"] = info.buffer_size
        self._desk.clock["latency"] = info.latency

    def _settle(self) -> None:
        # From here on nothing is to take the interpreter's time.
        kernels()
        gc.collect()
        gc.freeze()
        gc.disable()

    def _stop(self) -> None:
        if self._driver is not None:
            self._driver.stop()


def main(arguments: list[str]) -> int:
    """Run until standard input closes. `arguments`: the request as one JSON text."""
    # A terminal's Ctrl-C goes to the whole group; it is for control to end the engine.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return Engine(json.loads(arguments[0])).run()


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # a sound system that has died must not hold up the end
