"""The state view for pages: it contains every value that commands set, and reports only changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crowdstream.commands.registry import TABLE
from crowdstream.control.publish.deck_view import GRID_TOLERANCE, simplify
from crowdstream.control.publish.state_view import HEALTH_SECONDS, StateView
from crowdstream.desk.opcodes import OP_RAMP
from crowdstream.desk.ramps import RAMP_CUE, RAMP_MASTER
from crowdstream.offline.session import WALL
from tests.support.offline_server import RATE, Rig, bundle_at, level, write
from tests.support.state_view_cases import CASES, ELSEWHERE, SETUP
from tests.unit.audiofile.test_tags import chunk, text_frames, with_chunk
from tests.unit.control.state.test_snapshotter import RestartableRig

LOW_RATE = 8000  # so that the tracks of many cases load quickly
KEYS = {
    "deck.A", "deck.B", "deck.C", "deck.D", "mixer", "clock", "recording", "health", "effects",
    "waiting", "buses", "patches", "buffers", "quality", "dj", "samples", "announcements",
    "schedule", "events", "inputs", "broadcasts", "link", "lights", "rooms",
    "midi",
}


@pytest.fixture(scope="module")
def stems(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of two stems, 8 s."""
    folder = tmp_path_factory.mktemp("stems") / "song"
    folder.mkdir()
    for name in ("drums", "bass"):
        write(folder / f"{name}.wav", level(8, rate=LOW_RATE), LOW_RATE)
    return str(folder)


@pytest.fixture
def loaded(stems: str, tmp_path: Path) -> Iterator[Rig]:
    """Deck A plays a track with a grid, a loop and a hot cue; every chain has an effect."""
    schedule = tmp_path / "schedule.toml"
    schedule.write_text('[[opening]]\nopen = "00:00"\nclose = "00:01"\n')
    inputs = [sorted(Path(stems).iterdir())[0]]
    with Rig(
        rate=LOW_RATE, inputs=inputs, record_folder=tmp_path, schedule=schedule
    ) as rig:
        for address, *arguments in SETUP:
            rig.send(address.replace("SONG", stems), *[
                stems if argument == "SONG" else argument for argument in arguments
            ])
            rig.seconds(0.05)
        assert rig.fails() == []
        yield rig


def looked_up(picture: dict[str, Any], path: str) -> Any:
    """The value at a path such as `deck.A/stems/0/gain`; None if there is none."""
    found: Any = picture
    for part in path.split("/"):
        if isinstance(found, list):
            found = found[int(part)] if int(part) < len(found) else None
        else:
            found = found.get(part) if found else None
    return found


@pytest.mark.parametrize(("address", "arguments", "path", "value"), CASES)
def test_the_view_contains_the_value_set_by_each_command(
    loaded: Rig, stems: str, address: str, arguments: tuple[Any, ...], path: str, value: Any
) -> None:
    rig, picture = loaded, StateView(loaded.core)
    if address == "/play_stem" and arguments[0] == 102:
        rig.send("/load_buffer", 102, stems)
        path, value = "buffers/102/state", "playing"
        rig.seconds(0.05)
    before = picture.changes()
    assert looked_up(before, path) != value
    rig.send(address, *(stems if argument == "SONG" else argument for argument in arguments))
    rig.seconds(0.1)
    rig.time += HEALTH_SECONDS
    assert rig.fails() == []
    changed = picture.changes()
    assert path.split("/")[0] in changed
    found = looked_up(changed, path)
    if value is ...:
        assert found != looked_up(before, path)
    else:
        exact = not isinstance(value, float)
        assert found == (value if exact else pytest.approx(value, rel=1e-12))


def test_every_command_with_an_effect_has_a_case() -> None:
    exact = {TABLE.find(address)[0].address for address, *_ in CASES}
    missing = [
        command.address for command in TABLE.commands
        if command.changes and command.address not in exact | ELSEWHERE
        and not command.address.startswith("/deck/{deck}/stem/")
    ]
    assert missing == []


def test_loops_are_shown_when_set_left_and_reentered(loaded: Rig) -> None:
    rig, picture = loaded, StateView(loaded.core)
    rig.send("/deck/A/loop/in")
    rig.seconds(0.5)
    mark = picture.changes()["deck.A"]["loop_in"]
    rig.send("/deck/A/loop/out")
    rig.seconds(0.05)
    first, last = picture.changes()["deck.A"]["loop"]
    assert first == mark and last - first == pytest.approx(0.5, abs=0.01)
    rig.send("/deck/A/loop/exit")
    rig.seconds(0.05)
    shown = picture.changes()["deck.A"]
    assert shown["loop"] is None and shown["loop_left"] == [first, last]
    rig.send("/deck/A/loop/reloop")
    rig.seconds(0.05)
    shown = picture.changes()["deck.A"]
    assert shown["loop"] == [first, last] and shown["loop_left"] is None


