"""Does the processor run at its speed, and do devices stay awake?"""

from __future__ import annotations

from collections import Counter

from crowdstream.doctor.check import FAIL, OK, WARN, Check, Machine

HOT = 80.0  # degrees Celsius, from which a Raspberry Pi slows down
WARM = 75.0

# The bits of `vcgencmd get_throttled`: now, and 16 higher since the start.
THROTTLED = {
    0: "too low a voltage",
    1: "a capped frequency",
    2: "slowed down",
    3: "too warm",
}
SUPPLY = "use the official power supply and a heat sink or fan"


def governor(machine: Machine) -> Check:
    """How the frequency of the processor is chosen."""
    name = "CPU governor"
    files = machine.glob("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
    found = Counter(file.read_text(encoding="utf-8").strip() for file in files)
    data = {"governors": dict(found)}
    if not found:
        return Check(name, OK, "the system does not change the frequency", data=data)
    if set(found) == {"performance"}:
        return Check(name, OK, "performance", data=data)
    said = ", ".join(f"{kind} on {count}" for kind, count in sorted(found.items()))
    fix = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
    return Check(name, WARN, f"{said} of {found.total()} CPUs: blocks come late while the "
                 "frequency rises", fix, data)


def throttling(machine: Machine) -> Check | None:
    """Whether a Raspberry Pi slows itself down; None on other machines."""
    said = machine.run(["vcgencmd", "get_throttled"])
    try:
        bits = int((said or "").removeprefix("throttled="), 16)
    except ValueError:
        return None
    name = "power supply"
    now = [text for bit, text in THROTTLED.items() if bits >> bit & 1]
    before = [text for bit, text in THROTTLED.items() if bits >> (16 + bit) & 1]
    data = {"throttled": bits}
    if now:
        return Check(name, FAIL, f"right now: {', '.join(now)}", SUPPLY, data)
    if before:
        return Check(name, WARN, f"since the start: {', '.join(before)}", SUPPLY, data)
    return Check(name, OK, "enough, and cool enough", data=data)


def temperature(machine: Machine) -> Check | None:
    """The hottest sensor of the processor; None where there is none."""
    degrees = []
    for file in machine.glob("/sys/class/thermal/thermal_zone*/temp"):
        try:
            degrees.append(int(file.read_text(encoding="ascii")) / 1000)
        except (OSError, ValueError):
            continue
    if not degrees:
        return None
    name, hottest = "temperature", max(degrees)
    data = {"celsius": hottest}
    if hottest >= HOT:
        return Check(name, FAIL, f"{hottest:.0f} °C: it slows itself down", SUPPLY, data)
    if hottest >= WARM:
        return Check(name, WARN, f"{hottest:.0f} °C: little is missing until it slows down",
                     SUPPLY, data)
    return Check(name, OK, f"{hottest:.0f} °C", data=data)


def usb_autosuspend(machine: Machine) -> Check | None:
    """Whether USB sound cards may be put to sleep; None where there is none."""
    asleep, found = [], []
    for kind in machine.glob("/sys/bus/usb/devices/*/bInterfaceClass"):
        if kind.read_text(encoding="ascii").strip() != "01":  # audio
            continue
        # The interface 1-2:1.0 belongs to the device 1-2.
        device = kind.parent.name.split(":")[0]
        if device in found:
            continue
        found.append(device)
        if machine.read(f"/sys/bus/usb/devices/{device}/power/control") == "auto":
            asleep.append(device)
    if not found:
        return None
    data = {"devices": found, "may_sleep": asleep}
    if not asleep:
        return Check("USB autosuspend", OK, "off for the sound card", data=data)
    places = " ".join(f"/sys/bus/usb/devices/{device}/power/control" for device in asleep)
    return Check("USB autosuspend", WARN, "the system may put the sound card to sleep",
                 f"echo on | sudo tee {places}", data)
