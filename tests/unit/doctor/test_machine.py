"""Checks of processor, memory, clocks and priorities, on good and bad machines."""

from __future__ import annotations

import os
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from crowdstream.control import opening_hours
from crowdstream.doctor import memory, scheduling
from crowdstream.doctor.check import Check
from crowdstream.settings import Settings, validate
from tests.support.doctor_machine import machine
from tests.support.held_resources import nothing_left_behind

GOVERNOR = "/sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor"
SETTINGS = validate(cache_mb=1000)


class Space(NamedTuple):
    f_blocks: int
    f_frsize: int = 1


# Processor ---------------------------------------------------------------------------------


def test_governor(tmp_path: Path) -> None:
    assert scheduling.governor(machine(tmp_path / "none")).state == "ok"
    fast = {GOVERNOR.format(n): "performance\n" for n in range(4)}
    assert scheduling.governor(machine(tmp_path / "fast", fast)).state == "ok"
    check = scheduling.governor(
        machine(tmp_path / "mixed", {**fast, GOVERNOR.format(2): "ondemand\n"})
    )
    assert check.state == "warn" and check.text.startswith("ondemand on CPU 2 (of 4)")
    assert check.data["cores"] == {0: "performance", 1: "performance", 2: "ondemand",
                                   3: "performance"}
    assert check.data["governors"] == {"performance": 3, "ondemand": 1}
    assert "echo performance | sudo tee" in check.fix
    assert "at each boot: sudo ./start-crowdstream.sh --install-service" in check.fix
    unit = {"/etc/systemd/system/crowdstream-governor.service": "[Unit]\n"}
    slow = {GOVERNOR.format(n): "powersave\n" for n in range(2)}
    check = scheduling.governor(machine(tmp_path / "unit", {**slow, **unit}))
    assert check.text.startswith("powersave on CPU 0, 1") and "at each boot" not in check.fix


@pytest.mark.parametrize(
    ("said", "state", "word"),
    [
        ("throttled=0x0", "ok", "enough"),
        ("throttled=0x50000", "warn", "undervoltage"),
        ("throttled=0x50005", "fail", "now: undervoltage, throttled"),
        ("throttled=0x8", "fail", "temperature limit"),
    ],
)
def test_throttling(tmp_path: Path, said: str, state: str, word: str) -> None:
    check = scheduling.throttling(machine(tmp_path, vcgencmd=said))
    assert check is not None
    assert check.state == state and word in check.text
    assert bool(check.fix) == (state != "ok")


def test_throttling_is_checked_only_on_a_raspberry_pi(tmp_path: Path) -> None:
    assert scheduling.throttling(machine(tmp_path)) is None
    assert scheduling.throttling(machine(tmp_path, vcgencmd="VCHI initialization failed")) is None


@pytest.mark.parametrize(("celsius", "state"), [(50, "ok"), (77, "warn"), (83, "fail")])
def test_temperature(tmp_path: Path, celsius: int, state: str) -> None:
    zone = "/sys/class/thermal/thermal_zone{}/temp"
    files = {zone.format(0): "20000\n", zone.format(1): f"{celsius}000\n", zone.format(2): "?"}
    check = scheduling.temperature(machine(tmp_path, files))
    assert check is not None
    assert check.state == state and f"{celsius} °C" in check.text
    assert scheduling.temperature(machine(tmp_path / "none")) is None


def test_usb_autosuspend(tmp_path: Path) -> None:
    place = "/sys/bus/usb/devices/"
    stick = {f"{place}2-1:1.0/bInterfaceClass": "08\n", f"{place}2-1/power/control": "auto\n"}
    assert scheduling.usb_autosuspend(machine(tmp_path / "stick", stick)) is None
    card = {
        **stick, f"{place}1-2:1.0/bInterfaceClass": "01\n",
        f"{place}1-2:1.1/bInterfaceClass": "01\n", f"{place}1-2/power/control": "on\n",
    }  # fmt: skip
    check = scheduling.usb_autosuspend(machine(tmp_path / "awake", card))
    assert check is not None and check.state == "ok" and check.data["devices"] == ["1-2"]
    card[f"{place}1-2/power/control"] = "auto\n"
    check = scheduling.usb_autosuspend(machine(tmp_path / "asleep", card))
    assert check is not None and check.state == "warn"
    assert check.fix == f"echo on | sudo tee {place}1-2/power/control"


# Priorities --------------------------------------------------------------------------------


