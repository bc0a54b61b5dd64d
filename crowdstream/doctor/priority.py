"""May the audio thread go before others, and may memory be held?"""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Callable

from crowdstream.doctor.check import OK, WARN, Check, Machine

PRIORITY = 70  # what the audio thread asks for; see engine/drivers/callback.py
MIN_MEMLOCK = 128 << 20  # the client library of JACK holds 102 MiB

LIMITS = (
    "echo '@audio - rtprio 95' | sudo tee /etc/security/limits.d/audio.conf; "
    "sudo usermod -aG audio \"$USER\"; log in again (the service has it by itself)"
)
MEMORY = (
    "echo '@audio - memlock unlimited' | sudo tee -a /etc/security/limits.d/audio.conf; "
    "log in again (the service has it by itself)"
)


def try_realtime() -> str:
    """Raise a thread's priority as the engine does; "" if it may, else why not."""
    reason = []

    def attempt() -> None:
        try:
            # 0 is the calling thread, which ends with this.
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        except (OSError, AttributeError) as error:
            reason.append(getattr(error, "strerror", None) or str(error))

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return reason[0] if reason else ""


def realtime(machine: Machine, attempt: Callable[[], str] = try_realtime) -> Check:
    """Real-time priority of the audio thread."""
    name = "real-time priority"
    reason = attempt()
    limit = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    data = {"allowed": not reason, "rtprio_limit": limit, "root": os.geteuid() == 0}
    if reason:
        return Check(name, WARN, f"refused ({reason}): late callbacks are likely", LIMITS, data)
    if machine.read("/proc/sys/kernel/sched_rt_runtime_us") == "0":
        fix = "echo 950000 | sudo tee /proc/sys/kernel/sched_rt_runtime_us"
        return Check(name, WARN, "allowed, but the system gives it no time", fix, data)
    root = " (root may always; ask as the user that the server runs as)" if data["root"] else ""
    return Check(name, OK, f"the audio thread may run at {PRIORITY}{root}", data=data)


def memlock(limit: int | None = None) -> Check:
    """Memory that may be held in place; `limit` in bytes, by default this process's."""
    soft = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] if limit is None else limit
    data = {"bytes": soft}
    if soft == resource.RLIM_INFINITY:
        return Check("memlock", OK, "unlimited", data=data)
    megabytes = f"{soft / 2**20:.0f} MB"
    if soft >= MIN_MEMLOCK:
        return Check("memlock", OK, megabytes, data=data)
    return Check("memlock", WARN, f"{megabytes} may be held in memory: JACK wants more",
                 MEMORY, data)
