"""URLs of broadcasts: what they mean, what is refused, and that passwords are not repeated."""

from __future__ import annotations

import pytest

from crowdstream.broadcast.target import Target, TargetError, parse
from crowdstream.system.text import mask_passwords


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("icecast://source:pa%3Ass%40@radio:8001/live.mp3?bitrate=192",
         Target("icecast", "radio", 8001, "source", "pa:ss@", "/live.mp3", "mp3", 192)),
        ("icecast://:x@[::1]/a%20b.opus",
         Target("icecast", "::1", 8000, "source", "x", "/a b.opus", "opus", 128)),
        ("icecast+tls://dj:x@radio/live",
         Target("icecast", "radio", 8443, "dj", "x", "/live", "mp3", 192, tls=True)),
        ("icecast://dj:x@radio/live?format=FLAC&name=The%20Club",
         Target("icecast", "radio", 8000, "dj", "x", "/live", "flac", 0, {"name": "The Club"})),
        ("hls:/srv/live?segment=2&format=flac",
         Target("hls", path="/srv/live", format="flac", options={"segment": "2"})),
        ("snapcast://room", Target("snapcast", "room", 4953, format="pcm")),
        ("pipe:/tmp/snap%20fifo?rate=44100",
         Target("pipe", path="/tmp/snap fifo", format="pcm", options={"rate": "44100"})),
    ],
)  # fmt: skip
def test_urls(url: str, expected: Target) -> None:
    target = parse(url)
    assert target == expected
    assert parse(target.url) == expected, "the complete URL means the same"
    assert not target.password or target.password not in target.place


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://source:geheim@radio/live", "must begin with icecast://"),
        ("icecast://source:ge/heim@radio:8000/live", "is no URL"),
        ("icecast://source:geheim@radio:80x/live", "is no URL"),
        ("icecast://source:geheim@radio", "needs a mount"),
        ("icecast://radio/live", "needs a password"),
        ("icecast+tls://radio/live", "such as icecast[+]tls://source:PASSWORD"),
        ("hls+tls:/live", "must begin with"),
        ("icecast://source:geheim@/live", "needs a host"),
        ("icecast://source:geheim@radio/live?format=aac", "must be one of mp3, opus, flac"),
        ("icecast://source:geheim@radio/live?bitrate=5", "from 32 to 320 kbit/s"),
        ("icecast://source:geheim@radio/live.flac?bitrate=128", "flac has no bitrate"),
        ("icecast://source:geheim@radio/live?color=red", "unknown option 'color'"),
        ("icecast://source:geheim@radio/live?name=a%0d%0aHost:b", "name must be printable"),
        ("icecast://source:geheim@radio/a%0d%0ab", "needs a mount"),
        ("icecast://source:ge%0aheim@radio/a", "characters that HTTP can't send"),
        ("icecast://source:geheim@radio/a b", "spaces"),
        ("hls:live", "absolute path"),
        ("hls://host/live", "absolute path"),
        ("hls:/live?segment=0", "from 1 to 30"),
        ("snapcast://room/stream", "neither a path nor a user"),
        ("pipe:/tmp/fifo?rate=1", "from 8000 to 192000"),
        ("pipe:/tmp/" + "x" * 2000, "too long"),
    ],
)
def test_faults_are_named_without_the_password(url: str, words: str) -> None:
    with pytest.raises(TargetError, match=words.replace("?", r"\?")) as caught:
        parse(url)
    assert "geheim" not in str(caught.value) and "heim" not in str(caught.value)


def test_arguments_take_precedence_over_the_url() -> None:
    target = parse("icecast://a:b@radio/live.mp3?format=flac&bitrate=64", "opus", 96)
    assert (target.format, target.bitrate) == ("opus", 96)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("icecast://dj:geheim@radio/live", "icecast://dj:***@radio/live"),
        ("icecast://:ge@heim@radio/live", "icecast://:***@radio/live"),
        ("icecast://dj:ge/heim@radio/live", "icecast://dj:***@radio/live"),
        ("two icecast://a:b@c/d and http://e:f@g/", "two icecast://a:***@c/d and http://e:***@g/"),
        ("http://radio:8000/live", "http://radio:8000/live"),
        ("no URL: a@b", "no URL: a@b"),
    ],
)
def test_passwords_are_masked(text: str, masked: str) -> None:
    assert mask_passwords(text) == masked
