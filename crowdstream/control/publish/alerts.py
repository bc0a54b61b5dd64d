"""Alerts: post events of the event log to the addresses of `--alert-url`.

Each address has a thread, so a server that hangs delays neither control nor the other addresses.
Events that wait are merged by kind: their number is bounded, however long a network is down.
"""

from __future__ import annotations

import base64
import functools
import http.client
import json
import logging
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import IO
from urllib.parse import unquote, urlsplit, urlunsplit

import crowdstream
from crowdstream.control.publish.event_log import ERROR, INFO, LEVELS, WARNING, Event
from crowdstream.system.text import printable

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10.0  # for connecting, and for each part of the answer
MIN_RETRY_SECONDS, MAX_RETRY_SECONDS = 5.0, 300.0  # doubles with each failure in a row
MAX_AGE_SECONDS = 3600.0  # an alert that could not be posted for so long is given up
MAX_POSTS, POSTS_SECONDS = 6, 600.0  # accepted posts within a period
LAST_POSTS = 2  # more of them when the server stops: the last alert is often the important one
END_SECONDS = 2.0  # to post what waits when the server stops
RETRIED = frozenset({408, 425, 429})  # HTTP status codes that are no refusal, besides 5xx

# As ntfy (https://docs.ntfy.sh/publish/) reads them: 3 is the default priority, 5 the highest, and
# a tag that is the name of an emoji is shown as one.
PRIORITIES = {INFO: "3", WARNING: "4", ERROR: "5"}
TAGS = {INFO: "information_source", WARNING: "warning", ERROR: "rotating_light"}


class PostFailed(Exception):
    """A post failed. `final`: the same post would be refused again."""

    def __init__(self, reason: str, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


@dataclass(frozen=True)
class Alert:
    """The latest event of a kind, and the number of events of that kind that it stands for.

    `since`: monotonic seconds at which the first of them was reported.
    """

    event: Event
    count: int
    since: float

    @property
    def text(self) -> str:
        """The event's text, with the number of events that were merged into it."""
        more = f" (and {self.count - 1} more of this kind)" if self.count > 1 else ""
        return self.event.text + more


@dataclass(frozen=True)
class Target:
    """An address without its credentials; `authorization` is the header made from them."""

    url: str
    authorization: str

    @classmethod
    def parse(cls, url: str) -> Target:
        """Split an http or https URL such as `https://user:password@example.org/topic`."""
        parts = urlsplit(url)
        place = parts.netloc.rpartition("@")[2]
        header = ""
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            header = "Basic " + base64.b64encode(pair.encode()).decode()
        return cls(urlunsplit((parts.scheme, place, parts.path or "/", parts.query, "")), header)

    @property
    def shown(self) -> str:
        """The address for logs: path and query are often secrets, so they are left out."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


def message_of(alert: Alert, form: str, host: str) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of a post. `form`: json or text; `host`: name of this machine."""
    agent = {"User-Agent": f"crowdstream/{crowdstream.__version__}"}
    event = alert.event
    if form == "json":
        held = {**event.to_json(), "text": alert.text, "count": alert.count, "host": host}
        body = json.dumps(held, ensure_ascii=False).encode()
        return body, {**agent, "Content-Type": "application/json"}
    title = printable(f"CrowdStream on {host}: {event.kind.replace('_', ' ')}")
    return alert.text.encode(), {
        **agent,
        "Content-Type": "text/plain; charset=utf-8",
        "Title": title.encode("ascii", "replace").decode(),
        "Priority": PRIORITIES[event.level],
        "Tags": f"{TAGS[event.level]},{event.kind}",
    }


def _refused_redirect(old_url: str, new_url: str, code: int) -> str:
    # Why a redirect is not followed; empty if it is.
    old, new = urlsplit(old_url), urlsplit(new_url)
    upgraded = (old.scheme, new.scheme) == ("http", "https")
    if new.scheme != old.scheme and not upgraded:
        return "it redirects from https to another protocol"
    if new.hostname != old.hostname or (new.port != old.port and not upgraded):
        return "it redirects to another host"
    if code == http.HTTPStatus.SEE_OTHER:
        return "it redirects to a page (status 303)"
    return ""


class _Redirects(urllib.request.HTTPRedirectHandler):
    # Posts again to the new address, on the same host only: a redirect must send neither
    # credentials nor events elsewhere.

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str,
        headers: http.client.HTTPMessage | Message, newurl: str,
    ) -> urllib.request.Request:
        reason = _refused_redirect(req.full_url, newurl, code)
        if reason:
            fp.close()
            raise PostFailed(reason, final=True)
        return urllib.request.Request(newurl, data=req.data, headers=req.headers, method="POST")