def test_realtime(tmp_path: Path) -> None:
    free = machine(tmp_path / "free", {"/proc/sys/kernel/sched_rt_runtime_us": "950000\n"})
    assert scheduling.realtime(free, lambda: "").state == "ok"
    refused = scheduling.realtime(free, lambda: "Operation not permitted")
    assert refused.state == "warn" and "Operation not permitted" in refused.text
    assert "rtprio 95" in refused.fix and not refused.data["allowed"]
    starved = machine(tmp_path / "starved", {"/proc/sys/kernel/sched_rt_runtime_us": "0\n"})
    assert scheduling.realtime(starved, lambda: "").state == "warn"


def test_trying_real_time_priority_does_not_change_this_thread() -> None:
    before = os.sched_getscheduler(0)
    assert isinstance(scheduling.try_realtime(), str)
    assert os.sched_getscheduler(0) == before


@pytest.mark.parametrize(
    ("limit", "state"), [(resource.RLIM_INFINITY, "ok"), (1 << 30, "ok"), (8 << 20, "warn")]
)
def test_memlock(limit: int, state: str) -> None:
    check = scheduling.memlock(limit)
    assert check.state == state and bool(check.fix) == (state == "warn")
    assert scheduling.memlock().data["bytes"] == resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]


# Memory ------------------------------------------------------------------------------------


def test_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = machine(tmp_path)
    (tmp_path / "dev/shm").mkdir(parents=True)
    asked: list[int] = []

    def grant(size: int) -> str:
        asked.append(size)
        return ""

    monkeypatch.setattr(os, "statvfs", lambda _path: Space(1 << 30))
    assert memory.shared_memory(here, SETTINGS, grant).state == "ok"
    assert asked == [1000 << 20]
    refused = memory.shared_memory(here, SETTINGS, lambda _size: "Cannot allocate memory")
    assert refused.state == "fail" and "Cannot allocate memory" in refused.text
    monkeypatch.setattr(os, "statvfs", lambda _path: Space(1 << 20))
    small = memory.shared_memory(here, SETTINGS, grant)
    assert small.state == "warn" and "/dev/shm has 1 MB" in small.text
    limited = machine(tmp_path, {"/sys/fs/cgroup/memory.max": f"{1200 << 20}\n"})
    check = memory.shared_memory(limited, SETTINGS, grant)
    assert check.state == "fail" and check.data["limit_mb"] == 1200
    monkeypatch.setattr(os, "statvfs", lambda _path: Space(1 << 30))
    little = machine(tmp_path / "little", {"/proc/meminfo": f"MemTotal: {1100 * 1024} kB"})
    check = memory.shared_memory(little, SETTINGS, grant)
    assert check.state == "fail" and "this machine has 1100 MB" in check.text
    unlimited = machine(tmp_path, {"/sys/fs/cgroup/memory.max": "max\n"})
    assert memory.shared_memory(unlimited, SETTINGS, grant).state == "ok"


def test_an_impossible_allocation_fails_without_a_leak() -> None:
    with nothing_left_behind():
        assert memory.try_shared(1 << 20) == ""
        assert memory.try_shared(1 << 63)


@pytest.mark.parametrize(("free", "state"), [(2000, "ok"), (1200, "warn")])
def test_free_memory(tmp_path: Path, free: int, state: str) -> None:
    text = f"MemTotal:        4000000 kB\nMemAvailable:    {free * 1024} kB\n"
    check = memory.free_memory(machine(tmp_path, {"/proc/meminfo": text}), SETTINGS)
    assert check is not None
    assert check.state == state and check.data == {"available_mb": free, "wanted_mb": 1300}
    assert ("--cache-mb to 900" in check.fix) == (state == "warn")
    assert state == "warn" or check.text == "2000 MB, up to 1300 MB may be used"
    assert memory.free_memory(machine(tmp_path / "none"), SETTINGS) is None


HEAD = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


@pytest.mark.parametrize(
    ("text", "state", "word"),
    [
        (HEAD, "ok", "none"),
        (HEAD + "/dev/zram0   partition 1 0 100\n", "ok", "zram"),
        (HEAD + "/var/swap    file 1 0 -2\n", "warn", "dphys-swapfile"),
        (HEAD + "/dev/zram0   partition 1 0 100\n/dev/sda2 partition 1 0 -2\n", "warn",
         "swapoff /dev/sda2,"),
    ],
)  # fmt: skip
def test_swap(tmp_path: Path, text: str, state: str, word: str) -> None:
    check = memory.swap(machine(tmp_path, {"/proc/swaps": text}))
    assert check.state == state
    assert word in (check.fix or check.text)


