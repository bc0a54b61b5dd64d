"""Targets of lights: what they mean, and which faults are named."""

from __future__ import annotations

import pytest

from crowdstream.settings import SettingError, validate
from crowdstream.settings.light_target import LightTarget, parse_target

GOOD = [
    ("os2l", LightTarget("os2l", "os2l", "", 9996)),
    ("os2l?interface=10.0.0.2", LightTarget(
        "os2l?interface=10.0.0.2", "os2l", "", 9996, interface="10.0.0.2")),
    ("os2l://desk.local:1234", LightTarget("os2l://desk.local:1234", "os2l", "desk.local", 1234)),
    ("sacn://multicast/63999", LightTarget(
        "sacn://multicast/63999", "sacn", "multicast", 5568, 63999)),
    ("sacn://10.0.0.9/1?channel=17&priority=120", LightTarget(
        "sacn://10.0.0.9/1?channel=17&priority=120", "sacn", "10.0.0.9", 5568, 1, 17, 120)),
    ("artnet://broadcast/0", LightTarget("artnet://broadcast/0", "artnet", "broadcast", 6454, 0)),
    ("artnet://[fd00::1]:7000/32767", LightTarget(
        "artnet://[fd00::1]:7000/32767", "artnet", "fd00::1", 7000, 32767)),
]  # fmt: skip


@pytest.mark.parametrize(("text", "target"), GOOD)
def test_targets_are_read(text: str, target: LightTarget) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "must begin with os2l"), ("http://10.0.0.9/1", "must begin with os2l"),
        ("sacn://multicast", "universe"), ("sacn://multicast/0", "from 1 to 63999"),
        ("sacn://multicast/64000", "from 1 to 63999"), ("artnet://broadcast/32768", "32767"),
        ("artnet:///1", "the receiver is missing"), ("sacn:1", "the receiver is missing"),
        ("artnet://a_b/1", "neither an address nor a host name"),
        ("os2l://host:0", "must look like"), ("os2l://host:99999", "its port"),
        ("os2l://host/1", "no universes"),
        ("sacn://multicast/1?colour=red", "colour is not one of"),
        ("os2l?channel=1", "channel is not one of interface"),
        ("sacn://multicast/1?channel", "option"),
        ("sacn://multicast/1?channel=498", "from 1 to 497"),
        ("sacn://multicast/1?priority=201", "from 0 to 200"),
        ("artnet://broadcast/0?interface=eth0", "IP address"), ("sacn://multicast/1 ä", "ASCII"),
        ("artnet://user@host/1", "must look like"), ("os2l://[::1", "IPv6"),
    ],
)  # fmt: skip
def test_faults_are_named(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        parse_target(text)


def test_a_setting_takes_up_to_eight_targets() -> None:
    targets = tuple(f"sacn://multicast/{number}" for number in range(1, 9))
    assert validate(lights=list(targets)).lights == targets
    with pytest.raises(SettingError, match="up to 8 of them"):
        validate(lights=[*targets, "os2l"])
    with pytest.raises(SettingError, match="lights"):
        validate(lights=["dmx://1"])
