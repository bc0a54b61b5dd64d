"""Wrong tokens: each costs its sender, and nobody can make another pay for them.

A page of another site can have a browser ask this server for any address, and so for one with a
wrong token. It can neither set a header nor a cookie. So each way of showing the token has limits
of its own: what comes by a way that others can use holds up nobody who uses another.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from crowdstream.web.auth.limits import (
    FAILURES_A_SECOND,
    FAILURES_AT_ONCE,
    REMEMBERED_GUESSES,
    TokenBuckets,
)
from crowdstream.web.auth.token import same

WAYS = ("bearer", "cookie", "address", "embedded", "link")
"""How the token is shown: in a header, as a cookie; in the address that was typed or opened, that
something of a page asks for, or that a link on another site leads to."""


def way_of(headers: Mapping[str, str]) -> str | None:
    """How a token in an address has come; None where another site has no business to send it.

    Browsers say where a request comes from (`Sec-Fetch-...`) by TLS and on `localhost` only. By
    plain HTTP what a page embeds differs from what is opened in that it asks for no HTML.
    """
    site = headers.get("sec-fetch-site")
    if site is None:
        return "address" if "text/html" in headers.get("accept", "") else "embedded"
    opened = headers.get("sec-fetch-dest", "document") == "document"
    opened = opened and headers.get("sec-fetch-mode", "navigate") == "navigate"
    if site in ("none", "same-origin"):
        return "address" if opened else "embedded"
    return "link" if opened else None


class FailedAttempts:
    """Compares what was given with what was wanted; of each address and way only so often.

    The same wrong cookie counts once: a browser that has that of an earlier token sends it with
    every request, and learns nothing new.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._buckets = {
            way: TokenBuckets(FAILURES_A_SECOND, FAILURES_AT_ONCE, clock) for way in WAYS
        }
        self._wrong: OrderedDict[bytes, None] = OrderedDict()

    def right(self, address: str, way: str, given: str, wanted: str) -> bool | None:
        """Whether it is right; None: not looked at, as there were too many wrong ones."""
        digest = hashlib.sha256(f"{address} {given}".encode("utf-8", "replace")).digest()
        if way == "cookie" and digest in self._wrong:
            self._wrong.move_to_end(digest)
            return False
        bucket = self._buckets[way].of(address)
        if bucket.wait() > 0.0:
            return None
        if same(given, wanted):
            return True
        bucket.take()
        if way == "cookie":
            self._wrong[digest] = None
            if len(self._wrong) > REMEMBERED_GUESSES:
                self._wrong.popitem(last=False)
        return False

    def wait(self, address: str) -> float:
        """Seconds until an address may try again, by whatever way."""
        return max(buckets.of(address).wait() for buckets in self._buckets.values())
