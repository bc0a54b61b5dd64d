"""Broadcasts to a real Icecast: what its listeners hear, and what happens when it fails."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path

import pytest

from tests.support.broadcasts import RATE, correlation, decode, listen, tags, write_music
from tests.support.icecast import PASSWORD, QUOTED, Icecast, icecast
from tests.support.in_namespace import run_in_namespace
from tests.support.server import Running, server, until
from tests.support.tls import Authority

FLAGS = ("--driver", "null", "--cache-mb", "64", "--standby", "off")
SECONDS = 120.0
STRETCH = 2 * RATE  # frames that are compared
MIN_CORRELATION = {"mp3": 0.98, "opus": 0.98, "flac": 0.9999}


def play(running: Running, folder: Path, name: str = "Night Train") -> None:
    path = folder / f"{name}.wav"
    running.client.request("/deck/A/load", str(path), answer="/done", seconds=60)
    running.client.send("/deck/A/play")
    until(lambda: running.client.status()["deck.A.state"] == "playing")


def start(running: Running, url: str, *more: object) -> int:
    return int(running.client.request("/broadcast/start", url, *more, answer="/done")[1])


def states(running: Running) -> dict[int, tuple[str, str]]:
    """State and reason of each broadcast by number."""
    values = running.client.request("/broadcast/list", answer="/broadcast/list.reply")
    return {
        values[at]: (values[at + 3], values[at + 4]) for at in range(0, len(values), 6)
    }


def await_state(running: Running, number: int, state: str, reason: str = "") -> None:
    def reached() -> bool:
        found = states(running)[number]
        return found[0] == state and reason in found[1]

    until(reached, what=f"broadcast {number} {state} {reason}: {states(running)}")


def has_title(url: str, size: int, title: str) -> bool:
    return tags(listen(url, size)[0])["TITLE"] == title


def undisturbed(running: Running) -> bool:
    """Whether no sound of the mix was lost. Underruns also count what other programs cause."""
    status = running.client.status()
    names = ("takeovers", "missing_frames", "underruns_engine", "guarded", "restarts_control")
    return not any(status[name] for name in names)


def await_mount(icecast: Icecast, mount: str) -> None:
    until(lambda: f"/{mount}" in icecast.status())


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("music")
    write_music(folder / "Night Train.wav", SECONDS)
    write_music(folder / "Second.wav", SECONDS, seed=2)
    return folder


def test_listeners_receive_the_master_in_every_format(material: Path, tmp_path: Path) -> None:
    source = write_music(tmp_path / "same.wav", SECONDS)
    sizes = {"mp3": 150_000, "opus": 100_000, "flac": 500_000}
    with icecast(sources=4) as cast, server(tmp_path, *FLAGS) as running:
        play(running, material)
        for format in sizes:
            start(running, cast.url(f"live.{format}"))
        # Another mount of the same format shares the encoder.
        start(running, cast.url("also"), "mp3", 192)
        for number in range(1, 5):
            await_state(running, number, "live")
        for format, size in sizes.items():
            await_mount(cast, f"live.{format}")
            data, headers = listen(cast.listen_url(f"live.{format}"), size)
            kind = "audio/mpeg" if format == "mp3" else "application/ogg"
            assert headers["content-type"] == kind
            heard = decode(data)
            assert len(heard) > 3 * RATE
            level, _at = correlation(heard[RATE // 2 :][:STRETCH], source)
            assert level > MIN_CORRELATION[format], format
            if format != "mp3":
                assert tags(data)["TITLE"] == "Night Train"
        # Icecast shows the titles of MP3 streams only.
        until(lambda: cast.status().count("Night Train") == 2)
        running.client.request("/deck/B/load", str(material / "Second.wav"), answer="/done")
        running.client.send("/deck/B/play")
        running.client.send("/deck/A/level", 0.0, 0.0)
        until(lambda: cast.status().count("Second") == 2, what="the next title")
        sent = json.loads(cast.status())["icestats"]["source"]
        assert {one["listenurl"].rpartition("/")[2] for one in sent} == {
            "live.mp3", "live.opus", "live.flac", "also",
        }
        # A listener that joins a chained stream needs the headers of its present part.
        second = write_music(tmp_path / "second.wav", SECONDS, seed=2)
        for format in ("opus", "flac"):
            url, size = cast.listen_url(f"live.{format}"), sizes[format]
            # Those that join before all of the first part has left Icecast's buffer hear its end.
            until(partial(has_title, url, size, "Second"))
            heard = decode(listen(url, size)[0])
            level, _at = correlation(heard[-STRETCH - RATE // 2 :][:STRETCH], second)
            assert level > MIN_CORRELATION[format], format
        running.client.request("/broadcast/stop", answer="/done")
        until(lambda: "listenurl" not in cast.status())
        assert running.client.status()["broadcasts"] == 0
        assert running.client.status()["broadcast_dropped_s"] == 0


def test_listeners_receive_what_is_sent_over_tls(material: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    source = write_music(tmp_path / "same.wav", SECONDS)
    flags = (*FLAGS, "--broadcast-ca", str(authority.certificate))
    with (
        icecast(certificate=authority.sign("IP:127.0.0.1")) as cast,
        server(tmp_path, *flags) as running,
    ):
        play(running, material)
        number = start(running, cast.tls_url("live.mp3"))
        await_state(running, number, "live")
        await_mount(cast, "live.mp3")
        heard = decode(listen(cast.listen_url("live.mp3"), 120_000)[0])
        assert correlation(heard[RATE // 2 :][:STRETCH], source)[0] > MIN_CORRELATION["mp3"]
        until(lambda: "Night Train" in cast.status(), what="the title arrives over TLS, too")
        await_state(running, number, "live")
        assert PASSWORD not in running.log() and QUOTED not in running.log()


def test_a_server_that_goes_is_found_again(material: Path, tmp_path: Path) -> None:
    source = write_music(tmp_path / "same.wav", SECONDS)
    with icecast() as cast, server(tmp_path, *FLAGS) as running:
        client = running.client
        client.request("/notify", 1, answer="/done")
        play(running, material)
        number = start(running, cast.url("live.mp3"))
        assert client.receive_until("/broadcast") == [number, "live", ""]
        cast.stop()
        assert client.receive_until("/broadcast")[:2] == [number, "waiting"]
        await_state(running, number, "waiting", "Connection refused")
        cast.start()
        assert client.receive_until("/broadcast") == [number, "live", ""]
        await_mount(cast, "live.mp3")
        heard = decode(listen(cast.listen_url("live.mp3"), 120_000)[0])
        assert correlation(heard[RATE // 2 :][:STRETCH], source)[0] > MIN_CORRELATION["mp3"]
        events = [one["kind"] for one in events_of(running)]
        assert events.count("broadcast_lost") == 1, "each fault is reported once"
        assert events.count("broadcast_live") == 2
        assert undisturbed(running)


def events_of(running: Running) -> list[dict[str, str]]:
    values = running.client.request("/events", answer="/events.reply")
    found = [values[at : at + 4] for at in range(1, len(values), 4)]
    return [
        {"time": time, "level": level, "kind": kind, "text": text}
        for time, level, kind, text in found
    ]


def test_a_server_that_hangs_costs_old_audio_only(material: Path, tmp_path: Path) -> None:
    with icecast() as cast, server(tmp_path, *FLAGS) as running:
        play(running, material)
        number = start(running, cast.url("live.flac"))
        await_state(running, number, "live")
        cast.suspend()
        until(lambda: running.client.status()["broadcast_dropped_s"] > 0.0, 60)
        await_state(running, number, "waiting", "does not respond")
        frame = running.client.status()["frame"]
        until(lambda: running.client.status()["frame"] > frame + RATE)
        cast.resume()
        await_state(running, number, "live")
        assert undisturbed(running)


def test_refusals_are_named(material: Path, tmp_path: Path) -> None:
    with icecast(sources=2) as cast, server(tmp_path, *FLAGS) as running:
        first = start(running, cast.url("live.mp3"))
        await_state(running, first, "live")
        wrong = start(running, cast.url("other.mp3", "wrong"))
        await_state(running, wrong, "waiting", "refuses the user or the password")
        again = running.client.request("/broadcast/start", cast.url("live.mp3"), answer="/fail")
        assert "there is a broadcast to icecast://127.0.0.1" in again[1]
        # Another name for the same host, so this is a second source of the mount.
        taken = start(running, cast.url("live.mp3").replace("127.0.0.1", "localhost"))
        await_state(running, taken, "waiting", "used by another source")
        await_state(running, start(running, cast.url("two.mp3")), "live")
        full = start(running, cast.url("three.mp3"))
        await_state(running, full, "waiting", "no room for another source")
        assert PASSWORD not in running.log() and QUOTED not in running.log()


def test_broadcasts_outlive_control_and_their_own_process(material: Path, tmp_path: Path) -> None:
    with icecast() as cast, server(tmp_path, *FLAGS) as running:
        client = running.client
        client.request("/notify", 1, answer="/done")
        assert running.children_named("broadcast") == [], "it starts with the first broadcast"
        play(running, material)
        number = start(running, cast.url("live.mp3"))
        await_state(running, number, "live")
        client.await_noted()
        before = running.child_named("broadcast").pid
        running.child_named("control").kill()
        assert client.receive_until("/restarted") == ["control"]
        assert running.child_named("broadcast").pid == before
        await_state(running, number, "live")
        assert client.status()["broadcast_faults"] == 0
        running.child_named("broadcast").kill()
        assert client.receive_until("/broadcast")[:2] == [number, "waiting"]
        assert client.receive_until("/broadcast") == [number, "live", ""]
        until(lambda: "Night Train" in cast.status())
        client.request("/broadcast/stop", number, answer="/done")
        until(lambda: "listenurl" not in cast.status())


def test_no_other_user_sees_the_password(material: Path, tmp_path: Path) -> None:
    with icecast() as cast:
        environment = {"CROWDSTREAM_BROADCAST": cast.url("live.mp3")}
        with server(tmp_path, *FLAGS, "--http", env=environment) as running:
            client = running.client
            client.request("/changes/subscribe", 1, answer="/done")
            await_state(running, 1, "live")
            client.send("/broadcast/start", cast.url("x").replace("icecast:", "nonsense:"))
            assert "***" in client.receive_until("/fail")[1]
            client.send("/broadcast/start", cast.url("other.mp3"))
            address, shown, *_ = client.receive_until("/changed")
            assert address == "/broadcast/start"
            assert shown == f"icecast://source:***@127.0.0.1:{cast.port}/other.mp3"
            client.bundle(time.time() + 60, ("/broadcast/start", cast.url("later.mp3")))
            page = running.page()
            picture = listen(f"{page}/api/picture", 1 << 20)[0].decode()
            assert "live.mp3" in picture
            for secret in (PASSWORD, QUOTED):
                assert secret not in picture and secret not in running.log()
                assert secret not in str(client.status()) + str(states(running))
                for child in running.children():
                    assert secret not in " ".join(child.cmdline())
            for child in running.children():
                text = Path(f"/proc/{child.pid}/environ").read_bytes().decode()
                assert (QUOTED in text) == ("crowdstream.control.main" in child.cmdline())


def test_a_network_that_loses_every_fifth_packet(tmp_path: Path) -> None:
    seen = run_in_namespace("tests.support.lossy_broadcast", tmp_path)
    assert seen["packets_dropped"] > 10
    assert (seen["live"], seen["faults"]) == (1, 0), seen
    assert (seen["takeovers"], seen["missing_frames"]) == (0, 0)
    assert seen["correlation"] > MIN_CORRELATION["mp3"], seen


def test_a_player_of_hls_decodes_the_master_also_after_a_death(
    material: Path, tmp_path: Path
) -> None:
    source = write_music(tmp_path / "same.wav", SECONDS)
    folder = tmp_path / "live"
    playlist = folder / "live.m3u8"
    with server(tmp_path, *FLAGS, "--record-folder", str(tmp_path)) as running:
        play(running, material)
        number = start(running, f"hls:{folder}?segment=1", "aac", 192)
        for _run in range(2):
            await_state(running, number, "live")
            until(lambda: playlist.read_text().count(".m4s") >= 5)
            heard = decode(str(playlist), limit=3 * RATE)
            assert correlation(heard[RATE // 2 :][:STRETCH], source)[0] > MIN_CORRELATION["mp3"]
            before = running.child_named("broadcast").pid
            running.child_named("broadcast").kill()
            until(lambda before=before: {one.pid for one in running.children_named("broadcast")}
                  - {before})
        await_state(running, number, "live")
        running.client.request("/broadcast/stop", answer="/done")
        until(lambda: "#EXT-X-ENDLIST" in playlist.read_text())
        refused = running.client.request("/broadcast/start", "hls:/srv/live", answer="/fail")
        assert "outside the media folders" in refused[1]
