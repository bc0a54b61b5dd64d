"""Commands of effects, sends and routing: results, timing and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from crowdstream.desk.constants import CHAIN_BUS, CHAIN_MASTER
from crowdstream.desk.effects import ACTIVE, EFFECTS, IDLE
from crowdstream.desk.ramps import effect_ramp, patch_ramp
from crowdstream.effects import MODULES
from crowdstream.offline.session import START
from crowdstream.osc.codec import build
from tests.support.offline_server import RATE, Rig, bundle, playing


def instance(rig: Rig, chain: int, slot: int) -> int:
    """Return the engine's instance in a slot, counted from 0."""
    placed = rig.core.effects.chains[chain][slot]
    assert placed
    return placed.instance


def linked(rig: Rig, chain: int) -> list[str]:
    """Return the names of the modules in the engine's chain, in order."""
    names, number = [], int(rig.desk.chains[chain])
    while number >= 0:
        if int(rig.desk.effects["state"][number]) == ACTIVE:
            names.append(list(MODULES)[int(rig.desk.effects["kind"][number])])
        number = int(rig.desk.effects["next"][number])
    return names


def test_the_modules_and_their_parameters_are_listed(rig: Rig) -> None:
    rig.send("/fx/modules")
    listed = rig.heard("/fx/modules.reply")
    expected = [(m.name, p.name) for m in MODULES.values() for p in m.parameters]
    assert [(values[0], values[1]) for values in listed] == expected
    assert rig.heard("/done") == [("/fx/modules", len(MODULES))]


@pytest.mark.parametrize(
    ("where", "chain"),
    [("/deck/A", 0), ("/deck/d", 3), ("/bus/1", CHAIN_BUS), ("/bus/2", CHAIN_BUS + 1),
     ("/mix", CHAIN_MASTER)],
)  # fmt: skip
def test_a_chain_is_built_moved_and_emptied(rig: Rig, where: str, chain: int) -> None:
    rig.send(f"{where}/fx/insert", 2, "Echo", "beats", 0.5, "mix", 0.25)
    rig.send(f"{where}/fx/insert", 1, "drive")
    rig.send(f"{where}/fx/insert", 4, "gate", "on", 0)
    rig.run(1024)
    assert linked(rig, chain) == ["drive", "echo", "gate"]
    assert rig.core.effects.text(chain) == "drive echo - gate(off)"
    rig.send(f"{where}/fx/move", 1, 3)
    rig.run(1024)
    assert linked(rig, chain) == ["echo", "drive", "gate"]
    assert rig.core.effects.text(chain) == "echo - drive gate(off)"
    rig.send(f"{where}/fx/swap", 3, "crusher", "bits", 4)
    rig.send(f"{where}/fx/remove", 4)
    rig.run(1024)
    assert linked(rig, chain) == ["echo", "crusher"]
    rig.send(f"{where}/fx/list")
    assert rig.heard(f"{where}/fx/list.reply") == [
        (1, "echo", "mix", 0.25, "on", 1.0, "beats", 0.5, "seconds", 0.0, "feedback", 0.5,
         "tone", 6000.0, "pingpong", 0.0),
        (3, "crusher", "mix", 1.0, "on", 1.0, "bits", 4.0, "rate", 11025.0),
    ]  # fmt: skip
    name = {0: "deck.A", 3: "deck.D", CHAIN_BUS: "bus.1", CHAIN_BUS + 1: "bus.2"}
    assert rig.status()[f"{name.get(chain, 'master')}.fx"] == "echo - crusher -"
    for slot in (1, 3):
        rig.send(f"{where}/fx/remove", slot)
    rig.seconds(6)
    assert not rig.fails()
    assert (rig.desk.chains == -1).all()
    assert (rig.desk.effects["state"] == IDLE).all()
    assert sorted(rig.core.effects._free) == list(range(EFFECTS))


