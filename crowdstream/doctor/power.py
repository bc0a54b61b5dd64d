"""Processor speed, temperature and power supply, and power saving of USB devices."""

from __future__ import annotations

from collections import Counter

from crowdstream.doctor.check import FAIL, OK, WARN, Check, Machine

HOT = 80.0  # degrees Celsius at which a Raspberry Pi starts to throttle
WARM = 75.0

# The bits of `vcgencmd get_throttled`: the current state, and 16 bits higher since boot.
THROTTLED = {
    0: "undervoltage",
    1: "frequency capped",
    2: "throttled",
    3: "temperature limit reached",
}
SUPPLY = "use the official power supply and a heat sink or fan"


def governor(machine: Machine) -> Check:
    """Check how the processor frequency is selected."""
    name = "CPU governor"
    files = machine.glob("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
    found = Counter(file.read_text(encoding="utf-8").strip() for file in files)
    data = {"governors": dict(found)}
    if not found:
        return Check(name, OK, "the system does not change the frequency", data=data)
    if set(found) == {"performance"}:
        return Check(name, OK, "performance", data=data)
    summary = ", ".join(f"{kind} on {count}" for kind, count in sorted(found.items()))
    fix = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
    return Check(name, WARN, f"{summary} of {found.total()} CPUs: blocks are late while the "
                 "frequency rises", fix, data)


def throttling(machine: Machine) -> Check | None:
    """Check whether a Raspberry Pi is throttled; None on other machines."""
    output = machine.run(["vcgencmd", "get_throttled"])
    try:
        bits = int((output or "").removeprefix("throttled="), 16)
    except ValueError:
        return None
    name = "power supply"
    now = [text for bit, text in THROTTLED.items() if bits >> bit & 1]
    before = [text for bit, text in THROTTLED.items() if bits >> (16 + bit) & 1]
    data = {"throttled": bits}
    if now:
        return Check(name, FAIL, f"now: {', '.join(now)}", SUPPLY, data)
    if before:
        return Check(name, WARN, f"since boot: {', '.join(before)}", SUPPLY, data)
    return Check(name, OK, "sufficient, and cool enough", data=data)


def temperature(machine: Machine) -> Check | None:
    """Check the hottest sensor of the processor; None without a sensor."""
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
        return Check(name, FAIL, f"{hottest:.0f} °C: the processor throttles itself", SUPPLY, data)
    if hottest >= WARM:
        return Check(name, WARN, f"{hottest:.0f} °C: the processor will soon throttle itself",
                     SUPPLY, data)
    return Check(name, OK, f"{hottest:.0f} °C", data=data)


def usb_autosuspend(machine: Machine) -> Check | None:
    """Check whether the system may suspend USB sound cards; None without one."""
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
    return Check("USB autosuspend", WARN, "the system may suspend the sound card",
                 f"echo on | sudo tee {places}", data)
