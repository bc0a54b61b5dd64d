"""The machine's clocks: the one that times blocks, and the one that time tags refer to."""

from __future__ import annotations

from crowdstream.doctor.check import OK, WARN, Check, Machine

CLOCKS = "/sys/devices/system/clocksource/clocksource0"
SLOW = frozenset({"hpet", "acpi_pm", "pit", "jiffies", "refined-jiffies"})
"""Clock sources that take microseconds to read or have a low resolution."""


def clock_source(machine: Machine) -> Check:
    """Check the kernel's clock source."""
    name = "clock source"
    source = machine.read(f"{CLOCKS}/current_clocksource")
    if source is None:
        return Check(name, OK, "the system does not report it")
    there = (machine.read(f"{CLOCKS}/available_clocksource") or "").split()
    data = {"source": source, "available": there}
    if source not in SLOW:
        return Check(name, OK, source, data=data)
    better = [one for one in there if one not in SLOW]
    fix = (
        f"echo {better[0]} | sudo tee {CLOCKS}/current_clocksource" if better
        else "see `dmesg | grep -i clocksource` for why the processor's own is not used"
    )
    return Check(name, WARN, f"{source}: slow to read", fix, data)


def synchronized(machine: Machine) -> Check:
    """Check whether the system clock is synchronized; time tags of other machines depend on it."""
    name = "NTP"
    output = machine.run(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
    if not output:
        there = machine.resolve("/run/systemd/timesync/synchronized").exists()
        output = "yes" if there else ""
    data = {"synchronized": {"yes": True, "no": False}.get(output)}
    if output == "yes":
        return Check(name, OK, "the clock is synchronized", data=data)
    if output == "no":
        return Check(name, WARN, "the clock is not synchronized: time tags from other machines "
                     "are off by its error", "sudo timedatectl set-ntp true", data)
    return Check(name, OK, "the system does not report it", data=data)
