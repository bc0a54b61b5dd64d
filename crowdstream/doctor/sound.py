"""Sound devices: which exist, which the server would use, and whether this user may open them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from crowdstream.desk.stream_info import DeviceError
from crowdstream.doctor.check import FAIL, OK, WARN, Check, Machine
from crowdstream.settings import Settings

PLUG_IN = "plug one in, or see `aplay -l` and the sound server"


def _list() -> list[dict[str, Any]]:
    from crowdstream.engine.drivers.portaudio import list_devices

    return list_devices()


def devices(settings: Settings, listing: Callable[[], list[dict[str, Any]]] = _list) -> Check:
    """Check the device that the server would play on."""
    from crowdstream.engine.drivers.devices import select_device

    name = "sound device"
    if settings.driver == "null":
        return Check(name, WARN, "--driver null uses the built-in clock: there is no sound",
                     "--driver auto")
    try:
        found = listing()
        used = select_device(found, settings.device)
    except DeviceError as error:
        # Without a device, `auto` runs on the built-in clock, which is not the purpose of a player.
        wanted = settings.driver == "pyaudio" or settings.device is not None
        text = str(error) if wanted else f"{error}: the server runs on its built-in clock"
        return Check(name, FAIL if wanted else WARN, text, PLUG_IN)
    rate = settings.sample_rate
    summary = f"{used['name']} ({used['host']}), one of {len(found)}"
    data = {"used": used, "devices": found}
    if used["sample_rate"] != rate:
        return Check(name, OK, f"{summary}; its own rate is {used['sample_rate']:g} Hz, the "
                     f"requested rate {rate} Hz", data=data)
    return Check(name, OK, f"{summary}, {rate} Hz", data=data)


def access(
    machine: Machine, may: Callable[[os.PathLike[str], int], bool] = os.access
) -> Check | None:
    """Check whether this user may open the sound cards directly; None without a card."""
    cards = machine.glob("/dev/snd/pcm*p")
    if not cards:
        return None
    name = "sound card access"
    closed = [card.name for card in cards if not may(card, os.R_OK | os.W_OK)]
    data = {"cards": [card.name for card in cards], "closed": closed}
    if closed:
        return Check(name, WARN, f"this user may not open {', '.join(closed)}",
                     "sudo usermod -aG audio \"$USER\"; log in again", data)
    return Check(name, OK, f"this user may open {len(cards)} outputs", data=data)
