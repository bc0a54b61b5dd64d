"""The demo's sequencer with a fake server."""

import time
from pathlib import Path

import pytest

from crowdstream.demo import sequencer as module
from crowdstream.demo.osc import OscClient
from crowdstream.demo.plan import Message
from crowdstream.demo.sequencer import Sequencer, SequencerError
from crowdstream.demo.tracks import tracks_in
from tests.support.fake_server import DirectClient, FakeServer, SimulatedTime

TRACKS = tracks_in(Path("tracks"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimulatedTime:
    """The sequencer's clocks."""
    made = SimulatedTime()
    monkeypatch.setattr(module, "time", made)
    return made


def test_messages_and_bundles_arrive_as_sent() -> None:
    with FakeServer() as server, OscClient(server.port) as client:
        client.send("/one", 1, 0.5, "x")
        at = time.time() + 0.3
        client.send_at(at, [Message("/two", (2,)), Message("/three")])
        client.send("/status")
        answers = client.receive(60.0)
    assert answers[0].address == "/status.reply"
    assert answers[0].arguments[:2] == (1, 4)
    assert server.sent("/one") == [(1, 0.5, "x")]
    stamped = [(name, moment) for moment, name, _ in server.heard if name in {"/two", "/three"}]
    assert [name for name, _ in stamped] == ["/two", "/three"]
    for _, moment in stamped:
        assert moment == pytest.approx(at, abs=1e-4)


def test_malformed_replies_are_ignored() -> None:
    with FakeServer() as server, OscClient(server.port) as client:
        for junk in (b"", b"junk", b"#bundle\0\1", b"/a\0\0,i\0\0"):
            server._socket.sendto(junk, ("127.0.0.1", client.port))
        client.send("/status")
        # The reply follows the junk.
        heard: list[str] = []
        deadline = time.monotonic() + 60
        while not heard and time.monotonic() < deadline:
            heard += [answer.address for answer in client.receive(60.0)]
    assert heard == ["/status.reply"]


def test_a_mix_at_ten_times_the_tempo_is_sent_in_order(clock: SimulatedTime) -> None:
    notes: list[str] = []
    server = FakeServer(clock=clock.time)
    mix = Sequencer(DirectClient(server, clock), TRACKS, tempo=2400.0, on_note=notes.append)
    mix.prepare()
    assert [args[0] for args in server.sent("/cue")] == ["A", "B"]
    mix.start()
    while mix.elapsed() < 1.3:
        mix.step(0.005)
    mix.finish()
    assert notes[:3] == ["A: Low Tide", "B comes in: Mirror Season", "lows: A to B"]
    assert mix.status.number("underruns") == 3
    zero = next(moment for moment, name, _ in server.heard if name == "/reset")
    lows = [
        (moment, args)
        for moment, name, args in server.heard
        if name == "/deck_eq" and args[1] == "low"
    ]
    assert [args for _, args in lows[:2]] == [("A", "low", 0.0), ("B", "low", 50.0)]
    # Beat 24 at 2400 BPM, according to the bundle's time tag.
    assert lows[0][0] - zero == pytest.approx(0.6)
    assert server.sent("/start_group")[0] == (0.0, "A")
    assert server.sent("/start_group")[1] == (pytest.approx(0.4), "B")
    assert server.sent("/deck_levels")[-1] == (0.0, 0.0, 0.0, 0.0)


def test_a_refused_track_is_an_error_with_the_reason(clock: SimulatedTime) -> None:
    mix = Sequencer(DirectClient(FakeServer(refuse=frozenset("A")), clock), TRACKS)
    with pytest.raises(SequencerError, match="no such file"):
        mix.prepare()
    assert mix.refusals == 1


def test_a_server_that_never_loads_is_an_error(clock: SimulatedTime) -> None:
    mix = Sequencer(DirectClient(FakeServer(silent=True), clock), TRACKS)
    begin = clock.now
    with pytest.raises(SequencerError, match="did not load deck A"):
        mix.prepare()
    assert clock.now - begin == pytest.approx(module.CUE_TIMEOUT, abs=0.2)


@pytest.mark.parametrize("speed", [0.8, 1.2])
def test_the_mix_follows_the_clock_of_the_sound_card(
    clock: SimulatedTime, speed: float
) -> None:
    mix = Sequencer(DirectClient(FakeServer(speed=speed, clock=clock.time), clock), TRACKS)
    mix.prepare()
    mix.start()
    begun = mix.started
    while clock.monotonic() < begun + 2.5:
        mix.step()
    card = (clock.monotonic() - begun) * speed
    # Without the correction it would be half a second off by now.
    assert abs(mix.elapsed() - card) < 0.3
    assert mix.started != begun


def test_the_mix_is_not_corrected_without_drift(clock: SimulatedTime) -> None:
    mix = Sequencer(DirectClient(FakeServer(clock=clock.time), clock), TRACKS)
    mix.prepare()
    mix.start()
    begun = mix.started
    while clock.monotonic() < begun + 2.0:
        mix.step()
    assert mix.started == begun