def test_a_parameter_ramps_over_its_own_or_the_requested_time(rig: Rig) -> None:
    rig.send("/deck/B/fx/insert", 1, "echo")
    rig.run(512)
    row = effect_ramp(instance(rig, 1, 0), 4)
    rig.send("/deck/B/fx/set", 1, "FEEDBACK", 0.9, 1.0)
    rig.seconds(0.5)
    assert 0.6 < float(rig.desk.ramps["value"][row]) < 0.8
    rig.seconds(0.6)
    assert float(rig.desk.ramps["value"][row]) == pytest.approx(0.9)
    rig.send("/deck/B/fx/set", 1, "feedback", 0.98)
    rig.send("/deck/B/fx/mix", 1, 0.5)
    rig.send("/deck/B/fx/on", 1, 0, 0.0)
    rig.seconds(0.05)
    assert float(rig.desk.ramps["value"][row]) == 0.98
    values = dict(rig.core.effects.values(rig.core.effects.find(1, 0)))
    assert values["mix"] == 0.5
    assert values["on"] == 0.0


def test_an_effect_is_inserted_at_the_frame_of_its_bundle(rig: Rig, steady: str) -> None:
    playing(rig, steady)
    rig.raw(bundle(0.3, build("/deck/A/fx/insert", (1, "crusher", "bits", 1.0))))
    rig.send("/deck/A/fx/set", 1, "rate", 192000.0)
    rig.seconds(0.5)
    assert not rig.fails()
    out = rig.out[:, 0]
    changed = int(np.flatnonzero(out != out[3000])[-1]) if out[-1] == out[3000] else len(out)
    first = 3000 + int(np.argmax(out[3000:] != out[3000]))
    assert first == round(0.3 * RATE) + rig.block
    assert changed > first
    assert rig.heard("/late") == []
    assert rig.time > START


def test_a_pending_effect_can_be_changed_and_removed(rig: Rig) -> None:
    rig.run(512)
    rig.raw(bundle(0.3, build("/mix/fx/insert", (1, "reverb"))))
    rig.send("/mix/fx/insert", 2, "echo")
    rig.send("/mix/fx/remove", 1)
    rig.run(1024)
    assert linked(rig, CHAIN_MASTER) == ["echo"]
    rig.seconds(2)
    assert linked(rig, CHAIN_MASTER) == ["echo"]
    assert len(rig.core.effects._free) == EFFECTS - 1


def test_commands_at_a_beat_keep_their_order_when_the_tempo_changes(rig: Rig) -> None:
    rig.run(512)
    rig.send("/clock/at", 0.7, "/mix/fx/insert", 2, "reverb")
    rig.send("/mix/fx/set", 2, "decay", 5.0)
    rig.send("/mix/fx/insert", 1, "drive")
    rig.send("/mix/fx/insert", 3, "gate")
    rig.send("/clock/at", 0.8, "/mix/fx/insert", 4, "crusher")
    rig.send("/mix/fx/remove", 4)
    rig.send("/clock/tempo", 60.0)
    rig.seconds(0.5)
    assert linked(rig, CHAIN_MASTER) == ["drive", "gate"]
    rig.seconds(0.35)
    assert linked(rig, CHAIN_MASTER) == ["drive", "reverb", "gate"]
    assert dict(rig.core.effects.values(rig.core.effects.find(6, 1)))["decay"] == 5.0
    rig.seconds(2)
    assert linked(rig, CHAIN_MASTER) == ["drive", "reverb", "gate"]
    assert len(rig.core.effects._free) == EFFECTS - 3
    assert not rig.fails()


def test_the_order_of_effects_is_that_of_the_slots_not_of_insertion(rig: Rig) -> None:
    rig.run(512)
    rig.send("/mix/fx/insert", 1, "drive")
    rig.raw(bundle(0.3, build("/mix/fx/insert", (2, "gate"))))
    rig.send("/mix/fx/insert", 3, "echo")
    rig.seconds(0.1)
    assert linked(rig, CHAIN_MASTER) == ["drive", "echo"]
    rig.seconds(0.4)
    assert linked(rig, CHAIN_MASTER) == ["drive", "gate", "echo"]


def test_an_effect_is_inserted_before_one_whose_beat_has_moved_away(rig: Rig) -> None:
    rig.run(512)
    rig.send("/mix/fx/insert", 1, "drive")
    rig.send("/clock/at", 0.9, "/mix/fx/insert", 2, "reverb")
    rig.send("/clock/tempo", 40.0)
    rig.seconds(0.6)  # at the first tempo, its beat would have passed
    rig.send("/mix/fx/insert", 3, "gate")
    rig.run(1024)
    assert linked(rig, CHAIN_MASTER) == ["drive", "gate"]
    rig.seconds(2)
    assert linked(rig, CHAIN_MASTER) == ["drive", "reverb", "gate"]


