"""The machine's clocks: the one that times blocks, and the one that time tags refer to.

Processor speed, temperature and power supply, and power saving of USB devices.

Real-time priority of the audio thread, and the limit on locked memory.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from crowdstream.doctor.check import FAIL, OK, WARN, Check, Machine
from crowdstream.settings import Settings

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


STA_UNSYNC = 0x40  # bit of the kernel's clock status, see adjtimex(2)
_TIMEX_BYTES, _STATUS_BYTES = 256, slice(40, 44)  # of struct timex with 64-bit words


def kernel_synchronized() -> bool | None:
    """Whether the kernel considers its clock synchronized; None if it does not say."""
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)  # zeros: change nothing
    try:
        state = ctypes.CDLL(None).adjtimex(timex)
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    return not int.from_bytes(timex.raw[_STATUS_BYTES], sys.byteorder) & STA_UNSYNC


def synchronized(
    machine: Machine, kernel: Callable[[], bool | None] = kernel_synchronized
) -> Check:
    """Check whether the system clock is synchronized; time tags of other machines depend on it."""
    name = "NTP"
    output = machine.run(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
    if not output:
        there = machine.resolve("/run/systemd/timesync/synchronized").exists()
        output = "yes" if there else {True: "yes", False: "no", None: ""}[kernel()]
    data = {"synchronized": {"yes": True, "no": False}.get(output)}
    if output == "yes":
        return Check(name, OK, "the clock is synchronized", data=data)
    if output == "no":
        return Check(name, WARN, "the clock is not synchronized: time tags from other machines "
                     "are off by its error", "sudo timedatectl set-ntp true", data)
    return Check(name, OK, "the system does not report it", data=data)


CREDIBLE = 1_767_225_600.0  # Unix time, the beginning of 2026, as in control/opening_hours.py
JUMP_SECONDS = 60.0  # since boot; less is the error of a clock chip
RTC_SECONDS = 60.0  # difference between the two clocks


@dataclass(frozen=True)
class Clocks:
    """The present times: `wall` in Unix seconds, `awake` in seconds since boot without suspension,
    `since_boot` with it."""

    wall: float
    awake: float
    since_boot: float

    @classmethod
    def now(cls) -> Clocks:
        """Read the clocks."""
        return cls(time.time(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME))


def clock(machine: Machine, settings: Settings, now: Clocks | None = None) -> Check:
    """Check the time of day, on which opening hours depend, also after a power failure."""
    now = now or Clocks.now()
    name = "clock"
    rtc = machine.read("/sys/class/rtc/rtc0/since_epoch")
    local = machine.run(["timedatectl", "show", "--property=LocalRTC", "--value"]) == "yes"
    jump = _jump_since_boot(machine, now)
    data = {"rtc": rtc is not None, "jump_seconds": jump, "schedule": str(settings.schedule or "")}
    if now.wall < CREDIBLE:
        return Check(
            name, FAIL if settings.schedule else WARN,
            "the time is not set: opening hours wait, and the music plays at the lowest loudness "
            "limits", "connect the network, or: sudo timedatectl set-time 'YYYY-MM-DD hh:mm'", data,
        )
    found = []
    if jump is not None and abs(jump) >= JUMP_SECONDS:
        found.append(f"it was {_span(abs(jump))} {'behind' if jump > 0 else 'ahead'} at boot")
    if rtc is None:
        found.append("there is no battery-backed clock")
    elif not local and abs(float(rtc) - now.wall) > RTC_SECONDS:
        found.append(f"the battery-backed clock is off by {_span(abs(float(rtc) - now.wall))}")
    if not found:
        return Check(name, OK, "it keeps the time without power", data=data)
    text = "; ".join(found)
    if settings.schedule is None:
        return Check(name, OK, text, data=data)
    return Check(
        name, WARN, f"{text}: after a power failure, opening hours wait for the network's time",
        "keep the network's time reachable, or add a clock with a battery; sudo hwclock --systohc "
        "sets it" if rtc is None else "sudo hwclock --systohc, or replace its battery", data,
    )


def _jump_since_boot(machine: Machine, now: Clocks) -> float | None:
    # By how much the clock was set since the service manager started, which noted both clocks.
    manager = "org.freedesktop.systemd1"
    get = ["busctl", "get-property", manager, "/org/freedesktop/systemd1", f"{manager}.Manager"]
    output = machine.run([*get, "UserspaceTimestamp", "UserspaceTimestampMonotonic"])
    numbers = re.findall(r"^t (\d+)$", output or "", re.MULTILINE)
    if len(numbers) != 2 or not int(numbers[0]):
        return None
    wall, awake = (int(number) / 1e6 for number in numbers)
    suspended = now.since_boot - now.awake
    return now.wall - (wall + now.awake - awake + suspended)


def _span(seconds: float) -> str:
    for size, unit in ((86400 * 365.25, "years"), (86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (seconds >= size and unit in ("h", "min")):
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


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
    by_core = {
        int(file.parts[-3].removeprefix("cpu")): file.read_text(encoding="utf-8").strip()
        for file in files
    }
    found = Counter(by_core.values())
    data = {"governors": dict(found), "cores": dict(sorted(by_core.items()))}
    if not found:
        return Check(name, OK, "the system does not change the frequency", data=data)
    if set(found) == {"performance"}:
        return Check(name, OK, "performance", data=data)
    slow = {kind for kind in found if kind != "performance"}
    summary = ", ".join(
        f"{kind} on CPU {', '.join(str(core) for core in sorted(by_core) if by_core[core] == kind)}"
        for kind in sorted(slow)
    )
    fix = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
    if machine.read("/etc/systemd/system/crowdstream-governor.service") is None:
        fix += "; at each boot: sudo ./start-crowdstream.sh --install-service"
    return Check(name, WARN, f"{summary} (of {found.total()}): blocks are late while the "
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


PRIORITY = 70  # priority that the audio thread requests; see engine/drivers/callback.py
MIN_MEMLOCK = 128 << 20  # JACK's client library locks 102 MiB

LIMITS = (
    "echo '@audio - rtprio 95' | sudo tee /etc/security/limits.d/audio.conf; "
    "sudo usermod -aG audio \"$USER\"; log in again (the service does not need this)"
)
MEMORY = (
    "echo '@audio - memlock unlimited' | sudo tee -a /etc/security/limits.d/audio.conf; "
    "log in again (the service does not need this)"
)


def try_realtime() -> str:
    """Raise a thread's priority like the engine does; return "" or the reason for the refusal."""
    reason = []

    def attempt() -> None:
        try:
            # 0 is the calling thread, which ends with this function.
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        except (OSError, AttributeError) as error:
            reason.append(getattr(error, "strerror", None) or str(error))

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return reason[0] if reason else ""


