"""Values are sent back to controllers under the addresses that set them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crowdstream.control.engine_queue.request import MAX_SUBSCRIBERS
from crowdstream.control.publish.change_feed import MAX_BYTES
from crowdstream.control.publish.feedback import TURN_SECONDS
from crowdstream.osc.codec import BUNDLE, build, parse
from tests.support.offline_server import Rig, at_once, level, write
from tests.unit.control.state.test_snapshotter import RestartableRig

DESK = ("127.0.0.1", 50000)
PHONE = ("127.0.0.1", 50001)
STRANGER = ("192.0.2.7", 50000)

Said = tuple[Any, ...]


def fed(rig: Rig, client: Any = DESK) -> list[Said]:
    """Values sent to a client since the last call: addresses and arguments."""
    rig.seconds(2 * TURN_SECONDS)
    said = [(address, *values) for sender, address, values in rig.answers.said
            if sender == client and address.split("/")[1] in ("deck", "mix", "bus", "clock", "dj")]
    rig.answers.said = [one for one in rig.answers.said if one[0] != client]
    return said


@pytest.fixture
def deck(rig: Rig, tmp_path: Path) -> Rig:
    """Two stems on deck A."""
    folder = tmp_path / "song"
    folder.mkdir()
    for name in ("drums", "bass"):
        write(folder / f"{name}.wav", level(2))
    rig.send("/deck/A/load", str(folder))
    rig.run(1024)
    return rig


@pytest.fixture
def desk(deck: Rig) -> Rig:
    """A rig whose `DESK` is subscribed to feedback and has received the initial values."""
    deck.send("/feedback")
    fed(deck)
    return deck


def test_feedback_starts_with_all_values_and_continues_with_changes_by_anyone(deck: Rig) -> None:
    deck.send("/deck/A/level", 0.5)
    deck.send("/feedback", 1)
    assert deck.heard("/done")[-1] == ("/feedback", 0, MAX_SUBSCRIBERS)
    state = {said[0]: said[1:] for said in fed(deck)}
    assert state["/deck/A/level"] == (0.5,)
    assert state["/deck/B/level"] == (1.0,)
    assert state["/mix/crossfader"] == (pytest.approx(0.5),)
    assert state["/deck/A/stem/2/mute"] == (0,)
    assert "/deck/B/stem/1" not in state
    deck.send("/deck/A/level", 0.25, sender=PHONE)
    deck.send("/deck/B/level", 0.75)
    assert fed(deck) == [("/deck/A/level", 0.25), ("/deck/B/level", 0.75)]
    assert fed(deck) == []
    assert fed(deck, PHONE) == []


CHANGES: list[tuple[Said, list[Said]]] = [
    (("/deck/A/gain", 0.5), [("/deck/A/gain", 0.5)]),
    (("/deck/A/eq/low", 0.0), [("/deck/A/eq/low", 0.0)]),
    (("/deck/A/kill", "low"), [("/deck/A/kill", "low", 1)]),
    (("/deck/A/filter", -0.5), [("/deck/A/filter", -0.5)]),
    (("/deck/A/trim", 3.0), [("/deck/A/trim", 3.0)]),
    (("/deck/A/pfl", 1), [("/deck/A/pfl", 1.0), ("/deck/A/listen", 1.0)]),
    (("/deck/A/crossfader", "left"), [("/deck/A/crossfader", "left")]),
    (("/deck/A/keylock", True), [("/deck/A/keylock", 1)]),
    (("/deck/A/send", 2, 0.5), [("/deck/A/send", 2, 0.5)]),
    (("/deck/A/send/pre", 1, 1), [("/deck/A/send/pre", 1, 1)]),
    (("/deck/A/stem", 2, 0.5), [("/deck/A/stem/2", 0.5)]),
    (("/deck/A/stem/1/mute", 1), [("/deck/A/stem/1/mute", 1)]),
    (("/deck/A/stem/1/send", 2, 0.5), [("/deck/A/stem/1/send", 2, 0.5)]),
    (("/deck/A/stem/1/eq/mid", 0.5), [("/deck/A/stem/1/eq/mid", 0.5)]),
    (("/deck/A/play",), [("/deck/A/play", 1)]),
    (("/mix/level", 0.5), [("/mix/level", 0.5)]),
    (("/mix/crossfader", 1.0), [("/mix/crossfader", 1.0)]),
    (("/mix/route", "A", "bus1", 0.5), [("/deck/A/send", 1, 0.5)]),
    (("/mix/route", "bus1", "master", 0.5),
     [("/mix/route", "bus1", "master", 0.5), ("/mix/patch", "bus1", "master", 0.5)]),
    (("/clock/tempo", 128.0), [("/clock/tempo", 128.0)]),
    (("/set_tempo", 128.0), [("/clock/tempo", 128.0)]),
    (("/clock/quantize", "bar"), [("/clock/quantize", "bar")]),
    (("/deck_levels", 1.0, 0.5, 0.25), [("/deck/B/level", 0.5), ("/deck/C/level", 0.25)]),
    (("/deck_eq", "B", "high", 0.0), [("/deck/B/eq/high", 0.0)]),
    (("/deck/*/eq/low", 0.5), [(f"/deck/{letter}/eq/low", 0.5) for letter in "ABCD"]),
]


@pytest.mark.parametrize(("command", "values"), CHANGES, ids=[one[0][0] for one in CHANGES])
def test_each_value_is_sent_under_its_address_but_not_echoed_when_unwanted(
    desk: Rig, command: Said, values: list[Said]
) -> None:
    desk.send("/feedback", 1, 0, sender=PHONE)
    fed(desk, PHONE)
    desk.send(*command, sender=PHONE)
    assert sorted(map(str, fed(desk))) == sorted(map(str, values))
    assert fed(desk, PHONE) == []


def test_effects_are_sent_slot_by_slot(desk: Rig) -> None:
    desk.send("/mix/fx/insert", 1, "echo")
    found = fed(desk)
    assert ("/mix/fx/on", 1, 1) in found
    assert any(said[:3] == ("/mix/fx/set", 1, "feedback") for said in found)
    desk.send("/mix/fx/set", 1, "feedback", 0.25)
    desk.send("/mix/fx/mix", 1, 0.5)
    assert sorted(fed(desk)) == [("/mix/fx/mix", 1, 0.5), ("/mix/fx/set", 1, "feedback", 0.25)]


def test_play_is_reset_when_the_track_ends(desk: Rig) -> None:
    desk.send("/feedback", 1, 0)
    fed(desk)
    desk.send("/deck/A/play")
    assert fed(desk) == []
    desk.seconds(2.1)
    assert fed(desk) == [("/deck/A/play", 0)], "nobody has stopped it"


def test_a_simultaneous_change_by_another_client_is_sent(desk: Rig) -> None:
    desk.send("/feedback", 1, 0)
    fed(desk)
    desk.send("/deck/A/level", 0.5)
    desk.send("/deck/A/level", 0.75, sender=PHONE)
    assert fed(desk) == [("/deck/A/level", 0.75)]
    desk.send("/deck/A/level", 0.5)
    desk.send("/deck/A/level", 0.75, sender=PHONE)  # unchanged, but the fader of DESK differs
    assert fed(desk) == [("/deck/A/level", 0.75)]
    desk.send("/deck/A/level", 0.75, sender=PHONE)
    desk.send("/deck/A/level", 0.25)
    assert fed(desk) == []


def test_a_refused_fader_is_corrected(desk: Rig) -> None:
    desk.send("/feedback", 1, 0)
    fed(desk)
    desk.send("/deck/a/level", 9.0)
    assert fed(desk) == [("/deck/A/level", 1.0)]


def test_addresses_are_selected_by_patterns_and_by_their_parents(deck: Rig) -> None:
    deck.send("/feedback", 1, 1, "/deck/*/level", "/deck/A/stem")
    assert {said[0] for said in fed(deck)} == {
        *(f"/deck/{letter}/level" for letter in "ABCD"),
        *(f"/deck/A/stem/{number}{rest}" for number in (1, 2) for rest in (
            "", "/mute", "/solo", "/filter", "/filter/resonance", "/pfl", "/listen", "/send",
            "/eq/low", "/eq/mid", "/eq/high",
        )),
    }  # fmt: skip
    deck.send("/deck/A/eq/low", 0.5)
    deck.send("/deck/D/level", 0.5)
    assert fed(deck) == [("/deck/D/level", 0.5)]
    deck.send("/feedback", 1, 1, "/deck/[")
    assert "without ]" in deck.fails()[0]
    deck.send("/deck/D/level", 0.25)
    assert fed(deck) == [("/deck/D/level", 0.25)], "the failed command has changed nothing"


def test_a_flood_is_reduced_to_its_newest_value(desk: Rig) -> None:
    for number in range(500):
        desk.send("/deck/A/level", number / 1000)
    assert fed(desk) == [("/deck/A/level", pytest.approx(0.499))]
    looks = 0
    made = desk.core.feedback._changed

    def counted() -> Any:
        nonlocal looks
        looks += 1
        return made()

    desk.core.feedback._changed = counted  # type: ignore[method-assign]
    for number in range(100):
        desk.send("/deck/A/level", number / 1000)
        desk.core.feedback.tick()
    assert looks <= 1, "however many commands come, it is looked once in a while"


def test_several_values_are_packed_in_immediate_bundles_up_to_the_packet_size(
    deck: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []
    monkeypatch.setattr(deck, "answer_packet", lambda _sender, packet: sent.append(packet))
    deck.send("/feedback")
    deck.seconds(0.1)
    assert len(sent) > 2
    for packet in sent:
        assert len(packet) <= MAX_BYTES
        assert packet.startswith(BUNDLE + struct.pack(">Q", 1)) or len(list(parse(packet))) == 1
        assert all(moment is None for moment, _ in parse(packet))
    sent.clear()
    deck.send("/mix/level", 0.5)
    deck.seconds(0.1)
    assert sent == [build("/mix/level", (0.5,))]


def test_feedback_ends_on_request(desk: Rig) -> None:
    desk.send("/feedback", 0)
    desk.send("/mix/level", 0.5)
    assert fed(desk) == []
    desk.send("/feedback")
    assert ("/mix/level", 0.5) in fed(desk)


def test_untrusted_senders_get_no_feedback_and_subscribers_are_limited(rig: Rig) -> None:
    rig.send("/feedback", sender=STRANGER)
    assert len(rig.core.feedback.subscribers) == 0
    for port in range(MAX_SUBSCRIBERS + 1):
        rig.send("/feedback", 1, 1, "/mix/level", sender=("127.0.0.1", 40000 + port))
    assert len(rig.core.feedback.subscribers) == MAX_SUBSCRIBERS
    assert f"{MAX_SUBSCRIBERS} clients are subscribed" in rig.fails()[-1]
    rig.run(4096)


def test_feedback_continues_when_control_dies(tmp_path: Path) -> None:
    with RestartableRig() as rig:
        rig.send("/notify", 1, 9000)
        rig.send("/feedback", 1, 0, "/mix")
        home = ("127.0.0.1", 9000)
        assert fed(rig, home)
        rig.note()
        rig.restart_control()
        assert ("/mix/level", 1.0) in fed(rig, home)
        rig.send("/mix/level", 0.5)
        assert fed(rig, home) == []
        rig.send("/mix/level", 0.25, sender=PHONE)
        assert fed(rig, home) == [("/mix/level", 0.25)]


def test_a_client_that_is_no_longer_trusted_does_not_keep_control_from_starting() -> None:
    """Control may die after changed settings are kept, and before the subscriptions are saved."""
    tablet = ("10.0.0.5", 9000)
    with RestartableRig(osc_allow=("10.0.0.0/8",)) as rig:
        rig.send("/feedback", 1, sender=tablet)
        rig.send("/feedback", 1)
        rig.note()
        rig.core.settings = replace(rig.core.settings, osc_allow=("192.168.1.0/24",))
        rig.restart_control()
        assert [sender for sender, _ in rig.core.feedback.subscribers.replies()] == [DESK]


# Messages of real controllers -------------------------------------------------------------------


def message(address: str, tags: str, *values: Any) -> bytes:
    """A message with exactly these type tags."""
    def text(word: str) -> bytes:
        raw = word.encode() + b"\0"
        return raw + b"\0" * (-len(raw) % 4)

    packed = b"".join(
        text(value) if tag == "s" else struct.pack(f">{tag}", value)
        for tag, value in zip(tags.replace("T", "").replace("F", ""), values, strict=True)
    )
    return text(address) + text("," + tags) + packed


@pytest.fixture
def controller(deck: Rig) -> Iterator[Rig]:
    """A controller that listens on port 9000 and sends from `DESK`."""
    deck.raw(message("/notify", "ff", 1.0, 9000.0))
    deck.raw(message("/feedback", "ff", 1.0, 0.0))
    fed(deck, ("127.0.0.1", 9000))
    yield deck


def test_feedback_works_with_messages_as_sent_by_touchosc(controller: Rig) -> None:
    """Buttons and faders send floats from one port; feedback goes to another one."""
    home = ("127.0.0.1", 9000)
    controller.raw(message("/deck/A/play", "f", 1.0))
    controller.raw(message("/deck/A/play", "f", 0.0))
    controller.raw(message("/deck/A/stem/1/mute", "f", 1.0))
    controller.raw(message("/deck/A/level", "f", 0.5))
    controller.raw(message("/deck/A/hotcue/set", "ff", 1.0, 0.5))
    controller.run(1024)
    assert controller.status()["deck.A.state"] == "playing"
    assert fed(controller, home) == []
    controller.send("/deck/A/level", 0.25, sender=PHONE)
    controller.send("/deck/A/stop", sender=PHONE)
    assert sorted(fed(controller, home)) == [("/deck/A/level", 0.25), ("/deck/A/play", 0)]
    assert not controller.fails()
    controller.raw(message("/deck/A/level", "f", 5.0))
    assert [sender for sender, said, _ in controller.answers.said if said == "/fail"] == [home]


def test_feedback_works_with_messages_as_sent_by_open_stage_control(controller: Rig) -> None:
    """Related values arrive in an immediate bundle; arguments precede those of buttons."""
    home = ("127.0.0.1", 9000)
    controller.raw(at_once(
        message("/deck/A/send", "if", 1, 0.5), message("/deck/A/eq/low", "f", 0.5),
        message("/deck/A/kill", "sf", "mid", 1.0), message("/deck/A/keylock", "T"),
    ))  # fmt: skip
    controller.run(1024)
    assert fed(controller, home) == []
    controller.raw(message("/deck/A/kill", "sf", "mid", 0.0))
    controller.raw(message("/deck/A/keylock", "F"))
    controller.send("/deck/A/send", 1, 0.25, sender=PHONE)
    controller.send("/deck/A/kill", "mid", sender=PHONE)
    assert sorted(fed(controller, home)) == [
        ("/deck/A/kill", "mid", 1), ("/deck/A/send", 1, 0.25),
    ]
    assert not controller.fails()
