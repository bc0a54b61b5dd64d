"""The engine process: opens the device, then sleeps while its callback plays the desk.

Started by control with the desk's descriptor. Its standard input is a lifeline: when it
closes, control is gone or wants the engine to end. It answers with one JSON line on
standard output, `{"ready": {...}}` or `{"error": "..."}`.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from dataclasses import asdict
from typing import Any

from crowdstream.desk.block import Desk
from crowdstream.desk.stream import DeviceError, StreamInfo
from crowdstream.engine.callback import Callback
from crowdstream.engine.drivers import Driver
from crowdstream.engine.drivers.null import NullDriver
from crowdstream.engine.drivers.portaudio import PortAudioDriver


def _open(desk: Desk, request: dict[str, Any]) -> tuple[Driver, StreamInfo]:
    rate, frames = float(request["sample_rate"]), int(request["buffer_size"])
    callback = Callback(desk, frames)
    callback.warm_up()
    note = ""
    if request["driver"] != "null":
        driver = PortAudioDriver(
            callback, request["device"], rate, frames, request["cue_channels"]
        )
        try:
            info = driver.open()
            desk.set_sample_rate(info.sample_rate)
            desk.header["block_frames"] = frames
            desk.clock["latency"] = info.latency
            return driver, info
        except DeviceError as error:
            driver.stop()
            if request["driver"] == "pyaudio" or request["device"] is not None:
                raise
            note = f"running on the built-in clock, where nothing is heard: {error}"
    desk.set_sample_rate(rate)
    desk.header["block_frames"] = frames
    clock = NullDriver(callback, rate, frames)
    latency = 2 * frames / rate
    desk.clock["latency"] = latency
    return clock, StreamInfo("null", "built-in clock", rate, frames, latency, note)


def _answer(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Run until standard input closes. `arguments`: the request as one JSON text."""
    request = json.loads(arguments[0])
    # A terminal's Ctrl-C goes to the whole group; it is for control to end the engine.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    desk = Desk(int(request["fd"]))
    try:
        driver, info = _open(desk, request)
    except DeviceError as error:
        _answer({"error": str(error)})
        return 1
    gc.collect()
    gc.freeze()
    gc.disable()
    driver.start()
    _answer({"ready": asdict(info)})
    while os.read(0, 4096):
        pass
    driver.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