def realtime(machine: Machine, attempt: Callable[[], str] = try_realtime) -> Check:
    """Check real-time priority for the audio thread."""
    name = "real-time priority"
    reason = attempt()
    limit = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    data = {"allowed": not reason, "rtprio_limit": limit, "root": os.geteuid() == 0}
    if reason:
        return Check(name, WARN, f"refused ({reason}): late callbacks are likely", LIMITS, data)
    if machine.read("/proc/sys/kernel/sched_rt_runtime_us") == "0":
        fix = "echo 950000 | sudo tee /proc/sys/kernel/sched_rt_runtime_us"
        return Check(name, WARN, "allowed, but the system assigns it no CPU time", fix, data)
    root = " (always for root; check as the user that runs the server)" if data["root"] else ""
    return Check(name, OK, f"the audio thread may run at priority {PRIORITY}{root}", data=data)


def memlock(limit: int | None = None) -> Check:
    """Check the memory that may be locked; `limit` in bytes, by default this process's limit."""
    soft = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] if limit is None else limit
    data = {"bytes": soft}
    if soft == resource.RLIM_INFINITY:
        return Check("memlock", OK, "unlimited", data=data)
    megabytes = f"{soft / 2**20:.0f} MB"
    if soft >= MIN_MEMLOCK:
        return Check("memlock", OK, megabytes, data=data)
    return Check("memlock", WARN, f"only {megabytes} may be locked; JACK needs more",
                 MEMORY, data)
