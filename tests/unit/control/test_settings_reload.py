"""A reload applies changed settings while tracks play, or changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crowdstream.control.decks.channel_strip import decibel_gain
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.control.peers.midi import midi_process
from crowdstream.control.settings_reload import SettingsReload
from crowdstream.desk.ramps import RAMP_CEILING, RAMP_HOUSE, RAMP_TRIM, deck_level_ramp
from crowdstream.settings import SettingError, Settings
from crowdstream.settings.schema import NOT_IN_PRESETS, OPTIONS
from tests.support.fake_process import FakeProcess
from tests.support.offline_server import ME, RATE, Rig, count, level, place, write

STRANGER, PARTNER = ("10.0.0.7", 50000), ("192.168.1.7", 50000)


class Reloading(Rig):
    """A server whose settings come from `wanted`, which tests replace."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.wanted: Settings = self.core.settings
        self.error = ""
        self.core.reload_settings = SettingsReload(self.core, self._read).run
        self.send("/notify", 1)

    def _read(self) -> Settings:
        if self.error:
            raise SettingError(self.error)
        return self.wanted

    def change(self, **values: Any) -> tuple[Any, ...]:
        """Change settings and reload; returns the names that were applied, and those that wait."""
        self.wanted = replace(self.wanted, **values)
        self.send("/settings/reload")
        return self.heard("/settings/reload.reply")[-1]


@pytest.fixture
def rig() -> Iterator[Reloading]:
    with Reloading() as made:
        yield made


def target(rig: Rig, row: int) -> float:
    rig.run(4096)
    return float(rig.desk.ramps["value"][row])


def status_of(rig: Rig, name: str) -> Any:
    rig.run(4096)
    return rig.status()[name]


# The effect of every live setting that acts on the mixer: a new value, what it changes, and the
# value that this has afterwards.
EFFECTS: dict[str, tuple[Any, Callable[[Reloading], Any], Any]] = {
    "levels": (
        (0.5, 1.0, 1.0, 0.25),
        lambda rig: [target(rig, deck_level_ramp(deck)) for deck in range(4)],
        [0.5, 1.0, 1.0, 0.25],
    ),
    "limiter_ceiling": (
        -6.0, lambda rig: target(rig, RAMP_CEILING), pytest.approx(decibel_gain(-6.0)),
    ),
    "load_shedding": ("full", lambda rig: status_of(rig, "quality_asked"), "0"),
    "bpm": (126.0, lambda rig: status_of(rig, "bpm"), pytest.approx(126.0)),
    "meter": (3, lambda rig: rig.core.beat_clock.meter, 3),
    "lights": (("os2l",), lambda rig: rig.core.lights.targets, ["os2l"]),
    "lights_lead": (40.0, lambda rig: status_of(rig, "lights_lead_ms"), pytest.approx(40.0)),
    "midi_clock": ("synth", lambda rig: rig.core.midi.settings.clock, "synth"),
    "midi_follow": ("drum", lambda rig: rig.core.midi.settings.follow, "drum"),
    "midi_map": (
        ("korg-nanokontrol2",), lambda rig: rig.core.midi.settings.maps, ("korg-nanokontrol2",),
    ),
    "midi_api": ("jack", lambda rig: rig.core.midi.settings.api, "jack"),
    "print_beats": (True, lambda rig: rig.core.watch, True),
    "record_folder": (Path("/sets"), lambda rig: rig.core.settings.record_folder, Path("/sets")),
    "record_reserve": (9, lambda rig: rig.core.settings.record_reserve, 9),
    "broadcast": (
        ("pipe:/tmp/fifo",),
        lambda rig: [one.place for one in rig.core.broadcasts.all.values()], ["pipe:/tmp/fifo"],
    ),
    "broadcast_ca": (
        Path("/ca.pem"), lambda rig: rig.core.broadcasts.authorities, Path("/ca.pem"),
    ),
}
# These have tests of their own below.
OTHERS = {"target_lufs", "osc_allow", "movement_map", "schedule"}
# These act on processes and threads: tests/integration/control/test_settings_reload.py.
OF_THE_PROCESS = {
    "stats_interval", "log_level", "log_format", "log_file", "alert_url", "alert_format",
    "alert_level", *(name for name in OPTIONS if name.startswith("http")),
}  # fmt: skip


