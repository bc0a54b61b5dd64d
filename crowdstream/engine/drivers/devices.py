"""The output devices that there are, and which one is meant.

ALSA numbers its cards in the order in which they were plugged in, and PortAudio writes the number
into the name: `Scarlett USB: Audio (hw:1,0)`. A card that is plugged in again may have another one,
and another card may have taken its place. So a full name that is not there any more is looked for
without the card's number.
"""

from __future__ import annotations

import re
from typing import Any

from crowdstream.desk.stream_info import DeviceError

JACK = "JACK Audio Connection Kit"
"""PortAudio's name of the host API; older versions have only its first word."""
_CARD = re.compile(r"\((plug)?hw:[^,()]+(,[^()]*)?\)")
_NO_CARD = re.compile(r"\(hw:\*[^()]*\)")
_PLUGIN = "jack"  # what ALSA's configuration calls its plugin for JACK


def full_name(entry: dict[str, Any]) -> str:
    """Name and host API of a device: what `StreamInfo.device` holds."""
    return f"{entry['name']} ({entry['host']})"


def is_jack(entry: dict[str, Any]) -> bool:
    """Whether a device is JACK itself. There is one only where a JACK server runs."""
    return str(entry["host"]).startswith("JACK")


def is_jack_plugin(entry: dict[str, Any]) -> bool:
    """Whether a device is ALSA's plugin for JACK, which is listed even if no JACK server runs."""
    name = str(entry["name"]).lower().split(" ", 1)[0].split(":", 1)[0]
    return entry["host"] == "ALSA" and name in (_PLUGIN, f"plug{_PLUGIN}")


def choose(outputs: list[dict[str, Any]], wanted: str | None) -> dict[str, Any]:
    """The device that is meant: a number, a full name, or a part of it; None: the best there is.

    Raises `DeviceError`.
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
            # "jack" is part of both names, and means JACK where that runs.
            return next((one for one in found if not is_jack_plugin(one)), found[0])
    names = ", ".join(f"{e['number']} {e['name']!r} ({e['host']})" for e in outputs)
    raise DeviceError(f"no device {wanted!r}: there are {names} (--list-devices shows them)")


def without_card_number(text: str) -> str:
    """A name in lower case, without the number of an ALSA card: `audio (hw:*,0)`."""
    return _CARD.sub(lambda found: f"(hw:*{found[2] or ''})", text).lower()


def _matches(wanted: str, entry: dict[str, Any], alike: Any) -> bool:
    if not _NO_CARD.sub("", wanted).strip():
        return False  # nothing but a number, which names no card any more
    return wanted in alike(full_name(entry)) or wanted in alike(f"{entry['name']} {entry['host']}")


def _best(outputs: list[dict[str, Any]]) -> dict[str, Any]:
    # ALSA's plugin for JACK waits for a server that need not run.
    usable = [entry for entry in outputs if not is_jack_plugin(entry)] or outputs
    # A JACK server runs only where somebody wants it used.
    usable = [entry for entry in usable if is_jack(entry)] or usable
    stereo = [entry for entry in usable if entry["channels"] > 1] or usable
    return next((entry for entry in stereo if entry["default"]), stereo[0])
