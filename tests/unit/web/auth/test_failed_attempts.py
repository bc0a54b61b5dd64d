"""Rate limits for wrong tokens, which no other site can turn against its visitors."""

from __future__ import annotations

import pytest
from starlette.types import ASGIApp

from crowdstream.web.auth import failed_attempts
from crowdstream.web.auth.failed_attempts import WAYS, FailedAttempts, way_of
from crowdstream.web.auth.limits import FAILURES_A_SECOND, FAILURES_AT_ONCE, REMEMBERED_GUESSES
from crowdstream.web.auth.token import cookie_value
from tests.support.web_client import Answer, ask
from tests.unit.web.auth.test_middleware import TOKEN, Clock, shared

COOKIE = f"crowdstream-8080={cookie_value(TOKEN)}"
GUEST, AT_ONCE = "10.0.0.9", int(FAILURES_AT_ONCE)


def fetch(
    app: ASGIApp, token: str, site: str, mode: str = "navigate", dest: str = "document",
    accept: str = "text/html",
) -> Answer:  # fmt: skip
    """Request a URL with a token like a browser over TLS."""
    return ask(
        app, "GET", f"/?token={token}", client=GUEST, accept=accept, sec_fetch_site=site,
        sec_fetch_mode=mode, sec_fetch_dest=dest,
    )  # fmt: skip


def test_wrong_cookies_are_rate_limited() -> None:
    clock = Clock()
    gate, app = shared(clock)
    for number in range(AT_ONCE):
        ask(app, "GET", "/", client=GUEST, cookie=f"crowdstream-8080={number:064x}")
    right = ask(app, "GET", "/", client=GUEST, cookie=COOKIE)
    assert (right.status, right.json["write"]) == (200, False), "not looked at, and still served"
    assert gate.refused["failures"] == 1
    assert ask(app, "GET", "/", client="10.0.0.8", cookie=COOKIE).json["write"]
    clock.now += 6.5
    assert ask(app, "GET", "/", client=GUEST, cookie=COOKIE).json["write"]


def test_an_outdated_cookie_does_not_block_the_new_token() -> None:
    _gate, app = shared()
    old = f"crowdstream-8080={cookie_value('an-earlier-token')}"
    for _ in range(10 * AT_ONCE):
        assert ask(app, "GET", "/", client=GUEST, cookie=old).json["write"] is False
    assert ask(app, "GET", "/", client=GUEST, cookie=COOKIE).json["write"]


def test_another_site_cannot_exhaust_its_visitors_attempts() -> None:
    gate, app = shared()
    for number in range(3 * AT_ONCE):
        guess = f"guess{number}"
        assert fetch(app, guess, "cross-site", "no-cors", "image").status == 403
        assert fetch(app, guess, "cross-site", "navigate", "iframe").status == 403
        fetch(app, guess, "cross-site")
        ask(app, "GET", f"/?token={guess}", client=GUEST)  # an image, over plain HTTP
    assert gate.refused["wrong"] == 2 * AT_ONCE
    for answer in (
        ask(app, "GET", f"/?token={TOKEN}", client=GUEST, accept="text/html,*/*"),
        fetch(app, TOKEN, "none"),
    ):
        assert answer.status == 303, "the address that the server has printed, opened"
    assert ask(app, "GET", "/", client=GUEST, authorization=f"Bearer {TOKEN}").json["write"]
    assert ask(app, "GET", "/", client=GUEST, cookie=COOKIE).json["write"]


def test_forged_headers_do_not_allow_more_attempts() -> None:
    gate, app = shared()
    for number in range(200):
        for site in ("none", "same-origin", "same-site", "cross-site", ""):
            for accept in ("text/html", ""):
                fetch(app, f"guess{number}", site, accept=accept)
    assert gate.refused["wrong"] <= len(WAYS) * AT_ONCE


@pytest.mark.parametrize(
    ("headers", "way"),
    [
        ({}, "embedded"), ({"accept": "text/html"}, "address"),
        ({"sec-fetch-site": "none"}, "address"),
        ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "websocket"}, "embedded"),
        ({"sec-fetch-site": "cross-site"}, "link"),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "navigate",
          "sec-fetch-dest": "document"}, "link"),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, None),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate",
          "sec-fetch-dest": "iframe"}, None),
    ],
)  # fmt: skip
def test_the_way_of_a_token_is_recognised(headers: dict[str, str], way: str | None) -> None:
    assert way_of(headers) == way


def test_forged_cookies_use_bounded_memory() -> None:
    guesses = FailedAttempts()
    for number in range(REMEMBERED_GUESSES + 2000):
        guesses.right(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", "cookie", "x", "y")
    assert len(guesses._wrong) == REMEMBERED_GUESSES


def test_a_wrong_secret_counts_once_as_a_cookie_and_each_time_in_a_header() -> None:
    guesses = FailedAttempts(Clock())
    for _ in range(2 * AT_ONCE):
        assert guesses.right(GUEST, "cookie", "x", "y") is False
    assert [guesses.right(GUEST, "bearer", "x", "y") for _ in range(AT_ONCE)] == [False] * AT_ONCE
    assert guesses.right(GUEST, "bearer", "x", "y") is None
    assert guesses.right(GUEST, "bearer", "y", "y") is None, "not compared any more"
    assert guesses.right(GUEST, "cookie", "y", "y") is True, "each way has its own limit"


def test_an_address_may_try_again_when_its_wait_is_over() -> None:
    clock = Clock()
    guesses = FailedAttempts(clock)
    assert guesses.wait(GUEST) == 0.0
    for number in range(AT_ONCE):
        guesses.right(GUEST, "link", f"x{number}", "y")
    assert guesses.wait(GUEST) == pytest.approx(1 / FAILURES_A_SECOND), "that of any way"
    assert guesses.wait("10.0.0.8") == 0.0
    clock.now += 1 / FAILURES_A_SECOND - 0.5
    assert guesses.right(GUEST, "link", "y", "y") is None
    clock.now += 0.6
    assert guesses.right(GUEST, "link", "y", "y") is True


def test_the_wrong_cookie_that_was_sent_longest_ago_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(failed_attempts, "REMEMBERED_GUESSES", 2)
    guesses = FailedAttempts(Clock())

    def left_after(given: str) -> float:
        guesses.right(GUEST, "cookie", given, "right")
        return guesses._buckets["cookie"].of(GUEST).left()

    first, second, again, third = (left_after(given) for given in ("a", "b", "a", "c"))
    assert (first, second, again, third) == (AT_ONCE - 1, AT_ONCE - 2, AT_ONCE - 2, AT_ONCE - 3)
    assert left_after("a") == AT_ONCE - 3, "still known"
    assert left_after("b") == AT_ONCE - 4, "counts again"
