"""Find OS2L programs in the network by mDNS; needs the optional package `zeroconf`."""

from __future__ import annotations

import contextlib
import importlib
import threading
import time
from typing import Any

from crowdstream.system.text import install_command

SERVICE = "_os2l._tcp.local."
SEARCH_SECONDS = 5.0
ANSWER_MS = 1000


def find_os2l(
    interface: str, cancelled: threading.Event, seconds: float = SEARCH_SECONDS
) -> tuple[str, int] | None:
    """Return address and port of the first OS2L program by name; None if there is none.

    `interface`: address of the interface to search on; empty for all. Waits up to `seconds`. Raises
    `OSError` if `zeroconf` is missing or cannot search.
    """
    try:
        zeroconf = importlib.import_module("zeroconf")
    except ImportError:
        raise OSError(
            0, f"a search needs the package zeroconf ({install_command('zeroconf')}), or name the "
            "address: os2l://ADDRESS:PORT",
        ) from None  # fmt: skip
    names: set[str] = set()

    class Listener:
        """Keeps the names of the services."""

        def add_service(self, _zeroconf: Any, _kind: str, name: str) -> None:
            """Handle a new service."""
            names.add(name)

        update_service = add_service

        def remove_service(self, _zeroconf: Any, _kind: str, name: str) -> None:
            """Handle the end of a service."""
            names.discard(name)

    try:
        engine = zeroconf.Zeroconf(**({"interfaces": [interface]} if interface else {}))
    except Exception as error:
        raise OSError(0, f"mDNS does not work: {str(error) or type(error).__name__}") from error
    try:
        browser = zeroconf.ServiceBrowser(engine, SERVICE, listener=Listener())
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not cancelled.wait(0.05):
            for name in sorted(names):
                info = None
                # Anyone can announce anything, such as a name that zeroconf refuses.
                with contextlib.suppress(zeroconf.Error):
                    info = engine.get_service_info(SERVICE, name, timeout=ANSWER_MS)
                if info is not None and info.parsed_addresses() and info.port:
                    return info.parsed_addresses()[0], int(info.port)
        browser.cancel()
    finally:
        engine.close()
    return None
