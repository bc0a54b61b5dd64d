"""Selection of an output device.

ALSA numbers its cards in the order in which they were plugged in, and PortAudio includes the number
in the name: `Scarlett USB: Audio (hw:1,0)`. A card that is plugged in again may have another
number, and another card may have taken its number. Therefore, if no device has the given full name,
the search ignores the card's number.
"""

from __future__ import annotations

import re
from typing import Any

from crowdstream.desk.stream_info import DeviceError

JACK = "JACK Audio Connection Kit"
"""PortAudio's name of the host API; older versions use only its first word."""
_CARD = re.compile(r"\((plug)?hw:[^,()]+(,[^()]*)?\)")
_NO_CARD = re.compile(r"\(hw:\*[^()]*\)")
_PLUGIN = "jack"  # name of the JACK plugin in ALSA's configuration


def full_name(entry: dict[str, Any]) -> str:
    """Return the name and host API of a device, as in `StreamInfo.device`."""
    return f"{entry['name']} ({entry['host']})"


def is_jack(entry: dict[str, Any]) -> bool:
    """Whether a device is JACK itself. It is listed only while a JACK server is running."""
    return str(entry["host"]).startswith("JACK")


def is_jack_plugin(entry: dict[str, Any]) -> bool:
    """Whether a device is ALSA's plugin for JACK, which is listed even without a JACK server."""
    name = str(entry["name"]).lower().split(" ", 1)[0].split(":", 1)[0]
    return entry["host"] == "ALSA" and name in (_PLUGIN, f"plug{_PLUGIN}")


def select_device(outputs: list[dict[str, Any]], wanted: str | None) -> dict[str, Any]:
    """Return the device for a number, a full name or a part of it; None selects the best device.

    Raises `DeviceError` if there is no matching device.
    """
    if not outputs:
        raise DeviceError(
            "no sound device found: plug one in (--driver null runs on the built-in clock)"
        )
    if wanted is None:
        return _best(outputs)
    for entry in outputs:
        if wanted in (str(entry["number"]), full_name(entry)):
            return entry
    for alike in (str.lower, without_card_number):
        found = [one for one in outputs if _matches(alike(wanted), one, alike)]
        if found:
            # Both names contain "jack", which means JACK itself if it is running.
            return next((one for one in found if not is_jack_plugin(one)), found[0])
    names = ", ".join(f"{e['number']} {e['name']!r} ({e['host']})" for e in outputs)
    raise DeviceError(f"no device {wanted!r}: there are {names} (--list-devices shows them)")


def without_card_number(text: str) -> str:
    """Return a name in lower case, without the number of an ALSA card: `audio (hw:*,0)`."""
    return _CARD.sub(lambda found: f"(hw:*{found[2] or ''})", text).lower()


def _matches(wanted: str, entry: dict[str, Any], alike: Any) -> bool:
    if not _NO_CARD.sub("", wanted).strip():
        return False  # nothing but a card number, which may now be another card's
    return wanted in alike(full_name(entry)) or wanted in alike(f"{entry['name']} {entry['host']}")


def _best(outputs: list[dict[str, Any]]) -> dict[str, Any]:
    # ALSA's plugin for JACK waits for a server that may not be running.
    usable = [entry for entry in outputs if not is_jack_plugin(entry)] or outputs
    # A running JACK server means that the user wants it to be used.
    usable = [entry for entry in usable if is_jack(entry)] or usable
    stereo = [entry for entry in usable if entry["channels"] > 1] or usable
    return next((entry for entry in stereo if entry["default"]), stereo[0])