@functools.cache
def make_opener() -> urllib.request.OpenerDirector:
    """Return an opener for http and https alone: no files, no FTP. It respects proxies."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(), urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPDefaultErrorHandler(), _Redirects(),
        urllib.request.HTTPErrorProcessor(), urllib.request.UnknownHandler(),
    ):  # fmt: skip
        opener.add_handler(handler)
    return opener


def post(target: Target, body: bytes, headers: dict[str, str], timeout: float) -> None:
    """Post a message. Raises `PostFailed`, whose text contains no part of the URL."""
    if target.authorization:
        headers = {**headers, "Authorization": target.authorization}
    request = urllib.request.Request(target.url, data=body, headers=headers, method="POST")
    try:
        make_opener().open(request, timeout=timeout).close()
    except urllib.error.HTTPError as error:
        error.close()
        refused = error.code < 500 and error.code not in RETRIED
        raise PostFailed(f"it answers with status {error.code}", final=refused) from None
    except TimeoutError:
        raise PostFailed(f"no answer within {timeout:g} s") from None
    except urllib.error.URLError as error:
        raise PostFailed(_reason(error.reason, timeout)) from None
    except OSError as error:
        raise PostFailed(_reason(error, timeout)) from None
    except (http.client.HTTPException, ValueError) as error:
        raise PostFailed(f"its answer is not valid HTTP ({type(error).__name__})") from None


def _reason(error: object, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


Post = Callable[[Target, bytes, dict[str, str], float], None]


class AlertSender:
    """Posts alerts to one address, in a thread. `offer` and the counters are for control.

    `clock` is a monotonic clock in seconds.
    """

    def __init__(
        self,
        url: str,
        form: str = "json",
        host: str = "",
        post: Post = post,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = Target.parse(url)
        self._form = form
        self._host = host or socket.gethostname()
        self._post = post
        self._clock = clock
        self._changed = threading.Condition()
        self._pending: dict[str, Alert] = {}
        self._in_progress: Alert | None = None
        self._closing = False
        self._posts: deque[float] = deque(maxlen=MAX_POSTS + LAST_POSTS)  # monotonic seconds
        self._failures = 0  # in a row
        self._next_attempt = 0.0
        self.sent = 0
        """Accepted posts."""
        self.failed = 0
        """Alerts that were given up."""
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Alerts that wait, including one that is being posted."""
        return len(self._pending) + (self._in_progress is not None)

    def offer(self, event: Event) -> None:
        """Queue an event; merges it with one of the same kind that waits already."""
        with self._changed:
            self._add(Alert(event, 1, self._clock()))
            self._changed.notify()

    def count_earlier(self, ages: Sequence[float]) -> None:
        """Count posts of earlier processes, `ages` seconds ago, against the rate limit.

        A server that is restarted again and again must not post at each start.
        """
        with self._changed:
            now = self._clock()
            posts = sorted([*(now - age for age in ages), *self._posts])
            self._posts = deque(posts, maxlen=self._posts.maxlen)

    def wake(self) -> None:
        """Look at the clock again, for tests whose clock is not the system's."""
        with self._changed:
            self._changed.notify()

    def close(self, deadline: float) -> None:
        """Post what waits if the address accepts it at once; wait until `deadline` (s)."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(max(0.0, deadline - self._clock()))

    def _add(self, alert: Alert) -> None:
        kind = alert.event.kind
        waiting = self._pending.get(kind)
        if waiting is not None:
            latest = max(waiting.event, alert.event, key=lambda event: event.time)
            count = waiting.count + alert.count
            alert = Alert(latest, count, min(waiting.since, alert.since))
        self._pending[kind] = alert

    # In the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        make_opener()  # which reads the system's certificates: now, and not at the first alert
        while (alert := self._next()) is not None:
            try:
                body, headers = message_of(alert, self._form, self._host)
                self._post(self._target, body, headers, TIMEOUT_SECONDS)
            except PostFailed as error:
                self._on_failure(alert, error)
            except Exception as error:
                log.exception("an alert could not be posted")
                self._on_failure(alert, PostFailed(type(error).__name__, final=True))
            else:
                self._on_success()

    def _next(self) -> Alert | None:
        # Wait for an alert that may be posted now, errors first; None: the server stops.
        with self._changed:
            while True:
                wait = self._wait()
                if self._pending and wait <= 0.0:
                    ranked = sorted(
                        self._pending.values(),
                        key=lambda alert: (-LEVELS.index(alert.event.level), alert.since),
                    )
                    self._in_progress = self._pending.pop(ranked[0].event.kind)
                    return self._in_progress
                if self._closing:
                    return None
                self._changed.wait(wait if self._pending else None)

    def _wait(self) -> float:
        # Seconds until the next attempt.
        due = self._next_attempt
        limit = MAX_POSTS + LAST_POSTS * self._closing
        if len(self._posts) >= limit:
            due = max(due, self._posts[-limit] + POSTS_SECONDS)
        return due - self._clock()

    def _on_success(self) -> None:
        with self._changed:
            self._posts.append(self._clock())
            self._in_progress = None
            self.sent += 1
            again, self._failures = self._failures > 0, 0
            self._next_attempt = 0.0
        if again:
            log.info("alerts to %s are accepted again", self._target.shown)

    def _on_failure(self, alert: Alert, error: PostFailed) -> None:
        with self._changed:
            now = self._clock()
            self._in_progress = None
            first = self._failures == 0
            pause = min(MIN_RETRY_SECONDS * 2.0**min(self._failures, 16), MAX_RETRY_SECONDS)
            self._failures += 1
            self._next_attempt = now + pause
            given_up = error.final or now - alert.since >= MAX_AGE_SECONDS
            if given_up:
                self.failed += 1
            else:
                self._add(alert)
        if first or given_up:
            then = "the alert is given up" if given_up else "trying again"
            log.warning("alert to %s failed: %s; %s", self._target.shown, error, then)


class Alerts:
    """The senders of all addresses. For the control thread."""

    def __init__(
        self, urls: Sequence[str], form: str, level: str, port: int, post: Post = post
    ) -> None:
        """`level`: events below it are not posted. `port`: OSC port, which names the server."""
        self._least = LEVELS.index(level)
        host = f"{socket.gethostname()}:{port}"
        self._senders = [AlertSender(url, form, host, post) for url in urls]

    def receive(self, event: Event) -> None:
        """Queue an event for all addresses, unless its level is too low."""
        if LEVELS.index(event.level) >= self._least:
            for sender in self._senders:
                sender.offer(event)

    def count_earlier(self, events: Sequence[Event], now: float) -> None:
        """Count the events of earlier processes against the rate limit. `now`: Unix seconds.

        Which of them were posted is not known: those of one kind that came soon after each other
        would have been merged.
        """
        latest: dict[str, float] = {}
        ages = []
        for event in events:
            if LEVELS.index(event.level) < self._least or event.time > now:
                continue
            if event.time - latest.get(event.kind, 0.0) >= POSTS_SECONDS / MAX_POSTS:
                latest[event.kind] = event.time
                ages.append(now - event.time)
        for sender in self._senders:
            sender.count_earlier([age for age in ages if age < POSTS_SECONDS])

    def counters(self) -> dict[str, int]:
        """Fields for the status."""
        return {
            "alerts_sent": sum(sender.sent for sender in self._senders),
            "alerts_failed": sum(sender.failed for sender in self._senders),
            "alerts_waiting": sum(sender.waiting for sender in self._senders),
        }

    def close(self, seconds: float = END_SECONDS) -> None:
        """Post what waits for up to `seconds`."""
        deadline = time.monotonic() + seconds
        for sender in self._senders:
            sender.close(deadline)
