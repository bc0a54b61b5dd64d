"""Real-time priority of the audio thread, and the limit on locked memory."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Callable

from crowdstream.doctor.check import OK, WARN, Check, Machine

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