# Clocks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "there", "state", "fix"),
    [
        ("tsc", "tsc hpet acpi_pm", "ok", ""),
        ("arch_sys_counter", "arch_sys_counter", "ok", ""),
        ("hpet", "tsc hpet acpi_pm", "warn", "echo tsc | sudo tee"),
        ("acpi_pm", "acpi_pm", "warn", "dmesg"),
    ],
)
def test_clock_source(tmp_path: Path, now: str, there: str, state: str, fix: str) -> None:
    place = scheduling.CLOCKS
    files = {f"{place}/current_clocksource": now, f"{place}/available_clocksource": there}
    check = scheduling.clock_source(machine(tmp_path, files))
    assert check.state == state and fix in check.fix and check.data["source"] == now
    assert scheduling.clock_source(machine(tmp_path / "none")).state == "ok"


def test_synchronized(tmp_path: Path) -> None:
    assert (
        scheduling.synchronized(machine(tmp_path, timedatectl="yes")).data["synchronized"] is True
    )
    off = scheduling.synchronized(machine(tmp_path, timedatectl="no"))
    assert off.state == "warn" and "set-ntp true" in off.fix
    for kernel, state in ((None, "ok"), (True, "ok"), (False, "warn")):
        check = scheduling.synchronized(machine(tmp_path), iter([kernel]).__next__)
        assert (check.state, check.data["synchronized"]) == (state, kernel)
    assert scheduling.kernel_synchronized() in (True, False, None)
    told = machine(tmp_path / "told", {"/run/systemd/timesync/synchronized": ""})
    assert scheduling.synchronized(told).data["synchronized"] is True


NOW = 1_790_000_000.0  # in 2026
RTC = "/sys/class/rtc/rtc0/since_epoch"
SCHEDULED = replace(SETTINGS, schedule=Path("/s.toml"))


def clock_of(
    root: Path, settings: Settings, rtc: float | None = NOW, jump: float = 0.0,
    wall: float = NOW, local: str = "no", suspended: float = 0.0,
) -> Check:
    """Check the clock of a machine that booted 1000 s ago, and was set by `jump` s since then."""
    begin = wall - 1000.0 - jump
    times = f"t {round(begin * 1e6)}\nt 5000000"  # the manager started 5 s after the kernel
    files = {} if rtc is None else {RTC: f"{rtc:.0f}\n"}
    found = machine(root, files, timedatectl=local, busctl=times)
    awake = 1005.0 - suspended
    return scheduling.clock(found, settings, scheduling.Clocks(wall, awake, awake + suspended))


def test_a_clock_with_a_battery_keeps_the_time(tmp_path: Path) -> None:
    for settings in (SETTINGS, SCHEDULED):
        check = clock_of(tmp_path, settings, NOW + 5, jump=2.0)
        assert (check.state, check.fix) == ("ok", "")
        assert check.data["jump_seconds"] == pytest.approx(2.0)
    slept = clock_of(tmp_path, SCHEDULED, suspended=600.0)
    assert slept.state == "ok" and slept.data["jump_seconds"] == pytest.approx(0.0)
    # A clock that runs on local time differs by whole hours.
    assert clock_of(tmp_path, SCHEDULED, NOW + 7200, local="yes").state == "ok"


@pytest.mark.parametrize(
    ("values", "text", "fix"),
    [
        ({"rtc": None}, "no battery-backed clock", "add a clock with a battery"),
        ({"jump": 56 * 365.25 * 86400.0, "rtc": None}, "it was 56 years behind at boot", "battery"),
        ({"jump": -7300.0}, "it was 2 h ahead at boot", "hwclock --systohc"),
        ({"rtc": NOW - 90000}, "the battery-backed clock is off by 25 h", "hwclock --systohc"),
    ],
)
def test_opening_hours_need_a_clock_that_survives_a_power_failure(
    tmp_path: Path, values: dict[str, Any], text: str, fix: str
) -> None:
    check = clock_of(tmp_path, SCHEDULED, **values)
    assert check.state == "warn" and text in check.text and fix in check.fix
    # Without opening hours, the time of day matters little.
    check = clock_of(tmp_path, SETTINGS, **values)
    assert check.state == "ok" and text in check.text


def test_a_clock_that_is_not_set_is_a_fault_with_opening_hours(tmp_path: Path) -> None:
    assert clock_of(tmp_path, SCHEDULED, wall=1000.0, rtc=None).state == "fail"
    check = clock_of(tmp_path, SETTINGS, wall=1000.0, rtc=None)
    assert check.state == "warn" and "the time is not set" in check.text
    assert scheduling.CREDIBLE == opening_hours.CREDIBLE


def test_a_system_without_systemd_has_no_record_of_jumps(tmp_path: Path) -> None:
    found = scheduling.clock(machine(tmp_path, {RTC: f"{NOW:.0f}"}), SCHEDULED,
                             scheduling.Clocks(NOW, 10.0, 10.0))
    assert found.state == "ok" and found.data["jump_seconds"] is None
