"""What an installation is, reported by itself: run as `python -P -m crowdstream.upgrade.probe`.

It prints one line of JSON. All modules that the server's processes begin with are imported, so an
installation that can't start is refused while the previous one plays.
"""

from __future__ import annotations

import importlib
import json
import platform
import sys
from typing import Any

import crowdstream
from crowdstream.desk.layout import fingerprint
from crowdstream.engine.precompiled import load_made
from crowdstream.supervisor.upgrade import PROTOCOL
from crowdstream.system.installation import Installation

MODULES = (
    "crowdstream.control.main", "crowdstream.control.server",
    "crowdstream.control.processes.fork_server", "crowdstream.engine.main",
    "crowdstream.loader.main", "crowdstream.recorder.main", "crowdstream.web.main",
    "crowdstream.dj.autopilot.cli",
)  # fmt: skip


def describe() -> dict[str, Any]:
    """Describe this installation: version, root, machine, layout, protocol, kernels, faults."""
    faults = []
    kernels = load_made() is not None  # before numba may be imported
    for name in MODULES:
        try:
            importlib.import_module(name)
        except BaseException as error:  # whatever a broken module raises
            faults.append(f"{name}: {type(error).__name__}: {error}")
    return {
        "version": crowdstream.__version__, "root": Installation.own().root,
        "machine": platform.machine(), "python": sys.version.split()[0], "layout": fingerprint(),
        "protocol": PROTOCOL, "kernels": kernels, "faults": faults,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(describe()))