def test_effects_of_a_late_bundle_are_in_the_order_of_the_slots(rig: Rig) -> None:
    """The clock of its sender may be behind."""
    rig.seconds(0.5)
    modules = ("drive", "gate", "echo")
    inserts = [build("/mix/fx/insert", (slot, name)) for slot, name in enumerate(modules, 1)]
    rig.raw(bundle(0.1, *inserts))
    rig.run(1024)
    assert linked(rig, CHAIN_MASTER) == [*modules]
    assert len(rig.heard("/late")) == 3


REFUSED: list[tuple[str, tuple[Any, ...], str]] = [
    ("/deck/A/fx/insert", (1, "drive"), "holds echo"),
    ("/deck/A/fx/insert", (2, "chorus"), "'chorus' must be one of compressor, crusher"),
    ("/deck/A/fx/insert", (5, "drive"), "out of range, 1 to 4"),
    ("/deck/A/fx/insert", (0, "drive"), "out of range, 1 to 4"),
    ("/deck/A/fx/insert", (2,), "module is missing"),
    ("/deck/A/fx/insert", (2, "drive", "drive"), "in pairs"),
    ("/deck/A/fx/insert", (2, "drive", "gain", 3), "has no 'gain', only mix, on, drive"),
    ("/deck/A/fx/insert", (2, "drive", "drive", 50), "drive: 50 is out of range, 0 to 40 dB"),
    ("/deck/A/fx/insert", (2, "drive", "drive", "x"), "is not a number"),
    ("/deck/A/fx/insert", (2, "drive", "drive", float("nan")), "out of range"),
    ("/deck/A/fx/insert", (2, "drive", 3, 3), "is not the name of a parameter"),
    ("/deck/A/fx/insert", (2, "gate", "steps", 2.5), "steps: 2.5 is not a whole number"),
    ("/deck/A/fx/swap", (2, "drive"), "slot: 2 of deck A is empty"),
    ("/bus/2/fx/remove", (1,), "slot: 1 of bus 2 is empty"),
    ("/mix/fx/move", (1, 2), "slot: 1 of the master is empty"),
    ("/deck/A/fx/move", (1, 5), "out of range"),
    ("/deck/A/fx/set", (1, "bits", 3), "echo has no 'bits'"),
    ("/deck/A/fx/set", (1, "feedback", 1.0), "feedback: 1 is out of range, 0 to 0.98"),
    ("/deck/A/fx/set", (1, "feedback", 0.5, 1e9), "out of range"),
    ("/deck/A/fx/mix", (1, 1.5), "out of range"),
    ("/bus/3/fx/remove", (1,), "unknown address"),
    ("/mix/route", ("E", "master", 1.0), "must be one of A, B, C, D, bus1, bus2"),
    ("/mix/route", ("A", "bus3", 1.0), "must be one of bus1, bus2, master"),
    ("/mix/route", ("bus1", "bus1", 1.0), "can't be sent to itself"),
    ("/mix/route", ("bus2", "bus1", 1.0), "would close a feedback loop: bus1 feeds bus2"),
    ("/mix/route", ("A", "bus1", 5.0), "out of range"),
    ("/deck/A/send", (3, 1.0), "out of range"),
    ("/deck/A/send/pre", (1, 2), "out of range"),
]


@pytest.mark.parametrize(("address", "arguments", "reason"), REFUSED)
def test_invalid_commands_are_refused_with_the_reason_and_change_nothing(
    rig: Rig, address: str, arguments: tuple[Any, ...], reason: str
) -> None:
    rig.send("/deck/A/fx/insert", 1, "echo")
    rig.send("/mix/route", "bus1", "bus2", 0.5)
    rig.run(1024)
    effects = rig.core.effects

    def state() -> tuple[Any, ...]:
        ramps = rig.desk.ramps["target"].tolist()
        published = int(rig.desk.rings["command_head"])
        return list(effects._free), [effects.text(n) for n in range(7)], ramps, published

    before = state()
    rig.send(address, *arguments)
    assert state() == before
    [failure] = rig.fails()
    assert reason in failure