def test_all_keys_are_present_and_serializable(loaded: Rig) -> None:
    picture = StateView(loaded.core)
    values = picture.values()
    assert set(values) == KEYS
    assert set(values["buffers"]) == {"101"}  # the others are on decks
    first = picture.changes()
    assert set(first) == KEYS
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert {key: first[key] for key in KEYS - {"health"}} == {
        key: values[key] for key in KEYS - {"health"}
    }


def test_changes_contain_only_differences(loaded: Rig) -> None:
    rig, picture = loaded, StateView(loaded.core)
    picture.changes()
    rig.seconds(0.3)  # positions, beats and meters have moved
    assert picture.changes() == {}
    rig.send("/deck/A/level", 0.5)
    assert set(picture.changes()) == {"deck.A"}
    rig.run(1024)
    assert picture.changes() == {}
    rig.send("/deck/A/level", 0.5)
    assert picture.changes() == {}
    rig.time += HEALTH_SECONDS
    assert set(picture.changes()) == {"health"}
    rig.time += HEALTH_SECONDS
    assert picture.changes() == {}  # no counter has changed meanwhile
    picture.reset()
    assert set(picture.changes()) == KEYS


def test_rolled_back_commands_are_not_shown(rig: Rig) -> None:
    outbox = rig.core.engine_queue
    mark = outbox.mark()
    outbox.add(OP_RAMP, index=RAMP_MASTER, x=0.5)
    outbox.rollback(mark)
    outbox.add(OP_RAMP, index=RAMP_CUE, x=0.5)
    outbox.flush()
    shown = StateView(rig.core).changes()["mixer"]
    assert (shown["master_level"], shown["cue_level"]) == (1.0, 0.5)


def test_immediate_commands_are_shown_before_the_engine_receives_them(rig: Rig) -> None:
    picture = StateView(rig.core)
    picture.changes()
    rig.send("/mix/level", 0.5)
    rig.send("/deck/A/kill", "low")
    shown = picture.changes()
    assert shown["mixer"]["master_level"] == 0.5
    assert shown["deck.A"]["kill"] == [1, 0, 0] and shown["deck.A"]["eq"] == [1.0, 1.0, 1.0]
    rig.step()
    assert picture.changes() == {}
    rig.send("/deck/A/kill", "low", 0)
    shown = picture.changes()
    assert shown["deck.A"]["kill"] == [0, 0, 0] and shown["deck.A"]["eq"] == [1.0, 1.0, 1.0]
    rig.send("/mix/level", 9.0)
    rig.send("/mix/crossfader", 0.5)
    assert picture.changes() == {}


def test_scheduled_commands_are_shown_when_they_take_effect(rig: Rig) -> None:
    picture = StateView(rig.core)
    rig.step()
    picture.changes()
    rig.raw(bundle_at(WALL + 0.3, "/mix/level", 0.5))
    rig.send("/fade", "A", 0.2, 1.0)
    assert picture.changes() == {}
    rig.seconds(0.1)
    assert picture.changes() == {}
    rig.seconds(0.15)
    assert picture.changes()["deck.A"]["level"] == 0.0
    rig.seconds(0.1)
    assert picture.changes()["mixer"]["master_level"] == 0.5


def test_constantly_changing_values_are_sent_once_a_second(rig: Rig) -> None:
    picture = StateView(rig.core)
    times = []
    for _ in range(300):
        rig.send("/nothing")
        rig.seconds(0.01)
        if "health" in picture.changes():
            times.append(rig.time)
    assert len(times) == 3
    assert min(np.diff(times)) >= HEALTH_SECONDS


