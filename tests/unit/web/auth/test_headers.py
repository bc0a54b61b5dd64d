"""Security headers, and URLs without the token."""

from __future__ import annotations

import pytest

from crowdstream.web.auth.headers import security_headers, without_token


@pytest.mark.parametrize(
    ("path", "query", "address"),
    [
        ("/", "token=x", "/"),
        ("/a b/ä", "token=x", "/a%20b/%C3%A4"),
        ("/a/b", "c=1&token=x&d=&e=2", "/a/b?c=1&d=&e=2"),
        ("/", "c=1&token=x&token=y", "/?c=1"),
        ("/", "tokens=1", "/?tokens=1"),
        ("//evil.example/x", "token=x", "/evil.example/x"),
        ("/\\evil.example", "token=x", "/evil.example"),
        ("/a?b", "", "/a%3Fb"),
    ],
)
def test_the_token_is_removed_from_a_url(path: str, query: str, address: str) -> None:
    assert without_token(path, query) == address


def test_the_policy_allows_websockets_of_a_known_host_only() -> None:
    named = dict(security_headers("stage:8080"))[b"content-security-policy"].decode()
    assert "connect-src 'self' ws://stage:8080 wss://stage:8080;" in named
    unnamed = dict(security_headers(""))[b"content-security-policy"].decode()
    assert "connect-src 'self';" in unnamed
    assert dict(security_headers(""))[b"x-frame-options"] == b"DENY"