def test_the_order_is_kept_when_a_preceding_effect_was_removed(rig: Rig) -> None:
    rig.run(512)
    rig.send("/mix/fx/insert", 1, "drive")
    rig.send("/mix/fx/insert", 2, "gate")
    rig.raw(bundle(0.4, build("/mix/fx/insert", (3, "echo"))))
    rig.send("/mix/fx/remove", 2)
    rig.seconds(0.6)
    assert linked(rig, CHAIN_MASTER) == ["drive", "echo"]


def test_the_number_of_instances_is_limited(rig: Rig) -> None:
    for deck in "ABCD":
        for slot in range(1, 5):
            rig.send(f"/deck/{deck}/fx/insert", slot, "crusher")
    for _ in range(EFFECTS - 16):
        rig.send("/deck/A/fx/swap", 1, "crusher")
    assert not rig.fails()
    rig.send("/deck/A/fx/swap", 1, "drive")
    assert f"all {EFFECTS} effect instances are in use" in rig.fails()[0]
    rig.seconds(0.2)
    rig.send("/deck/A/fx/swap", 1, "drive")
    rig.run(1024)
    assert len(rig.fails()) == 1
    assert linked(rig, 0) == ["drive", "crusher", "crusher", "crusher"]


def test_instances_are_freed_even_if_the_engines_event_was_lost(rig: Rig) -> None:
    rig.send("/deck/A/fx/insert", 1, "crusher")
    rig.run(512)
    rig.send("/deck/A/fx/remove", 1)
    effects = rig.core.effects
    rig.core.effects.engine_events = lambda events: None  # type: ignore[method-assign]
    rig.seconds(0.5)
    assert len(effects._free) == EFFECTS - 1
    effects._free.clear()
    rig.send("/deck/B/fx/insert", 1, "gate")
    assert f"all {EFFECTS} effect instances are in use" in rig.fails().pop()
    rig.answers.said.clear()
    rig.desk.ledger["events_lost"] = 1
    rig.send("/deck/B/fx/insert", 1, "gate")
    assert not rig.fails()


def test_a_send_is_audible_and_a_route_opens_only_when_it_closes_no_loop(
    rig: Rig, steady: str
) -> None:
    playing(rig, steady)
    rig.send("/deck/A/send", 2, 0.5)
    rig.run(4096)
    assert rig.out[-1, 0] == pytest.approx(0.25 * 1.5)
    rig.send("/deck/A/level", 0.5)
    rig.run(4096)
    assert rig.out[-1, 0] == pytest.approx(0.125 * 1.5)
    rig.send("/deck/A/send/pre", 2, 1)
    rig.run(4096)
    assert rig.out[-1, 0] == pytest.approx(0.125 + 0.125)
    rig.send("/mix/route", "bus2", "bus1", 1.0)
    rig.run(4096)
    assert rig.out[-1, 0] == pytest.approx(0.125 + 0.125 + 0.125)
    rig.send("/mix/route", "bus1", "bus2", 1.0)
    assert "would close a feedback loop" in rig.fails()[-1]
    rig.send("/mix/route", "bus2", "bus1", 0.0, 0.5)
    rig.run(4096)
    rig.send("/mix/route", "bus1", "bus2", 1.0)
    assert "while it fades out" in rig.fails()[-1]
    rig.seconds(0.5)
    rig.send("/mix/route", "bus1", "bus2", 1.0)
    rig.send("/mix/route", "A", "master", 0.0)
    rig.run(4096)
    assert len(rig.fails()) == 2
    assert rig.out[-1, 0] == pytest.approx(0.125)
    assert float(rig.desk.ramps["value"][patch_ramp(4, 1)]) == 1.0


def test_late_routes_are_known_from_when_they_act(rig: Rig) -> None:
    """Otherwise a closed route stays forbidden, or an open one may become part of a loop."""

    def late(source: str, destination: str, gain: float) -> None:
        rig.raw(bundle(0.1, build("/mix/route", (source, destination, gain))))
        rig.seconds(0.1)

    rig.seconds(0.5)
    rig.send("/mix/route", "bus1", "bus2", 1.0)
    rig.run(1024)
    late("bus1", "bus2", 0.0)
    rig.send("/mix/route", "bus2", "bus1", 1.0)
    rig.run(1024)
    assert rig.fails() == []
    rig.send("/mix/route", "bus2", "bus1", 0.0)
    rig.seconds(0.1)
    late("bus2", "bus1", 1.0)
    rig.send("/mix/route", "bus1", "bus2", 1.0)
    assert "would close a feedback loop" in rig.fails()[-1]