def test_a_deck_is_shown_from_the_moment_of_loading(rig: Rig, tmp_path: Path) -> None:
    folder = tmp_path / "<i>"
    folder.mkdir()
    for name in ("bass", "drums"):
        tags = text_frames(TIT2="Title " + name, TPE1="Artist", TKEY="8A", TBPM="125")
        with_chunk(write(folder / f"{name}.wav", level(1)), chunk(b"id3 ", tags))
    picture = StateView(rig.core)
    assert picture.changes()["deck.B"]["state"] == "empty"
    rig.pages_a_block = 0
    rig.send("/deck/B/load", str(folder))
    shown = picture.changes()["deck.B"]
    assert (shown["state"], shown["track"], shown["frames"]) == ("loading", "<i>", 0)
    assert [stem["path"] for stem in shown["stems"]] == [
        str(folder / "drums.wav"), str(folder / "bass.wav")
    ]
    rig.step()
    shown = picture.changes()["deck.B"]
    assert (shown["state"], shown["frames"], shown["length"]) == ("loading", RATE, 1.0)
    assert (shown["title"], shown["artist"], shown["key"]) == ("Title drums", "Artist", "8A")
    assert (shown["bpm"], shown["grid"]["source"]) == (125.0, "tag")
    stem = shown["stems"][1]
    assert (stem["name"], stem["frames"], stem["channels"]) == ("bass", RATE, 2)
    assert stem["source"] == rig.core.track_table.find(1100).sources[1]
    rig.pages_a_block = 1000
    rig.run(2048)
    assert picture.changes()["deck.B"]["state"] == "ready"
    rig.send("/deck/B/play")
    rig.run(2048)
    shown = picture.changes()["deck.B"]
    assert shown["state"] == "playing" and shown["voice"] == rig.core.track_table.find(1100).voice
    rig.pages_a_block = 0
    rig.send("/deck/B/load", str(folder / "bass.wav"))
    shown = picture.changes()["deck.B"]
    assert shown["incoming"]["track"] == "bass" and shown["track"] == "<i>"
    rig.pages_a_block = 1000
    rig.seconds(0.2)
    shown = picture.changes()["deck.B"]
    assert (shown["track"], shown["incoming"], shown["state"]) == ("bass", None, "ready")
    rig.send("/deck/B/unload")
    rig.seconds(0.1)
    shown = picture.changes()["deck.B"]
    assert (shown["state"], shown["stems"], shown["cues"]) == ("empty", [], {})


def test_a_new_control_process_shows_the_same_state(tmp_path: Path) -> None:
    path = with_chunk(
        write(tmp_path / "song.wav", level(4)), chunk(b"id3 ", text_frames(TIT2="T", TKEY="1A"))
    )
    with RestartableRig() as rig:
        for address, *arguments in (
            ("/deck/A/load", str(path)), ("/deck/A/play",), ("/deck/A/grid", 124.0),
            ("/deck/A/loop/set", 0.5, 1.0), ("/deck/A/stem/1/mute", 1), ("/deck/A/kill", "low"),
            ("/deck/A/fx/insert", 1, "echo"), ("/mix/crossfader/curve", "cut"),
            ("/deck/A/trim/auto",), ("/clock/quantize", "bar"),
        ):  # fmt: skip
            rig.send(address, *arguments)
            rig.run(2048)
        rig.note()
        before = StateView(rig.core).values()
        rig.restart_control()
        after = StateView(rig.core).values()
        del before["health"], after["health"]
        assert after == before
        assert after["deck.A"]["title"] == "T" and after["deck.A"]["state"] == "playing"


def test_a_thinned_grid_is_equivalent() -> None:
    rng = np.random.default_rng(3)
    steady = [(float(beat), 0.1 + beat * 0.5) for beat in range(400)]
    assert len(simplify(steady, GRID_TOLERANCE)) <= 4
    bent = np.cumsum(np.concatenate([np.full(100, 0.5), np.full(100, 0.48), np.full(100, 0.51)]))
    assert len(simplify(list(enumerate(bent.tolist())), GRID_TOLERANCE)) <= 8
    for step in (np.full(511, 0.5), rng.uniform(0.4, 0.6, 511), np.linspace(0.4, 0.6, 511),
                 0.5 + 0.001 * np.sin(np.arange(511) / 9)):
        pairs = list(zip(range(512), np.cumsum(np.insert(step, 0, 0.1)).tolist(), strict=True))
        for count in (2, 3, 4, 100, 512):
            some = [(float(beat), second) for beat, second in pairs[:count]]
            kept = simplify(some, GRID_TOLERANCE)
            assert kept[0] == some[0] and kept[-2:] == some[-2:]
            assert set(kept) <= set(some) and kept == sorted(set(kept))
            beats, seconds = zip(*kept, strict=True)
            found = np.interp([beat for beat, _ in some], beats, seconds)
            assert np.abs(found - [second for _, second in some]).max() <= GRID_TOLERANCE
