"""Notifications to systemd, on a socket like systemd's own."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crowdstream.control.systemd import STATUS_SECONDS, Notifier
from tests.support.service_manager import Manager


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.close()


def test_ready_then_watchdog_at_half_the_interval_while_frames_advance(
    manager: Manager, tmp_path: Path
) -> None:
    now = 0.0
    notifier = Notifier(str(tmp_path / "notify"), 10.0, lambda: now)
    notifier.tick(100, lambda: "early")
    assert manager.heard() == []
    notifier.ready(100, "fine")
    assert manager.heard() == ["READY=1\nSTATUS=fine"]
    frame = 100
    sent = []
    for _ in range(2020):  # a little more than twenty seconds
        notifier.tick(frame, lambda: "fine")
        sent += [(round(now, 2), text) for text in manager.heard()]
        now += 0.01
        frame += 441
    assert [text for _, text in sent] == ["WATCHDOG=1"] * 5
    assert [moment for moment, _ in sent] == pytest.approx([0, 5, 10, 15, 20], abs=0.06)
    for _ in range(2000):  # the frames do not advance
        notifier.tick(frame, lambda: "fine")
        now += 0.01
    # Frames that advanced before count for at most one notification.
    assert manager.heard() in ([], ["WATCHDOG=1"])
    now += 10
    notifier.tick(frame, lambda: "fine")
    assert manager.heard() == []
    notifier.tick(frame + 1, lambda: "it plays again")
    assert manager.heard() == ["WATCHDOG=1\nSTATUS=it plays again"]


def test_a_control_process_that_takes_over_does_not_exceed_the_timeout(
    manager: Manager, tmp_path: Path
) -> None:
    """Its predecessor died just before its next keep-alive, half of the time-out ago."""
    now, frame = 4.9, 1000
    notifier = Notifier(str(tmp_path / "notify"), 10.0, lambda: now)
    notifier.ready(frame, "fine")
    notifier.tick(frame, lambda: "fine")
    assert manager.heard() == ["READY=1\nSTATUS=fine"], "not yet known whether it plays"
    now += 0.01
    notifier.tick(frame + 256, lambda: "fine")
    assert manager.heard() == ["WATCHDOG=1"]


def test_a_server_that_waits_for_its_device_is_not_restarted(
    manager: Manager, tmp_path: Path
) -> None:
    """With `--device-lost wait`, no frame is rendered until it is back, and the tracks stay."""
    now = 0.0
    notifier = Notifier(str(tmp_path / "notify"), 10.0, lambda: now)
    notifier.ready(100, "fine")
    manager.heard()
    for waits in (True, True, False):
        now += 6.0
        notifier.tick(100, lambda: "fine", waits)
        assert manager.heard() == (["WATCHDOG=1"] if waits else [])


def test_without_a_watchdog_only_changes_are_sent(manager: Manager, tmp_path: Path) -> None:
    now = 0.0
    notifier = Notifier(str(tmp_path / "notify"), 0.0, lambda: now)
    notifier.ready(0, "a")
    for frame, status in enumerate("abbcc", 1):
        now += STATUS_SECONDS + 0.1
        notifier.tick(frame, lambda sent=status: sent)  # type: ignore[misc]
    notifier.stopping()
    now += 100
    notifier.tick(99, lambda: "late")
    assert manager.heard() == ["READY=1\nSTATUS=a", "STATUS=b", "STATUS=c", "STOPPING=1"]


def test_a_reload_is_framed_and_does_not_delay_the_watchdog(
    manager: Manager, tmp_path: Path
) -> None:
    now = 0.0
    notifier = Notifier(str(tmp_path / "notify"), 10.0, lambda: now)
    notifier.ready(0, "fine")
    manager.heard()
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    sent = []
    for second in range(1, 12):  # a reload each second, over more than the time-out
        now = float(second)
        notifier.reloading()
        notifier.reloaded("wrong: bpm")
        notifier.tick(441 * second, lambda: "fine")
        sent += manager.heard()
    begin, end, *rest = sent
    state, _, stamp = begin.partition("\nMONOTONIC_USEC=")
    assert state == "RELOADING=1"
    assert before <= int(stamp) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert end == "READY=1\nSTATUS=wrong: bpm"
    kept = [one for one in rest if "WATCHDOG" in one]
    assert kept == ["WATCHDOG=1\nSTATUS=fine"] * 3, "the status is back with the keep-alive"


def test_a_long_start_extends_the_timeout(manager: Manager, tmp_path: Path) -> None:
    notifier = Notifier(str(tmp_path / "notify"))
    notifier.starting("compiling: 3 of 9", 180.0)
    assert manager.heard() == ["EXTEND_TIMEOUT_USEC=180000000\nSTATUS=compiling: 3 of 9"]


def test_an_abstract_socket_address_is_supported() -> None:
    name = f"crowdstream-test-{os.getpid()}"
    manager = Manager(f"\0{name}")
    Notifier.of_environment({"NOTIFY_SOCKET": f"@{name}", "WATCHDOG_USEC": "1000"}).ready(0, "x")
    assert manager.heard() == ["READY=1\nSTATUS=x"]
    manager.close()


@pytest.mark.parametrize("address", ["", "relative", "/no/such/socket", "vsock:2:1", "@nobody"])
def test_a_socket_without_a_listener_is_ignored(address: str) -> None:
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "no number"}
    notifier = Notifier.of_environment(environ)
    notifier.ready(0, "x")
    notifier.tick(1, lambda: "y")
    notifier.stopping()


def test_a_manager_that_does_not_read_does_not_block(manager: Manager, tmp_path: Path) -> None:
    notifier = Notifier(str(tmp_path / "notify"), 1.0)
    for _ in range(5000):
        notifier.ready(0, "x" * 100)
    assert 0 < len(manager.heard()) < 5000
