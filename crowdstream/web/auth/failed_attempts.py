"""Rate limits for wrong tokens, which no other site can turn against its visitors.

A page of another site can make a browser request any URL of this server, and so also one with a
wrong token, but it can set neither a header nor a cookie. Each way of sending the token therefore
has its own limit: attempts by a way that others can abuse do not delay users of another way.
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
"""How a token is sent: in a header, in a cookie, in a URL that was typed or opened, in a URL that a
page embeds, or in a URL that a link on another site leads to."""


def way_of(headers: Mapping[str, str]) -> str | None:
    """The way by which a token in a URL arrived; None if no legitimate request looks like that.

    Browsers send the request's origin (`Sec-Fetch-...`) only over TLS and to `localhost`. Over
    plain HTTP, embedded resources differ from opened pages in that the browser does not accept
    HTML for them.
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
    """Compares secrets, with a limit on failures for each address and way.

    The same wrong cookie counts once: a browser that holds the cookie of an earlier token sends it
    with every request, and learns nothing new.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._buckets = {
            way: TokenBuckets(FAILURES_A_SECOND, FAILURES_AT_ONCE, clock) for way in WAYS
        }
        self._wrong: OrderedDict[bytes, None] = OrderedDict()

    def right(self, address: str, way: str, given: str, wanted: str) -> bool | None:
        """Whether `given` is right; None without a comparison if there were too many failures."""
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
        """Seconds until an address may try again by any way."""
        return max(buckets.of(address).wait() for buckets in self._buckets.values())