def test_every_live_setting_has_a_test_of_its_effect() -> None:
    live = {name for name, option in OPTIONS.items() if option.live}
    assert live == EFFECTS.keys() | OTHERS | OF_THE_PROCESS
    assert not live & NOT_IN_PRESETS


@pytest.mark.parametrize("name", EFFECTS)
def test_a_changed_setting_takes_effect_at_once(rig: Reloading, name: str) -> None:
    value, effect, expected = EFFECTS[name]
    assert effect(rig) != expected
    assert rig.change(**{name: value}) == (name, "")
    assert effect(rig) == expected
    assert rig.change() == ("", ""), "it is applied once"


def test_a_playing_track_continues_to_the_frame(rig: Reloading, tmp_path: Path) -> None:
    rig.send("/deck/A/load", str(write(tmp_path / "numbers.wav", count(20))))
    rig.seconds(1)
    rig.send("/deck/A/play")
    rig.seconds(1)
    values = {name: value for name, (value, _effect, _expected) in EFFECTS.items()}
    values = {**values, "bpm": 120.0, "limiter_ceiling": 0.0, "levels": (1.0, 0.5, 0.5, 0.5)}
    assert rig.change(**values)[0].split() == [
        name for name in OPTIONS if name in EFFECTS.keys() - {"bpm", "limiter_ceiling"}
    ]
    rig.seconds(1)
    heard = rig.out[rig.first_sound() :, 0]
    assert len(heard) > 1.9 * RATE
    assert [place(sample) for sample in heard[:: RATE // 4]] == [
        frame % 8192 for frame in range(0, len(heard), RATE // 4)
    ]
    assert np.array_equal(heard, count(20)[: len(heard), 0])


def test_a_fader_that_a_person_moved_stays_if_its_setting_did_not_change(rig: Reloading) -> None:
    rig.send("/deck/A/level", 0.1)
    rig.change(levels=(1.0, 0.5, 1.0, 1.0))
    assert target(rig, deck_level_ramp(0)) == pytest.approx(0.1)
    assert target(rig, deck_level_ramp(1)) == 0.5


def test_others_notice_the_change(rig: Reloading) -> None:
    rig.send("/changes/subscribe", 1)
    rig.change(bpm=126.0, levels=(0.5, 1.0, 1.0, 1.0))
    rig.seconds(0.2)
    changed = [(values[0], *values[1:2]) for values in rig.heard("/changed")]
    assert ("/clock/tempo", 126.0) in changed and ("/deck/A/level", 0.5) in changed


def test_what_needs_a_restart_is_named_and_stays(
    rig: Reloading, caplog: pytest.LogCaptureFixture
) -> None:
    reply = rig.change(port=57999, buffer_size=64, meter=3, preset="pi4", deck_a=Path("/a.wav"))
    assert reply == ("meter", "port buffer_size deck_a")
    assert "port, buffer_size, deck_a need a restart" in caplog.text
    assert rig.core.settings == replace(rig.core.settings, port=57120, buffer_size=512, meter=3)
    assert rig.change() == ("", "port buffer_size deck_a"), "until the restart"


@pytest.mark.parametrize("kind", ["settings", "movement_map", "schedule", "midi_map"])
def test_an_invalid_file_changes_nothing_and_the_reason_is_reported(
    rig: Reloading, tmp_path: Path, kind: str
) -> None:
    before, file = rig.core.settings, tmp_path / "file.toml"
    file.write_text('nothing = "known"\n')
    new: dict[str, Any] = {"bpm": 126.0, "osc_allow": ("10.0.0.0/8",)}
    if kind == "settings":
        rig.error = "bpm: 'fast' (file config.toml) must be a number"
    else:
        new[kind] = (str(file),) if kind == "midi_map" else file
    rig.wanted = replace(before, **new)
    rig.send("/settings/reload")
    (failed,) = rig.fails()
    assert failed.startswith("/settings/reload ")
    assert "fast" in failed if rig.error else "nothing" in failed
    rig.run(4096)
    assert rig.core.settings == before and rig.core.beat_clock.bpm == 120.0
    (_time, warning, name, text) = rig.heard("/event")[-1]
    assert (warning, name) == ("warning", "settings")
    assert failed.removeprefix("/settings/reload ")[:100] in text


def test_a_tempo_at_which_a_track_cannot_play_is_refused_and_the_rest_applies(
    rig: Reloading, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rig.send("/deck/A/load", str(write(tmp_path / "a.wav", level(5))))
    rig.seconds(1)
    rig.send("/deck/A/play")
    rig.send("/deck/A/rate", 2.0)
    rig.seconds(0.5)
    assert rig.change(bpm=399.0, meter=3) == ("meter", "")
    assert rig.core.settings.bpm == rig.core.beat_clock.bpm == 120.0
    assert "/clock/tempo: bpm: 399 would play a, at rate 2" in caplog.text


def test_trims_follow_the_target_loudness(rig: Reloading, tmp_path: Path) -> None:
    rig.send("/deck/A/load", str(write(tmp_path / "a.wav", level(5))))
    rig.send("/deck/A/trim/auto", 1)
    rig.seconds(1)
    (track,) = rig.core.track_table.tracks()
    track.lufs = -18.0
    rig.core.channel_strips.automatic(ServerRequest(rig.core), [0], True)
    before = target(rig, RAMP_TRIM)
    assert rig.change(target_lufs=-17.0) == ("target_lufs", "")
    assert target(rig, RAMP_TRIM) == pytest.approx(before * decibel_gain(-3.0), rel=1e-3)


def test_senders_that_are_not_allowed_any_more_lose_their_subscriptions(rig: Reloading) -> None:
    rig.change(osc_allow=("10.0.0.0/8", "192.168.1.0/24"))
    for sender in (STRANGER, PARTNER):
        for address in ("/notify", "/changes/subscribe", "/feedback", "/meters", "/clock/ticks"):
            rig.send(address, 1, sender=sender)
    rig.send("/dj/register", "begin", sender=STRANGER)
    assert rig.core.dj.connected
    assert rig.change(osc_allow=("192.168.1.0/24",)) == ("osc_allow", "")
    rig.answers.said.clear()
    rig.send("/deck/A/level", 0.5)
    rig.core.notify("/engine", "died", 1.0, "", "")
    rig.seconds(0.5)
    senders = {sender for sender, _address, _values in rig.answers.said}
    assert PARTNER in senders and ME in senders and STRANGER not in senders
    assert not rig.core.dj.connected
    rig.send("/notify", 1, sender=STRANGER)
    assert rig.answers.said[-1][1:] == ("/fail", ("/notify", "only for --osc-allow"))


def test_a_changed_movement_map_is_followed_from_then_on(rig: Reloading, tmp_path: Path) -> None:
    file = tmp_path / "crowd.toml"
    file.write_text("steps = [[0, 110], [1, 140]]\nattack_seconds = 1\n")
    assert rig.change(movement_map=file) == ("movement_map", "")
    for _ in range(30):
        rig.send("/dance/total_movement", 1.0)
        rig.seconds(0.2)
    assert rig.core.beat_clock.bpm == pytest.approx(140.0, abs=0.01)
    file.write_text("steps = [[0, 110], [1, 130]]\nrelease_seconds = 1\n")
    assert rig.change() == ("movement_map", "")
    for _ in range(30):
        rig.send("/dance/total_movement", 1.0)
        rig.seconds(0.2)
    assert rig.core.beat_clock.bpm == pytest.approx(130.0, abs=0.01)
    assert rig.change(movement_map=None) == ("movement_map", "")
    rig.send("/dance/total_movement", 0.0)
    rig.seconds(2)
    assert rig.core.beat_clock.bpm == pytest.approx(130.0, abs=0.01)


MAPPING = 'name = "Box"\nport = "Box"\n[[control]]\ncc = {cc}\naddress = "/deck/A/level"\n'


def test_midi_mappings_are_read_again(rig: Reloading, tmp_path: Path) -> None:
    file = tmp_path / "box.toml"
    file.write_text(MAPPING.format(cc=1))
    process = FakeProcess()
    supervised = midi_process(rig.core.midi, lambda: process, lambda: rig.time)
    rig.send("/midi/map/add", "pioneer-ddj-400")
    assert rig.change(midi_map=(str(file), "korg-nanokontrol2")) == ("midi_map", "")
    used = [str(file), "korg-nanokontrol2", "pioneer-ddj-400"]
    assert [*rig.core.midi.settings.maps] == used, "a mapping that a command has added stays"
    supervised.tick()
    file.write_text(MAPPING.format(cc=77))
    assert rig.change() == ("midi_map", "")
    assert process.sent[-1]["maps"][0]["controls"][0]["number"] == 77
    rig.send("/midi/map/remove", "korg-nanokontrol2")
    assert rig.change() == ("", ""), "one that a command has removed stays away"
    file.write_text(MAPPING.format(cc=200))
    rig.send("/settings/reload")
    assert "midi_map" in rig.fails()[-1] and [*rig.core.midi.settings.maps] == used[::2]
    file.write_text(MAPPING.format(cc=77))
    assert rig.change(midi_map=()) == ("midi_map", "")
    assert [*rig.core.midi.settings.maps] == used[2:]


CLOSED = 'zone = "UTC"\n[[opening]]\ndates = ["2030-01-01"]\nopen = "20:00"\nclose = "21:00"\n'
LIMITED = CLOSED + '[[loudness]]\nfrom = "00:00"\nto = "00:00"\nshort_term = -40\n'


def test_a_schedule_is_taken_up_kept_and_released(rig: Reloading, tmp_path: Path) -> None:
    dj = ("127.0.0.1", 50123)
    file = tmp_path / "schedule.toml"
    file.write_text(LIMITED)
    rig.core.clock.wall = lambda: 1_800_000_000.0 + rig.time
    noise = np.random.default_rng(1).normal(0, 0.1, (5 * RATE, 2)).astype(np.float32)
    rig.send("/deck/A/load", str(write(tmp_path / "noise.wav", noise)))
    rig.seconds(1)
    rig.send("/deck/A/play", 0.0, 1)
    rig.send("/dj/register", "begin", sender=dj)
    assert rig.change(schedule=file) == ("schedule", "")
    rig.seconds(4)
    asked = [values[1:] for sender, address, values in rig.answers.said if sender == dj]
    assert asked[-1] == ("hours", 0)
    assert target(rig, RAMP_HOUSE) < 0.5
    # An unchanged file leaves a person's decision alone.
    rig.send("/schedule/override", "open")
    rig.seconds(1.1)
    assert rig.change() == ("", "") and rig.status()["open"] == 1
    rig.send("/schedule/override", "auto")
    rig.seconds(1.1)
    assert rig.change(schedule=None) == ("schedule", "")
    rig.send("/dj/register", "on", sender=dj)
    rig.seconds(2)
    asked = [values[1:] for sender, address, values in rig.answers.said if sender == dj]
    assert ("hours", 1) in asked[-2:]
    assert rig.heard("/schedule")[-1] == ("open",)
    assert target(rig, RAMP_HOUSE) == 1.0
    assert rig.status()["open"] == -1


def test_a_server_inside_a_program_refuses(rig: Reloading) -> None:
    with Rig() as plain:
        plain.send("/settings/reload")
        (failed,) = plain.fails()
        assert "the program that runs this server" in failed
