"""The clocks: the one that blocks are timed by, and the one of time tags."""

from __future__ import annotations

from crowdstream.doctor.check import OK, WARN, Check, Machine

CLOCKS = "/sys/devices/system/clocksource/clocksource0"
SLOW = frozenset({"hpet", "acpi_pm", "pit", "jiffies", "refined-jiffies"})
"""Reading these takes microseconds, or is not fine enough."""


def clock_source(machine: Machine) -> Check:
    """What the kernel reads the time from."""
    name = "clock source"
    source = machine.read(f"{CLOCKS}/current_clocksource")
    if source is None:
        return Check(name, OK, "the system does not say")
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
    """Whether the system's clock is kept right; time tags of other machines are read by it."""
    name = "NTP"
    said = machine.run(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
    if not said:
        there = machine.path("/run/systemd/timesync/synchronized").exists()
        said = "yes" if there else ""
    data = {"synchronized": {"yes": True, "no": False}.get(said)}
    if said == "yes":
        return Check(name, OK, "the clock is synchronized", data=data)
    if said == "no":
        return Check(name, WARN, "the clock is not synchronized: time tags of other machines "
                     "are off by as much as it is", "sudo timedatectl set-ntp true", data)
    return Check(name, OK, "the system does not say", data=data)
